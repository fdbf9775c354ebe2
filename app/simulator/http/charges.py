"""Endpoints for charges: start, patch, read, list, stop."""

from app.domain.charging.charge import ChargeState
from app.simulator.faults.misreports import is_gone
from app.simulator.faults.schedule import FaultSchedule
from app.simulator.http.answers import Answer, Call, json_answer, not_found
from app.simulator.http.fields import (
    body_object,
    boolean,
    custom_payload,
    integer,
    number,
    path_id,
    payment_session,
    positive,
    query_choice,
    required,
    text,
)
from app.simulator.http.lists import matching_charges, page
from app.simulator.shapes.charge import charge_json, energy_by_period
from app.simulator.shapes.price import breakdown_json, receipt_json
from app.simulator.site.charge import Charge, StartOrder
from app.simulator.site.lifecycle import Lifecycle
from app.simulator.site.site import Site
from app.simulator.wire import JsonValue


def start_order(site: Site, call: Call) -> StartOrder:
    """Reads the order from the body of POST /charges. 400 when malformed, 404 for unknown ids."""
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
    """Replaces the fields given in the body of PATCH; others stay."""
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


_PERIODS_S = frozenset({"300", "600", "900", "1800", "3600"})


class ChargeEndpoints:
    """Endpoints of charges. Each takes the call and the id in its path, and answers. Refusals are raised."""

    def __init__(self, site: Site, lifecycle: Lifecycle, faults: FaultSchedule) -> None:
        self._site = site
        self._lifecycle = lifecycle
        self._faults = faults

    def start(self, call: Call, _id: str) -> Answer:
        self._site.counters["starts_asked"] += 1
        charge = self._lifecycle.start(start_order(self._site, call))
        shown: JsonValue = charge_json(self._site, charge)
        if self._site.config.wraps_start_answer:
            shown = {"charge": shown}
        return json_answer(shown, self._site.config.start_status)

    def start_spare(self, call: Call) -> None:
        """Creates the second charge of one POST."""
        self._lifecycle.start(start_order(self._site, call), spare=True)

    def list(self, call: Call, _id: str) -> Answer:
        found = matching_charges(self._site, call, self._faults.search_lag_s)
        return page(call, found, lambda charge: charge_json(self._site, charge))

    def read(self, _call: Call, charge_id: str) -> Answer:
        return self._shown(self._charge(charge_id))

    def stop(self, _call: Call, charge_id: str) -> Answer:
        charge = self._charge(charge_id)
        self._site.counters["stops_asked"] += 1
        self._lifecycle.ask_stop(charge, "api")
        return self._shown(charge)

    def restart(self, _call: Call, charge_id: str) -> Answer:
        charge = self._charge(charge_id)
        self._lifecycle.restart(charge)
        return self._shown(charge)

    def patch(self, call: Call, charge_id: str) -> Answer:
        charge = self._charge(charge_id)
        patch_charge(self._site, charge, call)
        return self._shown(charge)

    def breakdown(self, _call: Call, charge_id: str) -> Answer:
        return json_answer(breakdown_json(self._site, self._charge(charge_id)))

    def consumption(self, call: Call, charge_id: str) -> Answer:
        charge = self._charge(charge_id)
        size_s = int(query_choice(call, "consumptionPeriodSizeInSeconds", _PERIODS_S) or 3600)
        return json_answer(
            {
                "chargeId": charge.id,
                "consumptionPeriodSizeInSeconds": size_s,
                "kwhConsumption": energy_by_period(charge, size_s),
            }
        )

    def receipt(self, _call: Call, charge_id: str) -> Answer:
        charge = self._charge(charge_id)
        if charge.state is not ChargeState.COMPLETED or not charge.price:
            raise not_found(f"receipt of charge {charge.id}")
        return json_answer(receipt_json(self._site, charge))

    def _charge(self, charge_id: str) -> Charge:
        charge = self._site.charge(path_id(charge_id))
        if is_gone(self._site, charge):
            raise not_found(f"charge {charge.id}")
        return charge

    def _shown(self, charge: Charge) -> Answer:
        return json_answer(charge_json(self._site, charge))
