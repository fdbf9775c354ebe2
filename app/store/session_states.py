"""Reads versions of sessions' rows, and the sessions that changed since."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Select, Text, any_, bindparam, func, literal_column, select

from app.domain.session.payment_session import PaymentSession
from app.domain.units.ids import SessionId
from app.store import kept_readings
from app.store.db.connection import Connection, Row
from app.store.sessions.codec import from_row
from app.store.sessions.payment_sessions import (
    MOST_SHAPES,
    P,
    newest_first,
    one_query,
    page,
    readable,
    sessions_query,
)
from app.store.sessions.session_filter import SessionFilter, Shape, conditions, shape_of
from app.store.tables import settlements


@dataclass(frozen=True, slots=True)
class SessionState:
    """Which version of a session's row was read. Equal states: nothing of the row was changed in between."""

    id: SessionId
    created_at: datetime
    xmin: int
    """The transaction that wrote the row. Version and time are compared, too: a failover may use its number again."""
    version: int
    updated_at: datetime
    revision: int | None = None
    """Of the readings that are kept beside it."""
    readings: int | None = None
    """How many they are: each is a visible change."""

    @property
    def shown_version(self) -> int:
        """The version of the session as it is shown."""
        return self.version + (self.readings or 0)


async def find_states(
    connection: Connection,
    wanted: SessionFilter,
    *,
    limit: int,
    before: tuple[datetime, str] | None = None,
) -> list[SessionState]:
    """Finds sessions, but reads only whether their rows changed."""
    rows = await page(connection, _states, wanted, limit, before)
    return [SessionState(*row) for row in rows]


async def get_states(
    connection: Connection, ids: Sequence[SessionId]
) -> list[tuple[SessionState, PaymentSession]]:
    """Sessions with the state of the row that each was read from. Skips unreadable ones."""
    rows = await connection.execute(_STATES_AND_SESSIONS, {"sessions": list(ids)})
    return [(_state_of(row), session) for row in rows if (session := readable(row)) is not None]


async def get_state(
    connection: Connection, session_id: SessionId, owner: SessionFilter
) -> SessionState | None:
    """As `get`, but only what shows whether the session's row was changed."""
    shape, given = shape_of(owner)
    row = (await connection.execute(_one_state(shape), given | {"session": session_id})).one_or_none()
    return SessionState(*row) if row else None


async def get_with_state(
    connection: Connection, session_id: SessionId, owner: SessionFilter
) -> tuple[SessionState, PaymentSession] | None:
    """As `get`, with the state of the row that was read."""
    shape, given = shape_of(owner)
    row = (await connection.execute(_one_with_state(shape), given | {"session": session_id})).one_or_none()
    return (_state_of(row), from_row(row)) if row else None


def _state_of(row: Row) -> SessionState:
    return SessionState(*(row[column.name] for column in _STATE))


async def versions(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    """Returns the versions of these sessions. As they are shown; unknown ones are left out."""
    return {row.id: row.version for row in await connection.execute(_VERSIONS, {"sessions": list(ids)})}


@lru_cache(MOST_SHAPES)
def _one_with_state(owner: Shape) -> Select[Any]:
    return one_query(owner).add_columns(*_STATE)


@lru_cache(MOST_SHAPES)
def _one_state(owner: Shape) -> Select[Any]:
    return _state_query(owner).where(P.c.id == bindparam("session"), *conditions(owner))


@lru_cache(MOST_SHAPES)
def _states(wanted: Shape, follows: bool, limit: int) -> Select[Any]:
    return newest_first(_state_query(wanted), wanted, follows, limit)


def _state_query(wanted: Shape) -> Select[Any]:
    """Selects the fields of a SessionState, in their order."""
    joined = P.outerjoin(kept_readings.R, kept_readings.R.c.session_id == P.c.id)
    if any(name == "settlement_status" for name, _ in wanted):
        joined = joined.join(settlements, settlements.c.session_id == P.c.id)
    return select(*_STATE).select_from(joined)


_STATE = (
    P.c.id,
    P.c.created_at,
    literal_column("payment_sessions.xmin", BigInteger).label("xmin"),
    P.c.version,
    P.c.updated_at,
    kept_readings.R.c.revision,
    kept_readings.R.c.count.label("readings"),
)
_STATES_AND_SESSIONS = (
    sessions_query().add_columns(*_STATE).where(P.c.id == any_(bindparam("sessions", type_=ARRAY(Text))))
)
_VERSIONS = (
    select(P.c.id, (P.c.version + func.coalesce(kept_readings.R.c.count, 0)).label("version"))
    .select_from(P.outerjoin(kept_readings.R, kept_readings.R.c.session_id == P.c.id))
    .where(P.c.id == any_(bindparam("sessions", type_=ARRAY(Text))))
)
