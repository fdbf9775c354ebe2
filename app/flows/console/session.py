"""Reads one session with its journal, captures and names."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from app.domain.evidence.chain import broken_at
from app.domain.session.payment_session import PaymentSession
from app.domain.session.settlement import SettlementStatus
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId, SessionId
from app.flows.context import Context, SessionUnknown
from app.flows.evidence import linked_lines
from app.store.operators.names import Names, names_of
from app.store.sessions import journal, payment_sessions
from app.store.sessions.journal import JournalEntry
from app.store.sessions.running import DueWork, next_work
from app.store.sessions.session_filter import SessionFilter
from app.store.sessions.settlements import Capture, captures_of_session

MOST_LINES = 1000
"""Journal lines of one page, the newest of those that are asked for."""
AWAITED = timedelta(minutes=5)
"""How long after a settlement the terminal's report is waited for. Usually it comes within seconds."""


@frozen(kw_only=True)
class SessionRead:
    """One session at `now`. `cut`: its journal has lines before these."""

    session: PaymentSession
    lines: Sequence[JournalEntry]
    cut: bool
    broken: str | None
    """What does not fit in the journal's chain of hashes, in words. Of a journal that is cut, in these lines."""
    captures: Sequence[Capture]
    work: DueWork | None
    names: Names
    now: datetime

    @property
    def version(self) -> int:
        return self.session.version

    @property
    def goes_on(self) -> bool:
        """Whether news are to be expected. The charge runs, or its terminal's report is awaited."""
        settled = self.session.settlement
        if not self.session.ended or settled is None:
            return not self.session.ended
        return settled.status is SettlementStatus.DUE and self.now < settled.decided_at + AWAITED


@frozen
class EarlierLines:
    """A part of a session's journal. `cut`: there are lines before these."""

    session: PaymentSession
    lines: Sequence[JournalEntry]
    cut: bool
    now: datetime


async def read_session(
    context: Context, session_id: SessionId, operator_id: OperatorId | None
) -> SessionRead:
    """Reads a session of one operator, or (None) of any. Raises SessionUnknown."""
    async with context.database.read() as connection:
        owner = SessionFilter(operator_id=operator_id)
        found = await payment_sessions.get(connection, session_id, owner)
        if found is None:
            raise SessionUnknown
        read = await journal.newest(connection, session_id, limit=MOST_LINES + 1)
        before, lines = read[:-MOST_LINES], read[-MOST_LINES:]
        point = (found.operator_id, found.charge_point_id)
        return SessionRead(
            session=found,
            lines=lines,
            cut=bool(before),
            broken=_broken(found, lines, before[-1].hash.hex() if before else None),
            work=await next_work(connection, session_id),
            captures=await captures_of_session(connection, session_id),
            names=await names_of(connection, {found.terminal_id}, {point}),
            now=context.clock.now(),
        )


async def earlier_lines(
    context: Context, session_id: SessionId, operator_id: OperatorId | None, *, before: int
) -> EarlierLines:
    """Reads MOST_LINES journal lines with lower ids than `before`. Raises SessionUnknown."""
    async with context.database.read() as connection:
        found = await payment_sessions.get(connection, session_id, SessionFilter(operator_id=operator_id))
        if found is None:
            raise SessionUnknown
        read = await journal.newest(connection, session_id, before=before, limit=MOST_LINES + 1)
    return EarlierLines(found, read[-MOST_LINES:], len(read) > MOST_LINES, context.clock.now())


def _broken(session: PaymentSession, lines: Sequence[JournalEntry], previous: str | None) -> str | None:
    """Examines the chain as far as it was when the session was read; lines may have come since. `previous`: the hash
    before these lines; None: they are all."""
    head = session.journal
    if previous is None:
        return broken_at(linked_lines(session, lines[: head.lines]), head=head.hash, count=head.lines)
    last = next((at for at, line in enumerate(lines) if line.hash.hex() == head.hash), len(lines) - 1)
    first = head.lines - last
    linked = linked_lines(session, lines[: last + 1], first)
    return broken_at(linked, head=head.hash, count=head.lines, first=first, previous=previous)
