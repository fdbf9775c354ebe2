"""Locks and loads many claimed sessions in two statements. With what their next decision needs."""

from collections.abc import Sequence

from sqlalchemy import ARRAY, BigInteger, ColumnElement, Select, Text, any_, bindparam, func, select, tuple_

from app.domain.session.payment_session import PaymentSession
from app.domain.units.frozen import frozen
from app.domain.units.ids import SessionId
from app.store import kept_readings
from app.store.db.connection import Connection, Row
from app.store.sessions.codec import from_row
from app.store.sessions.leases import Lease
from app.store.sessions.payment_sessions import sessions_query
from app.store.tables import inbox, payment_sessions, polled_reports, terminals

P = payment_sessions
_THEIRS = P.c.operator_id == bindparam("operator")


@frozen
class Claimed:
    """A locked session's row. It is decoded by its own turn, so that an unreadable one fails no other."""

    _row: Row
    provider: str
    """Of the terminal, as Monta's receipts show it."""
    has_news: bool
    """Whether webhook entries wait in the inbox."""
    has_polled_reports: bool

    def session(self) -> PaymentSession:
        """Raises ValueError."""
        return from_row(self._row)


async def lock(connection: Connection, claims: Sequence[Lease], *, wait: bool) -> dict[Lease, Claimed]:
    """Locks an operator's sessions whose claims are still these. In the order of their ids. `wait`: also for rows that
    another transaction has locked; their sessions are left out otherwise.

    By claim: a process that was suspended may hold an old and a new claim on one session at once (F76).
    """
    operator = {"operator": claims[0].operator_id}
    given = operator | {"sessions": [c.session_id for c in claims], "tokens": [c.token for c in claims]}
    held = {row["id"]: row["lease_token"] for row in await connection.execute(_LOCK[wait], given)}
    locked = list(held)
    if not locked:
        return {}
    beside = await kept_readings.lock_of(connection, locked, wait=wait)
    # A statement of its own: joined rows would be as old as the wait for the lock.
    rows = await connection.execute(_LOAD, operator | {"sessions": locked})
    return {
        Lease(SessionId(row["id"]), held[row["id"]]): Claimed(
            row, row["provider"], row["has_news"], row["has_polled"]
        )
        for row in rows
        if row["id"] in beside or row["kept_newest"] is None
    }


def _lock(*, wait: bool) -> Select[tuple[str, int]]:
    claims = func.unnest(
        bindparam("sessions", type_=ARRAY(Text)), bindparam("tokens", type_=ARRAY(BigInteger))
    )
    claim = claims.table_valued("session_id", "token").render_derived()
    return (
        select(P.c.id, P.c.lease_token)
        .where(_THEIRS, tuple_(P.c.id, P.c.lease_token).in_(select(claim.c.session_id, claim.c.token)))
        .order_by(P.c.id)
        .with_for_update(of=P, skip_locked=not wait)
    )


def _load() -> Select[tuple[object, ...]]:
    def news(*mine: ColumnElement[bool]) -> ColumnElement[bool]:
        # LIMIT: it is looked up for each session, never hashed from the whole inbox.
        theirs = (inbox.c.operator_id == P.c.operator_id, inbox.c.applied_at.is_(None), *mine)
        return select(inbox.c.id).where(*theirs).limit(1).scalar_subquery().is_not(None)

    has_news = news(inbox.c.session_reference == P.c.id) | news(inbox.c.charge_id == P.c.charge_id)
    polled = select(polled_reports.c.charge_id).where(polled_reports.c.session_id == P.c.id)
    has_polled = polled.limit(1).scalar_subquery().is_not(None)
    provider = select(terminals.c.provider).where(terminals.c.id == P.c.terminal_id).scalar_subquery()
    return (
        sessions_query()
        .add_columns(
            P.c.id, has_news.label("has_news"), has_polled.label("has_polled"), provider.label("provider")
        )
        .where(_THEIRS, P.c.id == any_(bindparam("sessions", type_=ARRAY(Text))))
    )


# Built once: every turn of every session executes them.
_LOCK = {wait: _lock(wait=wait) for wait in (False, True)}
_LOAD = _load()
