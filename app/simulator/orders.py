"""POST /charges and PATCH /charges/{id}: from body to order, with every documented constraint."""

from app.simulator.answers import Call, not_found
from app.simulator.charge import Charge, StartOrder
from app.simulator.fields import (
    body_object,
    boolean,
    custom_payload,
    integer,
    number,
    payment_session,
    positive,
    required,
    text,
)
from app.simulator.site import Site


def start_order(site: Site, call: Call) -> StartOrder:
    """The order in the body of POST /charges; 400 for what is malformed, 404 for ids that nobody knows."""
    body = body_object(call)
    for name in ("payingTeamId", "chargePointId"):
        required(body, name)
    order = StartOrder(
        paying_team_id=integer(body, "payingTeamId") or 0,
        charge_point_id=integer(body, "chargePointId") or 0,
        reserve=boolean(body, "reserveCharge"),
        kwh_limit=number(body, "kwhLimit", 1, 500),
        soc_limit=number(body, "socLimit", 1, 100),
        price_limit=number(body, "priceLimit", 1),
        price_group_id=positive(body, "priceGroupId"),
        payment_session=payment_session(body),
        partner_external_id=text(body, "partnerExternalId"),
        custom_payload=custom_payload(body),
    )
    if order.paying_team_id not in site.config.paying_team_ids:
        raise not_found(f"team {order.paying_team_id}")
    return order


def patch_charge(site: Site, charge: Charge, call: Call) -> None:
    """What the body of PATCH brings replaces what was there; what it leaves out stays."""
    body = body_object(call)
    session, external_id, payload = (
        payment_session(body),
        text(body, "partnerExternalId"),
        custom_payload(body),
    )
    charge.payment_session = charge.payment_session if session is None else session
    charge.partner_external_id = charge.partner_external_id if external_id is None else external_id
    charge.custom_payload = charge.custom_payload if payload is None else payload
    charge.updated_at = site.now
