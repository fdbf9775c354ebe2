"""Stores readings that decide nothing beside their sessions, and what they may show."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    DateTime,
    Integer,
    Text,
    any_,
    bindparam,
    cast,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.types import TypeEngine

from app.domain.charging.charge import Charge
from app.domain.session.payment_session import PaymentSession
from app.domain.session.states.kept_readings import Allowed, KeptReadings, Newest, beginning, new_tuple
from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargeId, OperatorId, SessionId
from app.store.db.connection import Connection
from app.store.db.database import SESSIONS_CHANNEL
from app.store.db.documents import to_document, to_lines
from app.store.db.statements import by_column, insert_rows
from app.store.sessions.codec import NEWEST
from app.store.tables import kept_readings

R = kept_readings

NOTIFIED_TOGETHER = 100
"""Sessions in one notification, which has 8,000 bytes at most."""

_ALLOWED = msgspec.json.Decoder(Allowed)


class Beside(NamedTuple):
    """What is kept beside one session, and what more may be. `kept` without the points of what is saved already."""

    session_id: SessionId
    charge_id: ChargeId
    allowed: Allowed
    kept: KeptReadings


async def lock(
    connection: Connection, operator_id: OperatorId, charge_ids: Iterable[ChargeId]
) -> list[Beside]:
    """Locks what is kept beside the sessions of charges, in the order of the sessions' ids.

    Where nothing more is allowed, it is left out.
    """
    rows = await connection.execute(_LOCK, {"operator": operator_id, "charges": ",".join(charge_ids)})
    decode_allowed, decode_newest = _ALLOWED.decode, NEWEST.decode
    return [
        new_tuple(
            Beside,
            (
                session_id,
                charge_id,
                decode_allowed(allowed),
                new_tuple(KeptReadings, (decode_newest(newest), count, b"")),
            ),
        )
        for session_id, charge_id, allowed, newest, count in rows
    ]


async def keep(connection: Connection, readings: Sequence[tuple[Beside, KeptReadings]]) -> None:
    """Saves what locked rows keep by now, all in one statement."""
    if not readings:
        return
    sessions = [beside.session_id for beside, _ in readings]
    given = {
        "sessions": ",".join(sessions),
        "silent_ats": to_document([_silent_at(kept.newest, beside.allowed) for beside, kept in readings])[
            2:-2
        ],
        "newests": to_lines([kept.newest for _, kept in readings]),
        "counts": ",".join([str(kept.readings) for _, kept in readings]),
        "point_lists": ",".join([kept.points.hex() for _, kept in readings]),
    }
    await connection.execute(_KEEP, given)
    for first in range(0, len(sessions), NOTIFIED_TOGETHER):
        connection.notify(SESSIONS_CHANNEL, ",".join(sessions[first : first + NOTIFIED_TOGETHER]))


@frozen
class Allowance:
    """What readings of a session may show from now on, as its charge is."""

    session: PaymentSession
    charge: Charge
    allowed: Allowed


async def allow(connection: Connection, allowances: Sequence[Allowance]) -> None:
    """Says what readings of locked and saved sessions may show from now on."""
    rows = [_row(each) for each in sorted(allowances, key=lambda each: each.session.id)]
    if rows:
        await connection.execute(_ALLOW, by_column(rows, _COLUMNS))


def _row(each: Allowance) -> dict[str, object]:
    newest = beginning(each.charge).newest
    return {
        "session_id": each.session.id,
        "operator_id": each.session.operator_id,
        "charge_id": each.charge.id,
        "revision": 0,
        "allowed": to_document(each.allowed),
        "due_at": each.allowed.due_at,
        "silent_at": _silent_at(newest, each.allowed),
        "newest": to_document(newest),
        "count": 0,
        "points": b"",
    }


def _silent_at(newest: Newest, allowed: Allowed) -> datetime:
    return newest.seen_at + allowed.silent_after


async def lock_of(
    connection: Connection, session_ids: Sequence[SessionId], *, wait: bool = True
) -> frozenset[SessionId]:
    """Locks what is kept beside locked sessions. So no reading joins them until the transaction ends.

    Returns the sessions of the locked rows. `wait`: also for a row that another transaction has locked.
    """
    rows = await connection.execute(_LOCK_OF[wait], {"sessions": list(session_ids)})
    return frozenset(rows.scalars())


async def close(connection: Connection, saved: Sequence[SessionId], ended: Sequence[SessionId]) -> None:
    """Drops the readings that locked sessions were saved with, and allows nothing more. Of `ended` ones nothing is
    kept any more."""
    if saved:
        await connection.execute(_CLOSE, {"sessions": list(saved)})
    if ended:
        await connection.execute(_FORGET, {"sessions": list(ended)})


def _sessions() -> Any:
    return bindparam("sessions", type_=ARRAY(Text))


KEPT = tuple(column.label(f"kept_{column.name}") for column in (R.c.newest, R.c.count, R.c.points))
"""What `kept_from` reads."""


def _list(name: str, separator: str = ",", item: TypeEngine[Any] | None = None) -> ColumnElement[Any]:
    """A list that is given as one text. asyncpg takes as long for two items of an array as PostgreSQL for a text."""
    split = func.string_to_array(bindparam(name, type_=Text()), separator, type_=ARRAY(Text))
    return split if item is None else cast(split, ARRAY(item))


_LOCK = (
    select(R.c.session_id, R.c.charge_id, R.c.allowed, R.c.newest, R.c.count)
    .where(
        R.c.operator_id == bindparam("operator"),
        R.c.charge_id == any_(_list("charges")),
        R.c.allowed.is_not(None),
    )
    .order_by(R.c.session_id)
    .with_for_update()
)
_new = (
    func.unnest(
        _list("sessions"),
        _list("silent_ats", '","', DateTime(timezone=True)),
        _list("newests", "\n"),
        _list("counts", item=Integer()),
        _list("point_lists"),
    )
    .table_valued("session_id", "silent_at", "newest", "count", "points", name="new")
    .render_derived()
)
_KEEP = (
    update(R)
    .where(R.c.session_id == _new.c.session_id)
    .values(
        silent_at=_new.c.silent_at,
        newest=_new.c.newest,
        count=_new.c.count,
        points=R.c.points.concat(func.decode(_new.c.points, "hex")),
        revision=R.c.revision + 1,
    )
)
_COLUMNS = (
    "session_id",
    "operator_id",
    "charge_id",
    "revision",
    "allowed",
    "due_at",
    "silent_at",
    "newest",
    "count",
    "points",
)
_insert = insert_rows(R, *_COLUMNS)
_ALLOW = _insert.on_conflict_do_update(
    index_elements=[R.c.session_id, R.c.operator_id],
    set_={name: _insert.excluded[name] for name in ("charge_id", "allowed", "due_at", "silent_at", "newest")}
    | {"revision": R.c.revision + 1},
)
_LOCK_OF = {
    wait: select(R.c.session_id)
    .where(R.c.session_id == any_(_sessions()))
    .order_by(R.c.session_id)
    .with_for_update(skip_locked=not wait)
    for wait in (False, True)
}
_CLOSE = (
    update(R)
    .where(R.c.session_id == any_(_sessions()))
    .values(allowed=None, due_at=None, silent_at=None, count=0, points=b"", revision=R.c.revision + 1)
)
_FORGET = delete(R).where(R.c.session_id == any_(_sessions()))
