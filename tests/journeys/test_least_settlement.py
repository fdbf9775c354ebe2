"""Tests of app/domain/session/settle: the operator's least capture, from the command to the release."""

import pytest

from app.flows.admin import provision
from tests.journeys.checks import ended, minor, the_charge
from tests.journeys.rig import energy_tariff, open_rig

pytestmark = pytest.mark.anyio


async def test_a_price_below_the_operators_least_is_released_and_said_so(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        component = {"type": "ENERGY", "price": "0.49", "vat": 19, "step_size": 1}
        await rig.set_tariff(energy_tariff() | {"elements": [{"price_components": [component]}]})
        await provision.set_least_settlement(
            rig.context, rig.operator.operator_id, capture_minor=100, energy_wh=None
        )
        session = await rig.authorize(101)
        await rig.pass_time(30)
        await rig.stop(session["id"])
        last = await ended(rig, session)
        price = minor(the_charge(rig).price)
        assert 0 < price < 100
        assert (last["settlement"]["action"], last["settlement"]["amount_to_capture"]) == ("release", 0)
        assert (await rig.ops_session(session["id"]))["settlement_basis"] == "below_least"
        lines = [line for line in await rig.journal(session["id"]) if line["kind"] == "below_least"]
        assert [line["detail"] for line in lines] == [{"price_minor": price}]
        dearer = await rig.authorize(102)
        await rig.pass_time(900)
        await rig.stop(dearer["id"])
        paid = (await ended(rig, dearer, posts=2))["settlement"]
        (tax,) = paid["tax"]
        assert paid["amount_to_capture"] >= 100
        assert (tax["rate"], tax["net"] + tax["tax"]) == (19, paid["amount_to_capture"])
