"""Stores settlements, and what the PSP did with each settled hold."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Integer, and_, bindparam, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert

from app.domain.session.payment_session import PaymentSession
from app.domain.session.settlement import CaptureOutcome, CaptureReport, Settlement, SettlementStatus
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId, SessionId
from app.store.db.connection import Connection
from app.store.db.statements import is_any_given
from app.store.sessions.codec import shares_of
from app.store.tables import captures, payment_sessions, settlements

S = settlements
DUE = S.c.status == SettlementStatus.DUE
FAILED = S.c.status == literal_column(f"'{SettlementStatus.FAILED}'")
OF_SESSION = S.c.session_id == payment_sessions.c.id
_REPORT = update(S).where(S.c.session_id == bindparam("session"))
_DECIDE = insert(S)


@frozen
class OpenSettlements:
    """How many settlements await a capture report; `overdue`: those flagged for operations."""

    due: int
    overdue: int


async def write(
    connection: Connection, session: PaymentSession, settlement: Settlement, *, first: bool
) -> None:
    """Inserts a settlement once. Later only its reports and the overdue mark may change."""
    reported = {
        "status": settlement.status,
        "shares": shares_of(settlement),
        "overdue_since": settlement.overdue_since,
        "captured_minor": settlement.captured_minor,
        "attempts": settlement.attempts,
        "retry_at": settlement.retry_at,
    }
    if not first:
        await connection.execute(_REPORT, reported | {"session": session.id})
        return
    decided = {
        "session_id": session.id,
        "operator_id": session.operator_id,
        "action": settlement.action,
        "authorized_minor": session.authorized_minor,
        "to_capture_minor": settlement.to_capture_minor,
        "to_release_minor": settlement.to_release_minor,
        "shortfall_minor": settlement.shortfall_minor,
        "energy_wh": settlement.energy_wh,
        "decided_at": settlement.decided_at,
        "deadline": settlement.deadline,
        "session_date": settlement.session_date,
        "basis": settlement.basis,
        "report_due_at": settlement.report_due_at,
    }
    await connection.execute(_DECIDE, decided | reported)


async def overdue(
    connection: Connection, operator_id: OperatorId, now: datetime, *, limit: int, offset: int = 0
) -> list[SessionId]:
    """Finds sessions with an overdue capture report, not flagged yet. The most overdue first. Skips `offset` of
    them."""
    given = {"operator": operator_id, "now": now, "most": limit, "skipped": offset}
    return [SessionId(row.session_id) for row in await connection.execute(_NEWLY_OVERDUE, given)]


async def unreported(
    connection: Connection, operator_id: OperatorId | None, expires_before: datetime, *, limit: int
) -> list[SessionId]:
    """Finds captures that are missing. Sessions whose hold expires by then, whose report is overdue, and whose capture
    failed: up to `limit` of each, the most urgent first."""
    found: list[SessionId] = []
    expiring = (and_(DUE, S.c.deadline <= expires_before), S.c.deadline)
    for condition, order in (expiring, _OVERDUE, (FAILED, S.c.deadline)):
        query = select(S.c.session_id).where(condition).order_by(order, S.c.session_id).limit(limit)
        if operator_id is not None:
            of_operator = payment_sessions.c.operator_id == operator_id
            query = query.join_from(S, payment_sessions, OF_SESSION).where(of_operator)
        found += [SessionId(row.session_id) for row in await connection.execute(query)]
    return found


_NEWLY_OVERDUE = (
    select(S.c.session_id)
    .join_from(S, payment_sessions, OF_SESSION)
    .where(DUE, S.c.overdue_since.is_(None), S.c.report_due_at <= bindparam("now"))
    .where(payment_sessions.c.operator_id == bindparam("operator"))
    .order_by(S.c.report_due_at, S.c.session_id)
    .offset(bindparam("skipped", type_=Integer()))
    .limit(bindparam("most", type_=Integer()))
)
_OVERDUE = (and_(DUE, S.c.overdue_since.is_not(None)), S.c.overdue_since)


async def count_open(connection: Connection, operator_id: OperatorId | None) -> OpenSettlements:
    query = select(func.count(), func.count(S.c.overdue_since)).where(DUE)
    if operator_id is not None:
        of_operator = payment_sessions.c.operator_id == operator_id
        query = query.join_from(S, payment_sessions, OF_SESSION).where(of_operator)
    due, asked = (await connection.execute(query)).one()
    return OpenSettlements(due, asked)


@frozen(kw_only=True)
class Capture:
    """`outcome` is captured, released or failed; `reference` is the PSP's."""

    outcome: str
    amount_minor: int
    reference: str
    authorization_reference: str | None = None
    retryable: bool = True
    reported_at: datetime

    def report(self) -> CaptureReport:
        """The same as the rules take it."""
        return CaptureReport(
            outcome=CaptureOutcome(self.outcome),
            amount_minor=self.amount_minor,
            reference=self.reference,
            authorization_reference=self.authorization_reference,
            retryable=self.retryable,
            reported_at=self.reported_at,
        )


async def add_capture(connection: Connection, session: PaymentSession, capture: Capture) -> Capture | None:
    """Saves a report once. Returns an existing one of the same outcome, reference and hold."""
    made = await connection.execute(
        insert(captures)
        .values(
            session_id=session.id,
            operator_id=session.operator_id,
            outcome=capture.outcome,
            amount_minor=capture.amount_minor,
            reference=capture.reference,
            authorization_reference=capture.authorization_reference,
            retryable=capture.retryable,
            reported_at=capture.reported_at,
        )
        .on_conflict_do_nothing()
        .returning(captures.c.id)
    )
    if made.one_or_none() is not None:
        return None
    earlier = await captures_of_session(connection, session.id)
    return next(c for c in earlier if _key(c) == _key(capture))


def _key(capture: Capture) -> tuple[str, str, str | None]:
    return capture.outcome, capture.reference, capture.authorization_reference


async def captures_of_session(connection: Connection, session_id: SessionId) -> list[Capture]:
    """The PSP's reports of one session, oldest first."""
    return (await captures_of_sessions(connection, [session_id])).get(session_id, [])


K = captures.c
_CAPTURES = (
    select(
        K.session_id,
        K.outcome,
        K.amount_minor,
        K.reference,
        K.authorization_reference,
        K.retryable,
        K.reported_at,
    )
    .where(is_any_given(K.session_id, "sessions"))
    .order_by(K.id)
)


async def captures_of_sessions(
    connection: Connection, session_ids: Sequence[SessionId]
) -> dict[SessionId, list[Capture]]:
    """The PSP's reports of each session that has any, oldest first."""
    found: dict[SessionId, list[Capture]] = {}
    for r in await connection.execute(_CAPTURES, {"sessions": list(session_ids)}):
        capture = Capture(
            outcome=r.outcome,
            amount_minor=r.amount_minor,
            reference=r.reference,
            authorization_reference=r.authorization_reference,
            retryable=r.retryable,
            reported_at=r.reported_at,
        )
        found.setdefault(SessionId(r.session_id), []).append(capture)
    return found
