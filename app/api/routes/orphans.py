"""Endpoints of operations for charges without a payment session. They have our reference at Monta."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from app.api.docs import ops_examples as examples
from app.api.http.auth import ActingOps, CallingOps, ContextHere
from app.api.http.problems import Problem
from app.api.http.requests import StrictRoute, shielded
from app.api.money_views import Moment
from app.api.schemas import PRINTABLE, OpsStopIn
from app.api.views import Page
from app.domain.units.ids import ChargeId, OperatorId
from app.flows.admin import queries
from app.flows.operator.reconcile import close_orphan
from app.store.operators.orphans import Orphan

router = APIRouter(prefix="/v1/ops/orphans", route_class=StrictRoute, tags=["operations"])


class OrphanOut(BaseModel):
    operator_id: str
    charge_id: str
    session_reference: str = Field(
        description="the payment session that it was started for, which is not here"
    )
    ours: bool = Field(description="proved to be of our start, so it is stopped; any other is only reported")
    charge_point_id: str | None
    display_reference: str | None
    card_last4: str | None
    state: str
    energy_wh: int | None
    price: str | None = Field(description="in major units of `currency`; final when the state is completed")
    currency: str | None
    created_at: Moment | None
    found_at: Moment
    seen_at: Moment
    stops: int
    problem: str | None
    closed_at: Moment | None
    closed_because: str | None


def orphan_out(orphan: Orphan) -> OrphanOut:
    return OrphanOut(
        operator_id=orphan.operator_id,
        charge_id=orphan.charge_id,
        session_reference=orphan.session_reference,
        ours=orphan.ours,
        charge_point_id=orphan.charge_point_id,
        display_reference=orphan.display_reference,
        card_last4=orphan.card_last4,
        state=orphan.state,
        energy_wh=orphan.energy_wh,
        price=None if orphan.price is None else str(orphan.price),
        currency=orphan.currency,
        created_at=orphan.created_at,
        found_at=orphan.found_at,
        seen_at=orphan.seen_at,
        stops=orphan.stops,
        problem=orphan.problem,
        closed_at=orphan.closed_at,
        closed_because=orphan.closed_because,
    )


@router.get(
    "",
    summary="Charges without a payment session",
    operation_id="opsListOrphanCharges",
    responses=examples.ORPHANS,
)
async def orphans(
    context: ContextHere,
    key: CallingOps,
    closed: Annotated[
        bool, Query(description="also those that operations have closed", examples=[True])
    ] = False,
) -> Page[OrphanOut]:
    """Newest first, 200 at most. They have no authorization here: nothing is captured for them."""
    found = await queries.orphans_of(context, key.operator_id, closed=closed)
    return Page(data=[orphan_out(o) for o in found])


@router.post(
    "/{charge_id}/close",
    summary="Close one",
    operation_id="opsCloseOrphanCharge",
    responses=examples.ORPHAN,
)
async def close(
    context: ContextHere,
    key: ActingOps,
    charge_id: Annotated[str, Path(pattern="^[0-9]{1,20}$", examples=["689100419745380035"])],
    body: Annotated[OpsStopIn, examples.ORPHAN_CLOSE_IN],
    operator_id: Annotated[
        str | None,
        Query(
            max_length=64,
            pattern=PRINTABLE,
            description="the operator, where several have a charge with this id",
            examples=["op_01kaq4kx1h0g9f8e7d6c5b4a3z"],
        ),
    ] = None,
) -> OrphanOut:
    """Removes it from the list; it is neither stopped nor read again. Idempotent; the first reason is kept."""
    named = OperatorId(operator_id) if operator_id else key.operator_id
    if key.operator_id not in (None, named):
        raise Problem("not_found", "This key sees no such orphan charge.")
    found = await shielded(close_orphan(context, named, ChargeId(charge_id), because=body.reason))
    if found is None:
        raise Problem("not_found", "This key sees no such orphan charge.")
    return orphan_out(found)
