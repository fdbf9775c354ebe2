"""Stores payment sessions: locked for changes, found by their keys."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import structlog
from sqlalchemy import (
    ARRAY,
    Select,
    Text,
    any_,
    bindparam,
    cast,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)

from app.domain.evidence.seal import Sealer
from app.domain.session.attention import AttentionCode, stamped
from app.domain.session.machine import Change, JournalLine, Source
from app.domain.session.payment_session import PaymentSession
from app.domain.session.states.journal import JournalKind
from app.domain.units.frozen import frozen, replace
from app.domain.units.ids import ChargeId, OperatorId, SessionId, TerminalId
from app.store import kept_readings
from app.store.db.connection import Connection, Result, Row
from app.store.db.database import SESSIONS_CHANNEL
from app.store.db.documents import as_text
from app.store.db.statements import Params
from app.store.sessions import leases
from app.store.sessions.codec import from_row, to_row
from app.store.sessions.journal import append, linked
from app.store.sessions.session_filter import EVERY_SESSION, SessionFilter, Shape, conditions, shape_of
from app.store.sessions.settlements import write
from app.store.tables import payment_sessions, settlements
from app.store.tables.base import Moment

log = structlog.get_logger("store")

P = payment_sessions
SEAL_DOES_NOT_FIT = "The settled session is not as it was sealed; it keeps the seal of before."
MOST_SHAPES = 300
"""Shapes of filters whose statements are kept."""


@frozen
class Recorded:
    """A session found by a key, with the first call's fingerprint."""

    session: PaymentSession
    request_hash: bytes
    idempotency_key: str | None


async def find_recorded(
    connection: Connection, terminal_id: TerminalId, *, reference: str, idempotency_key: str | None
) -> Recorded | None:
    """The session that took one of these keys. The reference takes precedence over the Idempotency-Key."""
    given = {"terminal": terminal_id, "wanted": reference, "key": idempotency_key}
    found = (await connection.execute(_RECORDED, given)).first()
    if found is None:
        return None
    return Recorded(from_row(found), found["request_hash"], found["idempotency_key"])


async def lock(
    connection: Connection, session_id: SessionId, *, lease_token: int | None = None
) -> PaymentSession | None:
    """Locks and returns a session until the transaction ends. None: unknown, or the lease was lost or released."""
    locked = _LOCK if lease_token is None else _LOCK_LEASED
    given = {"session": session_id} | ({} if lease_token is None else {"token": lease_token})
    if (await connection.execute(locked, given)).one_or_none() is None:
        return None
    await kept_readings.lock_of(connection, [session_id])
    # A statement of its own: joined rows would be as old as the wait for the lock.
    return await get(connection, session_id)


@frozen
class Locked:
    """A locked session with its row's due time and lease."""

    session: PaymentSession
    due_at: datetime | None
    lease_until: datetime | None


async def lock_named(
    connection: Connection, operator_id: OperatorId, charge_ids: Sequence[str], references: Sequence[str]
) -> list[Locked]:
    """Locks an operator's sessions that are named. By a charge or by their own id, in the order of their ids. Skips
    unreadable ones."""
    given = {"operator": operator_id, "charge_ids": list(charge_ids), "references": list(references)}
    found = await connection.execute(LOCK_NAMED, given)
    locked = found.scalars()
    if not locked:
        return []
    await kept_readings.lock_of(connection, locked)
    # A statement of its own, as in `lock`.
    rows = await connection.execute(_LOCKED, {"sessions": list(locked)})
    return [
        Locked(session, row["due_at"], row["lease_until"])
        for row in rows
        if (session := readable(row)) is not None
    ]


async def charges_taken(
    connection: Connection, operator_id: OperatorId, charge_ids: Sequence[ChargeId]
) -> list[ChargeId]:
    """Those of an operator's charges that a session has."""
    given = {"operator": operator_id, "charge_ids": list(charge_ids)}
    return (await connection.execute(_TAKEN, given)).scalars()


async def save(
    connection: Connection, before: PaymentSession, change: Change, now: datetime, sealer: Sealer
) -> PaymentSession:
    """Saves one locked session; see `save_all`."""
    return (await save_all(connection, [(before, change)], now, sealer))[0]


async def save_all(
    connection: Connection,
    edits: Sequence[tuple[PaymentSession, Change]],
    now: datetime,
    sealer: Sealer,
    *,
    claims: Mapping[SessionId, Params] | None = None,
) -> list[PaymentSession]:
    """Saves locked sessions with their journal lines, and notifies listeners.

    The version rises with every visible change; bookkeeping of our own reads is not one. `claims`: what becomes of the
    claim on each session (`leases.extended`, `leases.released`), written by the same UPDATE of its row.
    """
    edits = [(before, _with_kept_line(before, change)) for before, change in edits]
    rewritten = {before.id for before, change in edits if _is_rewritten(before, change, sealer)}
    edits = [(before, _flagged(change) if before.id in rewritten else change) for before, change in edits]
    kept = [
        linked(_versioned(before, change.session, now), before.journal, change.lines, now)
        for before, change in edits
    ]
    saved = [
        _with_seal_of(before, session) if before.id in rewritten else _sealed(before, session, now, sealer)
        for (before, _), (session, _) in zip(edits, kept, strict=True)
    ]
    pairs = [(before, session) for (before, _), session in zip(edits, saved, strict=True)]
    visible = [session.id for before, session in pairs if session.version != before.version]
    if visible:
        connection.notify(SESSIONS_CHANNEL, *visible)
    rows: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for before, session in pairs:
        changed = session != before or before.beside
        row = {**(to_row(session) if changed else {}), **(claims or {}).get(session.id, {})}
        if row:
            rows.setdefault(tuple(row), []).append(
                row | {"session": session.id, "operator": session.operator_id}
            )
    for alike in rows.values():
        await connection.execute(_SAVE, alike if len(alike) > 1 else alike[0])
    await _without_kept(connection, pairs)
    for before, session in pairs:
        if session.settlement is not None and session.settlement != before.settlement:
            await write(connection, session, session.settlement, first=before.settlement is None)
    await append(connection, [line for _, lines in kept for line in lines])
    return [session if session.beside is None else replace(session, beside=0) for session in saved]


def _sealed(before: PaymentSession, session: PaymentSession, now: datetime, sealer: Sealer) -> PaymentSession:
    """Seals a settled session where the change needs it."""
    return sealer.sealed(session, now) if sealer.must_seal(before, session) else session


def _is_rewritten(before: PaymentSession, change: Change, sealer: Sealer) -> bool:
    """Whether a session that is to be sealed anew is not as it was sealed before."""
    to_seal = bool(change.lines) or sealer.must_seal(before, change.session)
    return to_seal and not sealer.may_seal(before)


def _flagged(change: Change) -> Change:
    """Raises attention: sealing it anew would make valid what was forged."""
    log.error("seal_does_not_fit", session_id=change.session.id)
    return change.raise_attention(AttentionCode.SEAL_DOES_NOT_FIT, SEAL_DOES_NOT_FIT, Source.WATCHER)


def _with_seal_of(before: PaymentSession, session: PaymentSession) -> PaymentSession:
    """Keeps the seal of before, for verification to find."""
    return replace(session, journal=replace(session.journal, seal=before.journal.seal))


def _with_kept_line(before: PaymentSession, change: Change) -> Change:
    """Adds one journal line for the session's kept readings. They were kept beside it."""
    charge = before.charge
    if not before.beside or charge is None:
        return change
    line = JournalLine(
        JournalKind.CHARGE_REPORTED,
        Source.MONTA_WEBHOOK,
        {
            "state": charge.state,
            "energy_wh": charge.energy_wh,
            "price": None if charge.latest.price is None else str(charge.latest.price),
            "readings": before.beside,
        },
    )
    return replace(change, lines=(line, *change.lines))


async def _without_kept(
    connection: Connection, pairs: Sequence[tuple[PaymentSession, PaymentSession]]
) -> None:
    """Drops kept readings that saved sessions include, and allows no more."""
    saved = [s for before, s in pairs if before.beside is not None and (s != before or before.beside)]
    ended = sorted(session.id for session in saved if session.ended)
    others = sorted(session.id for session in saved if not session.ended)
    await kept_readings.close(connection, others, ended)


async def wake(
    connection: Connection, session_id: SessionId, now: datetime, *, for_stop: bool = False
) -> None:
    """Makes a locked session due, so that a watcher claims it next. `for_stop`: before all others."""
    await leases.wake(connection, [session_id], now, for_stop=for_stop)


async def get(
    connection: Connection, session_id: SessionId, owner: SessionFilter = EVERY_SESSION
) -> PaymentSession | None:
    """One session; `owner` narrows to what the caller may see."""
    shape, given = shape_of(owner)
    row = (await connection.execute(one_query(shape), given | {"session": session_id})).one_or_none()
    return from_row(row) if row else None


async def find(
    connection: Connection,
    wanted: SessionFilter,
    *,
    limit: int,
    before: tuple[datetime, str] | None = None,
) -> list[PaymentSession]:
    """Sessions, newest first; `before` is the (created_at, id) of the last one of the page before."""
    rows = await page(connection, _found, wanted, limit, before)
    return [session for row in rows if (session := readable(row)) is not None]


async def page(
    connection: Connection,
    statement: Callable[[Shape, bool, int], Select[Any]],
    wanted: SessionFilter,
    limit: int,
    before: tuple[datetime, str] | None,
) -> Result:
    """Executes the statement for a page of a filter's shape."""
    shape, given = shape_of(wanted)
    if before is not None:
        given["before_at"], given["before_id"] = before
    return await connection.execute(statement(shape, before is not None, limit), given)


def readable(row: Row) -> PaymentSession | None:
    """Decodes a row; None: it is unreadable. It is skipped here, and raises attention when a watcher claims it."""
    try:
        return from_row(row)
    except ValueError:
        log.error("session_unreadable", session_id=row["id"])
        return None


def sessions_query() -> Select[Any]:
    """Selects what `from_row` reads."""
    joined = P.outerjoin(settlements, settlements.c.session_id == P.c.id)
    joined = joined.outerjoin(kept_readings.R, kept_readings.R.c.session_id == P.c.id)
    parts = [
        (cast(c, Text) if c is settlements.c.shares else c).label(f"settlement_{c.name}")
        for c in settlements.c
        if c.name not in ("session_id", "operator_id", "authorized_minor")
    ]
    return select(as_text(P.c.body), as_text(P.c.tariff), *parts, *kept_readings.KEPT).select_from(joined)


# Built once for each shape of a filter: building a statement takes longer than executing it.
@lru_cache(MOST_SHAPES)
def one_query(owner: Shape) -> Select[Any]:
    return sessions_query().where(P.c.id == bindparam("session"), *conditions(owner))


@lru_cache(MOST_SHAPES)
def _found(wanted: Shape, follows: bool, limit: int) -> Select[Any]:
    return newest_first(sessions_query().add_columns(P.c.id), wanted, follows, limit)


def newest_first(query: Select[Any], wanted: Shape, follows: bool, limit: int) -> Select[Any]:
    """Builds the query for a page of sessions, newest first. One that follows another begins after its last
    (created_at, id).

    The limit stands in the statement: a plan for any limit would be one for a tenth of all sessions.
    """
    query = query.where(*conditions(wanted))
    if follows:
        last = tuple_(bindparam("before_at", type_=Moment), bindparam("before_id", type_=Text))
        query = query.where(tuple_(P.c.created_at, P.c.id) < last)
    return query.order_by(P.c.created_at.desc(), P.c.id.desc()).limit(literal_column(str(int(limit))))


_SAME_REFERENCE = P.c.reference == bindparam("wanted")
_RECORDED = (
    sessions_query()
    .add_columns(P.c.request_hash, P.c.idempotency_key)
    .where(
        P.c.terminal_id == bindparam("terminal"),
        or_(_SAME_REFERENCE, P.c.idempotency_key == bindparam("key")),
    )
    .order_by(_SAME_REFERENCE.desc())
    .limit(1)
)
_LOCK = select(P.c.id).where(P.c.id == bindparam("session")).with_for_update()
_LOCK_LEASED = _LOCK.where(P.c.lease_token == bindparam("token"), P.c.lease_until.is_not(None))
_TAKEN = select(P.c.charge_id).where(
    P.c.operator_id == bindparam("operator"),
    P.c.charge_id == any_(bindparam("charge_ids", type_=ARRAY(Text))),
)
LOCK_NAMED = (
    select(P.c.id)
    .where(
        P.c.operator_id == bindparam("operator"),
        or_(
            P.c.charge_id == any_(bindparam("charge_ids", type_=ARRAY(Text))),
            P.c.id == any_(bindparam("references", type_=ARRAY(Text))),
        ),
    )
    .order_by(P.c.id)
    .with_for_update()
)
"""Locks sessions by charge or by their own id, in the order of their ids."""
_LOCKED = (
    sessions_query()
    .add_columns(P.c.id, P.c.due_at, P.c.lease_until)
    .where(P.c.id == any_(bindparam("sessions", type_=ARRAY(Text))))
    .order_by(P.c.id)
)
_SAVE = update(P).where(P.c.id == bindparam("session"), P.c.operator_id == bindparam("operator"))


def _versioned(before: PaymentSession, session: PaymentSession, now: datetime) -> PaymentSession:
    """The session with the next version, where anything visible changed."""
    same = replace(
        session,
        reads=before.reads,
        journal=before.journal,
        version=before.version,
        updated_at=before.updated_at,
    )
    if same == before:
        return session
    attention = stamped(session.attention, now)
    return replace(session, version=before.version + 1, updated_at=now, attention=attention)
