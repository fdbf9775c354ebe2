"""Stores endpoints of terminal makers. Encrypts their signing secrets, bound to the endpoint and its URL."""

from collections.abc import Collection, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from app.domain.events.event import EventType
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId, TerminalId
from app.store.db.connection import Connection, Row
from app.store.db.secret_box import SecretBox
from app.store.operators.secret_keys import sealing_key
from app.store.tables import event_deliveries, event_endpoints, terminals

P, D, T = event_endpoints, event_deliveries, terminals.c


STATES = ("active", "failing", "paused")


@frozen(kw_only=True)
class Endpoint:
    """Where a terminal maker wants to be told of events. Of one terminal, or of all of a provider."""

    id: str
    operator_id: OperatorId
    provider: str | None = None
    terminal_id: TerminalId | None = None
    url: str = field(repr=False)
    types: tuple[EventType, ...] = ()
    """Those that it wants; empty: all."""
    created_at: datetime
    paused_at: datetime | None = None
    failing_since: datetime | None = None
    problem: str | None = None
    delivered_at: datetime | None = None
    previous_secret_until: datetime | None = None
    given_up: int = 0

    @property
    def state(self) -> str:
        """In one word: `paused`, `failing` (nothing was taken since) or `active`."""
        return "paused" if self.paused_at else "failing" if self.failing_since else "active"


@frozen
class Secrets:
    """What deliveries to an endpoint are signed with, the newest first."""

    current: str = field(repr=False)
    previous: str | None = field(default=None, repr=False)

    @property
    def all(self) -> Sequence[str]:
        return (self.current,) if self.previous is None else (self.current, self.previous)


async def add(connection: Connection, box: SecretBox, endpoint: Endpoint, secret: str) -> None:
    """Raises WrongSecretKey, as all that encrypts."""
    key_id = await sealing_key(connection, box)
    await connection.execute(
        insert(P).values(
            id=endpoint.id,
            operator_id=endpoint.operator_id,
            provider=endpoint.provider,
            terminal_id=endpoint.terminal_id,
            url=endpoint.url,
            event_types=list(endpoint.types) or None,
            signing_secret=_sealed(box, endpoint.id, endpoint.url, secret, key_id),
            created_at=endpoint.created_at,
        )
    )


async def listed(connection: Connection, operator_id: OperatorId | None = None) -> list[Endpoint]:
    """Endpoints of one operator or of all, oldest first."""
    query = select(P).order_by(P.c.created_at, P.c.id)
    if operator_id is not None:
        query = query.where(P.c.operator_id == operator_id)
    return [_endpoint(row) for row in await connection.execute(query)]


async def get(connection: Connection, endpoint_id: str) -> Endpoint | None:
    row = (await connection.execute(select(P).where(P.c.id == endpoint_id))).one_or_none()
    return None if row is None else _endpoint(row)


async def lock(connection: Connection, endpoint_id: str) -> Endpoint | None:
    """Locks an endpoint's row until the transaction ends."""
    query = select(P).where(P.c.id == endpoint_id).with_for_update(key_share=True)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _endpoint(row)


async def secrets_of(connection: Connection, box: SecretBox, endpoint_id: str, now: datetime) -> Secrets:
    """Decrypts what deliveries are signed with now. Raises SecretUnreadable, also where the URL was changed by hand."""
    row = (await connection.execute(select(P).where(P.c.id == endpoint_id))).one()
    until = row.previous_secret_until
    signs = row.previous_secret is not None and until is not None and until > now
    return Secrets(
        _opened(box, row, row.signing_secret), _opened(box, row, row.previous_secret) if signs else None
    )


async def change(
    connection: Connection,
    box: SecretBox,
    locked: Endpoint,
    *,
    url: str | None = None,
    types: Collection[EventType] | None = None,
) -> None:
    """Sets URL or events, None: as it is. A new URL takes the secret along. Raises SecretUnreadable."""
    values: dict[str, Any] = {} if types is None else {"event_types": list(types) or None}
    if url is not None:
        key_id = await sealing_key(connection, box)
        row = (await connection.execute(select(P).where(P.c.id == locked.id))).one()
        values |= {"url": url} | _resealed(box, row, url, key_id)
    await connection.execute(update(P).where(P.c.id == locked.id).values(**values))


async def replace_secret(
    connection: Connection, box: SecretBox, locked: Endpoint, secret: str, *, until: datetime | None
) -> None:
    """Replaces the signing secret. The one before signs too until then; None: it is forgotten, and may be damaged."""
    key_id = await sealing_key(connection, box)
    previous = None
    if until is not None:
        row = (await connection.execute(select(P).where(P.c.id == locked.id))).one()
        previous = _sealed(box, locked.id, locked.url, _opened(box, row, row.signing_secret), key_id)
    await connection.execute(
        update(P)
        .where(P.c.id == locked.id)
        .values(
            signing_secret=_sealed(box, locked.id, locked.url, secret, key_id),
            previous_secret=previous,
            previous_secret_until=until,
        )
    )


async def pause(connection: Connection, endpoint_id: str, now: datetime) -> None:
    """Keeps the first time of one that is paused."""
    paused = func.coalesce(P.c.paused_at, now)
    await connection.execute(update(P).where(P.c.id == endpoint_id).values(paused_at=paused))


async def resume(connection: Connection, endpoint_id: str, now: datetime) -> None:
    """What waits is due at once."""
    nothing = dict.fromkeys(("paused_at", "failing_since", "problem", "quiet_until"))
    await connection.execute(update(P).where(P.c.id == endpoint_id).values(**nothing))
    await make_due(connection, endpoint_id, now)


async def make_due(connection: Connection, endpoint_id: str, now: datetime) -> None:
    """Makes all that an endpoint has not taken due at once."""
    waiting = (D.c.endpoint_id == endpoint_id, D.c.due_at > now)
    await connection.execute(update(D).where(*waiting).values(due_at=now))


async def remove(connection: Connection, endpoint_id: str) -> None:
    """Removes an endpoint with what it has not taken. Its terminals' events stay for their lists."""
    await connection.execute(delete(P).where(P.c.id == endpoint_id))


async def count_waiting(connection: Connection, operator_id: OperatorId | None = None) -> dict[str, int]:
    """Deliveries that each endpoint has not taken; one without any is missing."""
    query = select(D.c.endpoint_id, func.count().label("waiting")).group_by(D.c.endpoint_id)
    if operator_id is not None:
        query = query.where(D.c.operator_id == operator_id)
    return {row.endpoint_id: row.waiting for row in await connection.execute(query)}


async def operators_of(connection: Connection, provider: str) -> list[OperatorId]:
    """Operators that have terminals of a provider."""
    query = select(T.operator_id).where(T.provider == provider).distinct().order_by(T.operator_id)
    return [OperatorId(each) for each in (await connection.execute(query)).scalars()]


async def reseal(connection: Connection, operator_id: OperatorId, box: SecretBox, key_id: str) -> None:
    """Encrypts an operator's signing secrets anew with the key of this id. Raises SecretUnreadable."""
    query = select(P).where(P.c.operator_id == operator_id).order_by(P.c.id).with_for_update(key_share=True)
    for row in await connection.execute(query):
        values = _resealed(box, row, row.url, key_id)
        await connection.execute(update(P).where(P.c.id == row.id).values(**values))


async def forget_old_secrets(connection: Connection, operator_id: OperatorId, now: datetime) -> None:
    """Deletes previous secrets that no longer sign."""
    await connection.execute(_FORGET_OLD_SECRETS, {"operator": operator_id, "now": now})


_FORGET_OLD_SECRETS = (
    update(P)
    .where(P.c.operator_id == bindparam("operator"), P.c.previous_secret_until <= bindparam("now"))
    .values(previous_secret=None, previous_secret_until=None)
)


def _resealed(box: SecretBox, row: Row, url: str, key_id: str) -> dict[str, bytes | None]:
    """Both secrets for a URL, encrypted with the key of this id."""
    return {
        name: None if row[name] is None else _sealed(box, row.id, url, _opened(box, row, row[name]), key_id)
        for name in ("signing_secret", "previous_secret")
    }


def _sealed(box: SecretBox, endpoint_id: str, url: str, secret: str, key_id: str) -> bytes:
    return box.seal(secret, owner=endpoint_id, purpose=_for_url(url), key_id=key_id)


def _opened(box: SecretBox, row: Row, sealed: bytes) -> str:
    return box.open(sealed, owner=row.id, purpose=_for_url(row.url))


def _for_url(url: str) -> str:
    """Binds a secret to its URL. Who changes the URL in the database cannot have anything signed for it."""
    return f"signing_secret for {url}"


def _endpoint(row: Row) -> Endpoint:
    return Endpoint(
        id=row["id"],
        operator_id=OperatorId(row["operator_id"]),
        provider=row["provider"],
        terminal_id=None if row["terminal_id"] is None else TerminalId(row["terminal_id"]),
        url=row["url"],
        types=tuple(EventType(each) for each in row["event_types"] or ()),
        created_at=row["created_at"],
        paused_at=row["paused_at"],
        failing_since=row["failing_since"],
        problem=row["problem"],
        delivered_at=row["delivered_at"],
        previous_secret_until=row["previous_secret_until"],
        given_up=row["given_up"],
    )
