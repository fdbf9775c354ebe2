"""For operations: how things stand, in sums, and for each operator."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.api import ops_examples as examples
from app.api.auth import CallingOps, ToolsHere
from app.api.money_views import Moment
from app.api.requests import StrictRoute
from app.domain.payment_session import Status
from app.flows import look

router = APIRouter(prefix="/v1/ops", route_class=StrictRoute, tags=["operations"])


class TotalsOut(BaseModel):
    currency: str
    sessions: int
    amount_authorized: int
    amount_captured: int
    amount_released: int
    shortfall: int
    energy_wh: int


class OperatorOut(BaseModel):
    id: str
    name: str
    webhook_problem: str | None = Field(
        description="why Monta's webhook is not set; null: all is well, or not ours to set"
    )
    webhook_mended_at: Moment | None = Field(
        description="when somebody else's configuration was last replaced"
    )
    upkeep_problem: str | None
    setup_problem: str | None = Field(
        description="what Monta shows of teams, charge points and prices does not fit what was configured"
    )
    monta_clock_ahead_s: int | None = Field(
        description="Monta's clock minus ours, as its last charges showed; null: they agree"
    )
    access_problem: str | None = Field(description="Monta refuses the credential: new payments are refused")
    reconciled_at: Moment | None = Field(description="Monta's charges were compared with ours up to then")
    reconcile_problem: str | None
    open_orphans: int = Field(
        description="charges of ours that no payment session knows; see /v1/ops/orphans"
    )
    budget_remaining: int | None = Field(description="requests left in Monta's current window")
    budget_quota: int | None


class SummaryOut(BaseModel):
    sessions: dict[str, int]
    needs_attention: int
    settlements_due: int = Field(description="settled, and nobody told yet what the PSP did")
    settlements_unheard: int = Field(description="of these, so late that a person is asked to look")
    last_24_hours: list[TotalsOut]
    watcher_seen_at: Moment | None
    oldest_due_at: Moment | None
    operators: list[OperatorOut]


@router.get("/summary", summary="How things stand", operation_id="opsGetSummary", responses=examples.SUMMARY)
async def summary(tools: ToolsHere, key: CallingOps) -> SummaryOut:
    found = await look.summary(tools, key.operator_id)
    return SummaryOut(
        sessions={status: found.by_status.get(status, 0) for status in Status},
        needs_attention=found.needs_attention,
        settlements_due=found.settlements.due,
        settlements_unheard=found.settlements.unheard,
        last_24_hours=[
            TotalsOut(
                currency=t.currency,
                sessions=t.sessions,
                amount_authorized=t.authorized_minor,
                amount_captured=t.captured_minor,
                amount_released=t.released_minor,
                shortfall=t.shortfall_minor,
                energy_wh=t.energy_wh,
            )
            for t in found.last_day
        ],
        watcher_seen_at=found.watcher_seen_at,
        oldest_due_at=found.oldest_due_at,
        operators=[
            OperatorOut(
                id=o.id,
                name=o.name,
                webhook_problem=o.webhook_problem,
                webhook_mended_at=o.webhook_mended_at,
                upkeep_problem=o.upkeep_problem,
                setup_problem=o.setup_problem,
                monta_clock_ahead_s=o.monta_clock_ahead_s,
                access_problem=o.access_problem,
                reconciled_at=o.reconciled_at,
                reconcile_problem=o.reconcile_problem,
                open_orphans=found.open_orphans.get(o.id, 0),
                budget_remaining=found.budget_left.get(o.id, (None, None))[0],
                budget_quota=found.budget_left.get(o.id, (None, None))[1],
            )
            for o in found.operators
        ],
    )
