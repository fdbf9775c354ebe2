"""From the tap to the capture, to the cent."""

import pytest

from tests.journeys.rig import energy_tariff, open_rig

pytestmark = pytest.mark.anyio


async def test_a_driver_who_unplugs_pays_montas_price_and_gets_the_rest_back(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(907, 5000)
        await rig.pass_time(5)
        assert (await rig.session(session["id"]))["status"] in ("starting", "charging")
        ended = await rig.until(session["id"], "completed")

        charge = rig.monta.charges()[0]
        settlement = ended["settlement"]
        assert settlement["action"] == "capture"
        assert settlement["amount_to_capture"] == round(charge.price * 100)
        assert settlement["amount_to_capture"] + settlement["amount_to_release"] == 5000
        assert ended["stop_reason"] == "vehicle_or_charge_point"
        assert rig.calls("POST", "/charges") == 1


async def test_the_watcher_stops_the_charge_before_the_reservation_is_used_up(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 2000)
        ended = await rig.until(session["id"], "completed")
        assert ended["stop_reason"] == "limit_reached"
        settlement = ended["settlement"]
        assert 1500 < settlement["amount_to_capture"] <= 2000
        assert settlement["shortfall"] == 0
