"""Stores Monta's deliveries as they were sent. To know a repeated one, and as evidence."""

import zlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, Text, any_, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargeId, OperatorId
from app.store.db.connection import Connection
from app.store.db.statements import given_rows
from app.store.tables import deliveries, operators

D = deliveries


@frozen(kw_only=True)
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


async def keep(
    connection: Connection, operator_id: OperatorId, new: Sequence[KeptDelivery], now: datetime
) -> frozenset[bytes]:
    """Saves deliveries. One that was kept before changes nothing. Returns the digests of the others."""
    if not new:
        return frozenset()
    rows = sorted(new, key=lambda each: each.digest)
    given = {
        "operator": operator_id,
        "now": now,
        "digest": [each.digest for each in rows],
        "signature": [each.signature for each in rows],
        "charges": [",".join(each.charge_ids) for each in rows],
        "body": [each.body for each in rows],
    }
    return frozenset((await connection.execute(_KEEP, given)).scalars())


async def is_kept(connection: Connection, operator_id: OperatorId, digest: bytes) -> bool:
    """Whether a delivery was kept before."""
    given = {"operator": operator_id, "digest": digest}
    return bool((await connection.execute(_IS_KEPT, given)).scalar())


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
    given = {"operator": operator_id, "before": before, "most": limit}
    return (await connection.execute(_PRUNE, given)).rowcount


_OLDEST = (
    select(D.c.digest)
    .where(D.c.operator_id == bindparam("operator"), D.c.received_at < bindparam("before"))
    .order_by(D.c.received_at)
    .limit(bindparam("most", type_=Integer()))
)
_PRUNE = delete(D).where(D.c.operator_id == bindparam("operator"), D.c.digest.in_(_OLDEST))


# Not looked up first: a plan that was made when the table was small may read all of an operator's deliveries.
_GIVEN: dict[str, ColumnElement[Any]] = {
    "digest": D.c.digest,
    "signature": D.c.signature,
    "charges": D.c.signature,  # arrays of several lengths make no array: names joined by commas
    "body": D.c.body,
}
_given = given_rows(_GIVEN)
_KEEP = (
    insert(D)
    .from_select(
        ("operator_id", "digest", "received_at", "signature", "charge_ids", "body"),
        select(
            bindparam("operator", type_=Text()),
            _given.c.digest,
            bindparam("now", type_=D.c.received_at.type),
            _given.c.signature,
            func.string_to_array(_given.c.charges, ","),
            _given.c.body,
        ),
    )
    .on_conflict_do_nothing()
    .returning(D.c.digest)
)
_IS_KEPT = select(func.count()).where(
    D.c.operator_id == bindparam("operator"), D.c.digest == bindparam("digest")
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
