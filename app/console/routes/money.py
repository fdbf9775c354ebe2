"""The page Money: a day by terminal, differences, expiring holds. Differences from Monta's prices; captures that are
overdue."""

from datetime import UTC, date, timedelta

from fastapi import APIRouter, Request, Response

from app.api.http.auth import ContextHere
from app.console.http.pages import ConsoleRoute, Refused, page
from app.console.http.query import day_of
from app.console.http.signed_in import Viewer
from app.domain.reconciliation.charges import charges_csv
from app.domain.reconciliation.csv_tables import sessions_csv
from app.domain.reconciliation.differences import MEANINGS, WHAT_TO_DO
from app.domain.reconciliation.report import DayReport
from app.flows.admin.queries import names_of_places
from app.flows.admin.reconciliation import charges_of_month, reconcile_day
from app.flows.console.money import open_money
from app.flows.context import Context
from app.store.sessions.session_filter import SessionFilter

router = APIRouter(prefix="/console", route_class=ConsoleRoute)

MOST_DIFFERING = 200
"""Sessions with a difference on the page; the CSV has all."""


@router.get("/money")
async def money_page(request: Request, context: ContextHere, viewer: Viewer, date: str = "") -> Response:
    report = await _report(context, viewer, date)
    held = await open_money(context, viewer.key.operator_id)
    differing = report.differing
    return page(
        request,
        "money.html",
        viewer,
        report=report,
        differing=differing[:MOST_DIFFERING],
        more=max(0, len(differing) - MOST_DIFFERING),
        meanings=MEANINGS,
        what_to_do=WHAT_TO_DO,
        held=held,
        names=await names_of_places(context, [each.session for each in report.sessions]),
        several_operators=viewer.key.operator_id is None,
        day_before=report.day - timedelta(days=1),
        now=context.clock.now(),
    )


@router.get("/money.csv")
async def money_csv(context: ContextHere, viewer: Viewer, date: str = "") -> Response:
    """Every session of the day, as the API's report has it."""
    report = await _report(context, viewer, date)
    name = f'attachment; filename="reconciliation-{report.day.isoformat()}.csv"'
    return Response(sessions_csv(report), media_type="text/csv", headers={"Content-Disposition": name})


@router.get("/charges.csv")
async def charges_file(context: ContextHere, viewer: Viewer, month: str = "") -> Response:
    """Returns the month's charges, as the API has them."""
    first = day_of(f"{month}-01")
    if first is None:
        raise Refused(422, "The month is not right", "Write it as 2026-11.")
    found = await charges_of_month(context, SessionFilter(operator_id=viewer.key.operator_id), first)
    name = f'attachment; filename="charges-{first:%Y-%m}.csv"'
    return Response(charges_csv(found), media_type="text/csv", headers={"Content-Disposition": name})


async def _report(context: Context, viewer: Viewer, wanted: str) -> DayReport:
    """The report of a day, today's without one. Raises Refused, TooManySessions."""
    day: date | None = day_of(wanted) if wanted else context.clock.now().astimezone(UTC).date()
    if day is None:
        raise Refused(422, "The date is not right", "Write it as 2026-11-22, or choose it in the form.")
    return await reconcile_day(context, SessionFilter(operator_id=viewer.key.operator_id), day)
