"""Reads versions of sessions' rows, and the sessions that changed since."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeAlias

from sqlalchemy import ARRAY, BigInteger, Select, Text, any_, bindparam, func, literal_column, select

from app.domain.limit.policy import Policy
from app.domain.session.payment_session import PaymentSession
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId, SessionId, TerminalId
from app.store import kept_readings
from app.store.db.connection import Connection, Row
from app.store.sessions.codec import shown_from_row
from app.store.sessions.payment_sessions import (
    MOST_SHAPES,
    P,
    newest_first,
    page,
    readable,
    sessions_query,
)
from app.store.sessions.session_filter import SessionFilter, Shape, conditions, shape_of
from app.store.tables import settlements


@frozen
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
    terminal_id: TerminalId | None = None
    """Whose it is; None: not read."""

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


async def states_of(connection: Connection, wanted: SessionFilter) -> list[SessionState]:
    """As `rows_of`, but only what shows whether the rows were changed."""
    shape, given = shape_of(wanted)
    return [SessionState(*row) for row in await connection.execute(_states_of(shape), given)]


async def rows_of(connection: Connection, wanted: SessionFilter) -> list[tuple[SessionState, Row]]:
    """Reads sessions' rows, each with its state. In no order, as `from_row` decodes them."""
    shape, given = shape_of(wanted)
    rows = await connection.execute(_rows_of(shape), given)
    return [(SessionState(*(row[column.name] for column in _STATE)), row) for row in rows]


async def get_states(
    connection: Connection, ids: Sequence[SessionId]
) -> list[tuple[SessionState, PaymentSession]]:
    """Sessions with the state of the row that each was read from. Skips unreadable ones."""
    rows = await rows_of(connection, SessionFilter(ids=ids))
    return [(state, session) for state, row in rows if (session := readable(row)) is not None]


Asked: TypeAlias = tuple[SessionId, SessionState | None]
"""A session, and the state in which the caller knows it."""


@frozen
class Found:
    """A session's state, and its row where it is in another one than any caller knows."""

    state: SessionState
    _row: Row | None = None

    def shown(self, policy: Policy) -> PaymentSession | None:
        """Decodes the row for its view. Here, so that an unreadable one harms its own caller alone. None: its state is
        known."""
        return None if self._row is None else shown_from_row(self._row, policy)


async def find_asked(
    connection: Connection, operator_id: OperatorId, asked: Sequence[Asked]
) -> dict[SessionId, Found]:
    """Finds an operator's sessions, of any terminal. Reads the rows of those that changed since."""
    states = {}
    if maybe := [session_id for session_id, known in asked if known is not None]:
        same = SessionFilter(operator_id=operator_id, ids=maybe)
        states = {state.id: state for state in await states_of(connection, same)}
    changed = {session_id for session_id, known in asked if known is None or states.get(session_id) != known}
    found = {session_id: Found(state) for session_id, state in states.items() if session_id not in changed}
    if changed:
        rows = await rows_of(connection, SessionFilter(operator_id=operator_id, ids=list(changed)))
        found |= {state.id: Found(state, row) for state, row in rows}
    return found


async def versions(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    """Returns the versions of these sessions. As they are shown; unknown ones are left out."""
    return {row.id: row.version for row in await connection.execute(_VERSIONS, {"sessions": list(ids)})}


@lru_cache(MOST_SHAPES)
def _rows_of(wanted: Shape) -> Select[Any]:
    return sessions_query().add_columns(*_STATE).where(*conditions(wanted))


@lru_cache(MOST_SHAPES)
def _states_of(wanted: Shape) -> Select[Any]:
    return _state_query(wanted).where(*conditions(wanted))


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
    P.c.terminal_id,
)
_VERSIONS = (
    select(P.c.id, (P.c.version + func.coalesce(kept_readings.R.c.count, 0)).label("version"))
    .select_from(P.outerjoin(kept_readings.R, kept_readings.R.c.session_id == P.c.id))
    .where(P.c.id == any_(bindparam("sessions", type_=ARRAY(Text))))
)
