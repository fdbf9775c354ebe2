"""Compares a day's holds, captures and Monta's prices; lists a month's charges."""

from collections.abc import AsyncIterator
from datetime import date, datetime

from app.domain.charging.charge_point import Place
from app.domain.reconciliation.balance import PspReport
from app.domain.reconciliation.charges import (
    BilledCharge,
    MonthOfCharges,
    billed_charge,
    is_of_month,
    month_of_charges,
    utc_window_of_month,
)
from app.domain.reconciliation.report import (
    DayReport,
    ReconciledSession,
    day_report,
    is_of_day,
    reconciled,
    utc_window,
)
from app.domain.session.payment_session import PaymentSession
from app.domain.session.settlement import CaptureOutcome
from app.domain.units.frozen import replace
from app.domain.units.ids import SessionId
from app.flows.context import Context
from app.store.operators.names import Point, places_of
from app.store.sessions import payment_sessions
from app.store.sessions.session_filter import SessionFilter
from app.store.sessions.settlements import Capture, captures_of_sessions

PAGE = 500
MAX_SESSIONS = 50_000
"""Of one report; a larger day is asked for terminal by terminal."""


class TooManySessions(Exception):
    """The day has more sessions than one report takes."""

    def __init__(self) -> None:
        super().__init__(
            f"That are more than {MAX_SESSIONS} sessions: name a terminal, and ask terminal by terminal"
        )


async def reconcile_day(context: Context, wanted: SessionFilter, day: date) -> DayReport:
    """Reconciles the sessions that were authorized on `day`. By each session's own time zone.

    Raises TooManySessions.
    """
    now, found = context.clock.now(), []
    start, end = utc_window(day)
    async for each in _each(context, replace(wanted, created_from=start, created_before=end), now):
        if is_of_day(each.session, day):
            found.append(each)
        if len(found) > MAX_SESSIONS:
            raise TooManySessions
    return day_report(day, found, now)


async def charges_of_month(context: Context, wanted: SessionFilter, month: date) -> MonthOfCharges:
    """Lists the charges of a month's sessions. Of those authorized in the month that begins at `month`.

    By each session's own time zone. Raises TooManySessions.
    """
    now, found = context.clock.now(), list[BilledCharge]()
    start, end = utc_window_of_month(month)
    places: dict[Point, Place] = {}
    async for each in _each(context, replace(wanted, created_from=start, created_before=end), now):
        session = each.session
        point = (session.operator_id, session.charge_point_id)
        if point not in places:
            async with context.database.read() as connection:
                places |= await places_of(connection, [point])
        charge = billed_charge(each, places.get(point, Place())) if is_of_month(session, month) else None
        if charge is not None:
            found.append(charge)
        if len(found) > MAX_SESSIONS:
            raise TooManySessions
    return month_of_charges(month, found, now)


async def _each(context: Context, wanted: SessionFilter, now: datetime) -> AsyncIterator[ReconciledSession]:
    """Reads page by page, each in a short transaction. So none lasts long."""
    before: tuple[datetime, str] | None = None
    while True:
        page, captures = await _page(context, wanted, before)
        for session in page:
            reports = [_report(c) for c in captures.get(session.id, ())]
            yield reconciled(session, reports, context.policy, now)
        if not page:
            return
        before = (page[-1].created_at, page[-1].id)


async def _page(
    context: Context, wanted: SessionFilter, before: tuple[datetime, str] | None
) -> tuple[list[PaymentSession], dict[SessionId, list[Capture]]]:
    async with context.database.read() as connection:
        page = await payment_sessions.find(connection, wanted, limit=PAGE, before=before)
        return page, await captures_of_sessions(connection, [session.id for session in page])


def _report(capture: Capture) -> PspReport:
    return PspReport(
        outcome=CaptureOutcome(capture.outcome),
        amount_minor=capture.amount_minor,
        reported_at=capture.reported_at,
        reference=capture.reference,
    )
