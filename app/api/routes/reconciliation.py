"""Operations' reconciliation: a day's holds, captures and Monta's prices compared."""

from datetime import date
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from app.api.docs import ops_examples as examples
from app.api.http.auth import CallingOps, ContextHere
from app.api.http.requests import StrictRoute
from app.api.money_views import Moment
from app.api.schemas import PRINTABLE
from app.domain.reconciliation.balance import Balance
from app.domain.reconciliation.csv_tables import sessions_csv
from app.domain.reconciliation.differences import MEANINGS, DifferenceKind
from app.domain.reconciliation.report import DayReport, ReconciledSession, Totals
from app.domain.units.ids import TerminalId
from app.flows.admin.reconciliation import reconcile_day
from app.store.sessions.session_filter import SessionFilter

router = APIRouter(prefix="/v1/ops/reconciliation", route_class=StrictRoute, tags=["operations"])


class ReportFormat(StrEnum):
    JSON = "json"
    CSV = "csv"


FIRST_DAY, LAST_DAY = date(2020, 1, 1), date(9000, 1, 1)
"""Before the first day there can be no session."""


class DayQuery(BaseModel):
    """Which day, by each session's own time zone. A session belongs to the day of its authorization."""

    date: Annotated[date, Field(ge=FIRST_DAY, le=LAST_DAY, examples=["2026-11-22"])]
    terminal_id: Annotated[
        str | None, Field(max_length=128, pattern=PRINTABLE, examples=["trm_01kaq4kzrw8m6n4b2v0c9x7z5l"])
    ] = None
    format: Annotated[ReportFormat, Field(examples=["json"])] = ReportFormat.JSON

    model_config = {"extra": "forbid"}


class DifferenceOut(BaseModel):
    kind: DifferenceKind
    meaning: str
    amount: int = Field(
        description="at stake; above 0 the operator lacks it, below 0 the driver paid too much"
    )
    detail: str


class MoneyOut(BaseModel):
    """Minor units; `authorized + above = captured + released + open`."""

    currency: str
    amount_authorized: int
    amount_captured: int = Field(description="by the PSP's reports")
    amount_released: int
    amount_open: int = Field(description="neither captured nor released, as far as is reported")
    amount_above: int = Field(description="what the PSP moved beyond the authorization")
    amount_settled: int | None = Field(description="what Tapwatt settled to be captured")
    amount_monta: int | None = Field(description="Monta's final prices in this currency")


class TerminalTotalsOut(MoneyOut):
    operator_id: str
    terminal_id: str
    sessions: int
    differing: int = Field(description="sessions with at least one difference")


class DifferingSessionOut(MoneyOut):
    session_id: str
    terminal_id: str
    display_reference: str
    differences: list[DifferenceOut]


class ReconciliationOut(BaseModel):
    date: date
    as_of: Moment
    sessions: int
    totals: list[TerminalTotalsOut]
    differing: list[DifferingSessionOut] = Field(description="the largest amounts at stake first")


@router.get(
    "",
    summary="Reconcile a day",
    operation_id="opsGetReconciliation",
    responses=examples.RECONCILIATION,
    response_model=ReconciliationOut,
)
async def reconciliation(
    context: ContextHere, key: CallingOps, wanted: Annotated[DayQuery, Query()]
) -> ReconciliationOut | Response:
    """Compares hold, the PSP's reports and Monta's final price of each session. `format=csv`: one row a session."""
    terminal_id = TerminalId(wanted.terminal_id) if wanted.terminal_id is not None else None
    visible = SessionFilter(operator_id=key.operator_id, terminal_id=terminal_id)
    found = await reconcile_day(context, visible, wanted.date)
    if wanted.format is ReportFormat.CSV:
        name = f'attachment; filename="reconciliation-{wanted.date.isoformat()}.csv"'
        return Response(sessions_csv(found), media_type="text/csv", headers={"Content-Disposition": name})
    return _report_out(found)


def _report_out(found: DayReport) -> ReconciliationOut:
    return ReconciliationOut(
        date=found.day,
        as_of=found.as_of,
        sessions=len(found.sessions),
        totals=[
            TerminalTotalsOut(
                operator_id=t.operator_id,
                terminal_id=t.terminal_id,
                sessions=t.sessions,
                differing=t.differing,
                **_money(t).model_dump(),
            )
            for t in found.totals
        ],
        differing=[_session_out(s) for s in found.differing],
    )


def _session_out(found: ReconciledSession) -> DifferingSessionOut:
    return DifferingSessionOut(
        session_id=found.session_id,
        terminal_id=found.session.terminal_id,
        display_reference=found.session.display_reference,
        differences=[
            DifferenceOut(kind=d.kind, meaning=MEANINGS[d.kind], amount=d.amount_minor, detail=d.detail)
            for d in found.differences
        ],
        **_money(found.balance).model_dump(),
    )


def _money(of: Balance | Totals) -> MoneyOut:
    return MoneyOut(
        currency=of.currency,
        amount_authorized=of.authorized_minor,
        amount_captured=of.captured_minor,
        amount_released=of.released_minor,
        amount_open=of.open_minor,
        amount_above=of.above_minor,
        amount_settled=of.settled_minor,
        amount_monta=of.monta_minor,
    )
