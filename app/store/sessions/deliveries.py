"""Stores Monta's deliveries as they were sent. To know a repeated one, and as evidence."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ARRAY, LargeBinary, Text, any_, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from app.domain.units.ids import ChargeId, OperatorId
from app.store.db.connection import Connection
from app.store.tables import deliveries, operators

D = deliveries


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptDelivery:
    """One delivery: `body` is what `signature` signs, compressed; `digest` is the body's SHA-256."""

    digest: bytes
    signature: str
    body: bytes
    charge_ids: tuple[str, ...] = ()
    received_at: datetime | None = None
    """When it was kept."""

    def sent_body(self) -> bytes:
        """The body as Monta sent it."""
        return zlib.decompress(self.body)


async def known(
    connection: Connection, operator_id: OperatorId, digests: Sequence[bytes]
) -> frozenset[bytes]:
    """Those digests whose deliveries were kept before."""
    found = await connection.execute(_KNOWN, {"operator": operator_id, "digests": list(digests)})
    return frozenset(found.scalars())


async def keep(
    connection: Connection, operator_id: OperatorId, new: Sequence[KeptDelivery], now: datetime
) -> None:
    """Saves deliveries. One that was kept before changes nothing."""
    rows = [
        {
            "operator_id": operator_id,
            "digest": each.digest,
            "received_at": now,
            "signature": each.signature,
            "charge_ids": list(each.charge_ids),
            "body": each.body,
        }
        for each in sorted(new, key=lambda each: each.digest)
    ]
    if rows:
        await connection.execute(_KEEP, rows if len(rows) > 1 else rows[0])


async def of_charge(
    connection: Connection,
    operator_id: OperatorId,
    charge_id: ChargeId,
    *,
    since: datetime,
    until: datetime,
    limit: int,
) -> list[KeptDelivery]:
    """Returns deliveries of this time that name a charge. Oldest first, `limit` at most."""
    given = {"operator": operator_id, "charge": charge_id, "since": since, "until": until}
    rows = await connection.execute(_OF_CHARGE.limit(limit), given)
    return [
        KeptDelivery(
            digest=row.digest,
            signature=row.signature,
            body=row.body,
            charge_ids=tuple(row.charge_ids),
            received_at=row.received_at,
        )
        for row in rows
    ]


async def last_received(connection: Connection) -> dict[OperatorId, datetime]:
    """When each operator's newest delivery came; one without any is missing."""
    newest = select(func.max(D.c.received_at)).where(D.c.operator_id == operators.c.id).scalar_subquery()
    rows = await connection.execute(select(operators.c.id, newest.label("at")))
    return {OperatorId(row.id): row.at for row in rows if row.at is not None}


async def prune(connection: Connection, operator_id: OperatorId, before: datetime, *, limit: int) -> int:
    """Deletes up to `limit` of an operator's old deliveries. Received before a time, oldest first. Returns how many."""
    oldest = (
        select(D.c.digest)
        .where(D.c.operator_id == operator_id, D.c.received_at < before)
        .order_by(D.c.received_at)
        .limit(limit)
    )
    query = delete(D).where(D.c.operator_id == operator_id, D.c.digest.in_(oldest))
    return (await connection.execute(query)).rowcount


_KEEP = insert(D).on_conflict_do_nothing()
_KNOWN = select(D.c.digest).where(
    D.c.operator_id == bindparam("operator"),
    D.c.digest == any_(bindparam("digests", type_=ARRAY(LargeBinary))),
)
_OF_CHARGE = (
    select(D)
    .where(
        D.c.operator_id == bindparam("operator"),
        D.c.received_at >= bindparam("since"),
        D.c.received_at <= bindparam("until"),
        bindparam("charge", type_=Text()) == any_(D.c.charge_ids),
    )
    .order_by(D.c.received_at, D.c.digest)
)
