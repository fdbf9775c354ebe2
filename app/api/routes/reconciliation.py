"""Operations' books: a day's reconciliation, a month's charges. The day's holds, captures and Monta's prices are
compared."""

from datetime import date
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from app.api.charge_views import ChargesOut, charges_out
from app.api.docs import ops_examples as examples
from app.api.http.auth import CallingOps, ContextHere
from app.api.http.requests import StrictRoute
from app.api.reconciliation_views import ReconciliationOut, reconciliation_out
from app.api.schemas import PRINTABLE
from app.domain.reconciliation.charges import charges_csv
from app.domain.reconciliation.csv_tables import sessions_csv
from app.domain.units.ids import TerminalId
from app.flows.admin.reconciliation import charges_of_month, reconcile_day
from app.store.operators.keys import OpsKey
from app.store.sessions.session_filter import SessionFilter

router = APIRouter(prefix="/v1/ops", route_class=StrictRoute, tags=["operations"])


class ReportFormat(StrEnum):
    JSON = "json"
    CSV = "csv"


FIRST_DAY, LAST_DAY = date(2020, 1, 1), date(9000, 1, 1)
"""Before the first day there can be no session."""


class ReportQuery(BaseModel):
    """Whose sessions a report has, and how it is written."""

    terminal_id: Annotated[
        str | None, Field(max_length=128, pattern=PRINTABLE, examples=["trm_01kaq4kzrw8m6n4b2v0c9x7z5l"])
    ] = None
    format: Annotated[ReportFormat, Field(examples=["json"])] = ReportFormat.JSON

    model_config = {"extra": "forbid"}

    def visible_to(self, key: OpsKey) -> SessionFilter:
        """The sessions of the report, among those that the key may see."""
        terminal_id = TerminalId(self.terminal_id) if self.terminal_id is not None else None
        return SessionFilter(operator_id=key.operator_id, terminal_id=terminal_id)


class DayQuery(ReportQuery):
    """Which day, by each session's own time zone. A session belongs to the day of its authorization."""

    date: Annotated[date, Field(ge=FIRST_DAY, le=LAST_DAY, examples=["2026-11-22"])]


def _csv_file(text: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(text, media_type="text/csv", headers=headers)


@router.get(
    "/reconciliation",
    summary="Reconcile a day",
    operation_id="opsGetReconciliation",
    responses=examples.RECONCILIATION,
    response_model=ReconciliationOut,
)
async def reconciliation(
    context: ContextHere, key: CallingOps, wanted: Annotated[DayQuery, Query()]
) -> ReconciliationOut | Response:
    """Compares hold, the PSP's reports and Monta's final price of each session. `format=csv`: one row a session."""
    found = await reconcile_day(context, wanted.visible_to(key), wanted.date)
    if wanted.format is ReportFormat.CSV:
        return _csv_file(sessions_csv(found), f"reconciliation-{wanted.date.isoformat()}")
    return reconciliation_out(found)


class MonthQuery(ReportQuery):
    """Which month, by each session's own time zone. A charge belongs to the month of its authorization."""

    month: Annotated[str, Field(pattern=r"^(20[2-9]\d|2[1-9]\d\d)-(0[1-9]|1[0-2])$", examples=["2026-11"])]


@router.get(
    "/charges",
    summary="A month's charges, for the books",
    operation_id="opsListCharges",
    responses=examples.CHARGES,
    response_model=ChargesOut,
)
async def charges(
    context: ContextHere, key: CallingOps, wanted: Annotated[MonthQuery, Query()]
) -> ChargesOut | Response:
    """Settled charges with place, energy, net, tax and gross. `format=csv`: one row a charge, in major units."""
    found = await charges_of_month(context, wanted.visible_to(key), date.fromisoformat(f"{wanted.month}-01"))
    if wanted.format is ReportFormat.CSV:
        return _csv_file(charges_csv(found), f"charges-{wanted.month}")
    return charges_out(found)
