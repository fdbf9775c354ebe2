"""Response body of a charge without a payment session. It has our reference at Monta."""

from pydantic import BaseModel, Field

from app.api.models.money import Moment
from app.store.operators.orphans import Orphan


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
    closed_by: str | None = Field(description="the key that closed it, by its id and name")


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
        closed_by=orphan.closed_by,
    )
