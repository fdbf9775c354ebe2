"""Tests of app/domain/session/plausibility.

F97 and F98 as Monta would report them: lifetime readings and negative prices, from the start to the settlement.
"""

from datetime import timedelta

import pytest

from tests.journeys.checks import check_settlement, kinds, minor, the_charge
from tests.journeys.rig import energy_tariff, open_rig, usual

pytestmark = pytest.mark.anyio


async def test_F97_a_lifetime_reading_is_never_captured_but_the_plausible_amount(database_url: str) -> None:
    async with open_rig(database_url, config=usual(925)) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        hold = {"expires_at": (rig.clock.now() + timedelta(hours=4)).isoformat()}
        session = await rig.authorize(925, 5000, authorization=hold)
        await rig.pass_time(240)
        await rig.stop(session["id"])
        await rig.until(session["id"], "finishing")
        await rig.pass_time(600)
        held = await rig.ops_session(session["id"])
        assert (held["status"], held["settlement"]) == ("finishing", None)
        assert "than the charge point can have given" in held["attention"][0]["detail"]
        assert "impossible_reading_left_out" in await kinds(rig, session["id"])
        truth = the_charge(rig).metered_wh
        assert held["energy_wh"] <= truth + 10
        assert held["amount_used"] <= truth * 0.00079 * 100 + 1
        last = await rig.until(session["id"], "completed", within_s=4 * 3600)
        settled = last["settlement"]
        assert truth * 0.079 * 0.8 <= settled["amount_to_capture"] <= truth * 0.079 + 1
        assert settled["energy_wh"] <= truth + 10


async def test_F98_a_negative_final_price_is_a_release(database_url: str) -> None:
    async with open_rig(database_url, config=usual(930)) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(930, 5000)
        await rig.pass_time(240)
        await rig.stop(session["id"])
        last = await rig.until(session["id"], "completed")
        check_settlement(last)
        assert (last["status"], last["settlement"]["action"]) == ("completed", "release")
        assert (last["settlement"]["amount_to_capture"], last["settlement"]["amount_to_release"]) == (0, 5000)
        assert minor(the_charge(rig).price) > 0, "it is the record that is wrong"
        ops = await rig.ops_session(session["id"])
        assert [item["code"] for item in ops["attention"]] == ["negative_price"]
        assert "negative_price" in await kinds(rig, session["id"])
