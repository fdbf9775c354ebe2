"""The endpoints about charges."""

from app.domain.charge import ChargeState
from app.simulator.answers import Answer, Call, json_answer, not_found
from app.simulator.charge import Charge
from app.simulator.faults import Faults
from app.simulator.fields import path_id, query_choice
from app.simulator.lifecycle import Lifecycle
from app.simulator.listing import matching_charges, page
from app.simulator.misreports import is_gone
from app.simulator.orders import patch_charge, start_order
from app.simulator.shapes import charge_json, energy_by_period
from app.simulator.shapes_price import breakdown_json, receipt_json
from app.simulator.site import Site
from app.simulator.wire import JsonValue

_PERIODS_S = frozenset({"300", "600", "900", "1800", "3600"})


class ChargeEndpoints:
    """Each takes the call and the id in its path, and answers; refusals are raised."""

    def __init__(self, site: Site, lifecycle: Lifecycle, faults: Faults) -> None:
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
        """The second charge of one POST."""
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
