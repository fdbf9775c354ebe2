"""Endpoints of operations for charges without a payment session. They have our reference at Monta."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from app.api.docs import ops_examples as examples
from app.api.http.auth import ActingOps, CallingOps, ContextHere
from app.api.http.requests import StrictRoute, shielded
from app.api.models.sessions import Page
from app.api.orphan_views import OrphanOut, orphan_out
from app.api.schemas import PRINTABLE, OpsStopIn
from app.domain.units.ids import ChargeId, OperatorId
from app.flows.admin import queries
from app.flows.operator.reconcile import OrphanUnknown, close_orphan

router = APIRouter(prefix="/v1/ops/orphans", route_class=StrictRoute, tags=["operations"])


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
        raise OrphanUnknown
    closing = close_orphan(context, named, ChargeId(charge_id), because=body.reason, by=key.caller)
    return orphan_out(await shielded(closing))
