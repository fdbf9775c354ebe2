"""Tests of app/flows/session/start_charge: a driver's limit by the state of charge.

Monta gets it, and ends the charge there.
"""

import pytest

from tests.journeys.checks import ended, kinds, the_charge
from tests.journeys.rig import energy_tariff, open_rig

pytestmark = pytest.mark.anyio


async def test_a_limit_by_the_state_of_charge_is_montas_to_keep(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.49"))
        payment = rig.payment(105, 9000, soc_limit=40)
        first = await rig.call("POST", "/v1/payment-sessions", body=payment)
        assert first.status_code == 201, first.text
        again = await rig.call("POST", "/v1/payment-sessions", body=payment)
        assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
        other = await rig.call("POST", "/v1/payment-sessions", body=payment | {"soc_limit": 41})
        assert (other.status_code, other.json()["code"]) == (409, "reference_conflict")
        for wrong in (0, 101, "80", 80.5):
            refused = await rig.call("POST", "/v1/payment-sessions", body=rig.payment(104, soc_limit=wrong))
            assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "soc_limit")
        await rig.pass_time(150)
        shown = await rig.session(first.json()["id"])
        assert 20 <= shown["state_of_charge"] <= 40
        assert shown["power_w"] > 0
        last = await ended(rig, first.json())
        assert the_charge(rig).order.soc_limit == 40
        assert (last["stop_reason"], rig.stops()) == ("limit_reached", 0), "Monta ended it"
        assert 0 < last["settlement"]["amount_to_capture"] < 9000
        intended = next(line for line in await rig.journal(last["id"]) if line["kind"] == "start_intended")
        assert intended["detail"]["soc_limit"] == 40
        assert "stopped_by_montas_limit" in await kinds(rig, last["id"])
