"""app/simulator/site/vehicles: Curves, prices and drivers at random: properties that always hold."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.charging.charge import ChargeState
from app.domain.units.ids import ChargePointId
from app.simulator.site.charge import Charge, Leg
from app.simulator.site.lifecycle import NotPossible
from app.simulator.site.prices import PriceGroup, Usage, price
from app.simulator.site.vehicles import FLOOR_W, VEHICLES, Vehicle
from tests.simulator.rig import Rig, a_rig
from tests.virtual_clock import BEGINNING

vehicles = st.sampled_from(sorted(VEHICLES))
caps = st.sampled_from([3_700, 11_000, 22_000, 50_000, 150_000, 300_000])
shares = st.floats(0, 0.999)


@given(vehicles, caps, st.booleans(), shares, st.floats(0, 40))
def test_time_to_an_energy_is_the_inverse_of_energy_after_a_time(
    name: str, cap_w: int, direct: bool, share: float, hours: float
) -> None:
    curve = VEHICLES[name].curve(cap_w, direct_current=direct)
    start = share * curve.battery_wh
    reached = curve.energy_after(start, hours)
    assert start <= reached <= curve.battery_wh * (1 + 1e-12)
    if reached < curve.battery_wh * 0.999:
        assert curve.hours_to(start, reached) == pytest.approx(hours, rel=1e-6, abs=1e-6)


@given(vehicles, caps, st.booleans(), shares)
def test_power_stays_between_the_floor_and_what_charger_and_car_can(
    name: str, cap_w: int, direct: bool, share: float
) -> None:
    vehicle = VEHICLES[name]
    curve = vehicle.curve(cap_w, direct_current=direct)
    most = min(cap_w, max(power for _, power in vehicle.dc_curve) if direct else vehicle.ac_w)
    assert FLOOR_W <= curve.power_at(share * curve.battery_wh) <= most + 1e-6
    assert curve.power_at(curve.battery_wh) == 0


@given(vehicles, caps, shares, st.floats(0, 60), st.floats(0.001, 30_000))
def test_a_leg_reaches_an_energy_when_it_says_so(
    name: str, cap_w: int, share: float, ramp_s: float, wanted_wh: float
) -> None:
    curve = VEHICLES[name].curve(cap_w, direct_current=True)
    leg = Leg(curve, share * curve.battery_wh, BEGINNING, ramp_s)
    at = leg.time_of(wanted_wh)
    if at is None:
        assert leg.battery_wh + wanted_wh > curve.battery_wh
    else:
        assert leg.delivered_wh(at) == pytest.approx(wanted_wh, rel=1e-5, abs=0.1)


def test_during_the_ramp_the_power_rises_in_proportion() -> None:
    flat = Vehicle("flat", 10_000, 10_000, ((0, 10_000), (100, 10_000)))
    leg = Leg(flat.curve(10_000, direct_current=True), 0.0, BEGINNING, 10.0)
    assert leg.power_w(BEGINNING + timedelta(seconds=5)) == 5_000
    assert leg.delivered_wh(BEGINNING + timedelta(seconds=10)) == pytest.approx(10_000 * 5 / 3600)
    assert leg.delivered_wh(BEGINNING + timedelta(seconds=370)) == pytest.approx(10_000 * 365 / 3600)


@pytest.mark.parametrize(
    ("energy_wh", "charging_s", "idle_s", "total"),
    [
        (0, 600, 600, "0"),
        (1, 0, 0, "0.50069"),
        (10_000, 600, 600, "7.40"),
        (10_000, 600, 660, "7.50"),
        (10_000, 600, 10**6, "19.40"),
    ],
)
def test_fees_come_on_top_and_idle_time_is_free_at_first_and_capped_at_last(
    energy_wh: int, charging_s: int, idle_s: int, total: str
) -> None:
    group = PriceGroup(
        id=1,
        name="all",
        kwh_price=Decimal("0.69"),
        start_fee=Decimal("0.50"),
        idle_fee=Decimal("0.10"),
        idle_fee_after_min=10,
        idle_fee_max=Decimal(12),
    )
    usage = Usage(energy_wh, Decimal(charging_s), Decimal(idle_s))
    assert price(group, usage).total == Decimal(total)


ACTIONS = (
    "start",
    "stop",
    "plug_in",
    "unplug",
    "stop_button",
    "restart",
    "pause",
    "resume",
    "force_stop",
    "fail",
)
POINT_IDS = (102, 103, 104, 105, 106, 908, 913, 916, 918, 921)
moves = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.sampled_from(POINT_IDS), st.floats(0, 900)),
    min_size=1,
    max_size=40,
)


@pytest.mark.anyio
@settings(max_examples=40, deadline=None)
@given(moves)
async def test_whatever_people_do_energy_and_states_stay_lawful(script: list[tuple[str, int, float]]) -> None:
    rig = await (await a_rig(rate_limit=100_000, access_token_life_s=10**7)).subscribe()
    completed: dict[int, tuple[object, ...]] = {}
    for action, point_id, seconds in script:
        await act(rig, action, point_id)
        check_all(rig, completed)
        await rig.pass_time(seconds)
        check_all(rig, completed)
    assert all(delivery.status == 200 for delivery in rig.sim.deliveries)


async def act(rig: Rig, action: str, point_id: int) -> None:
    charges = rig.sim.charges(ChargePointId(str(point_id)))
    if action == "start":
        answer = await rig.post_charge(point_id, partnerExternalId=f"ps_{len(charges)}")
        assert answer.status_code in {200, 400}
    elif action == "stop" and charges:
        await rig.stop(charges[-1].id)
    elif action != "stop":
        try:
            getattr(rig.sim, action)(ChargePointId(str(point_id)))
        except NotPossible:
            return


def check_all(rig: Rig, completed: dict[int, tuple[object, ...]]) -> None:
    now = rig.clock.now()
    flowing = [charge for charge in rig.sim.charges() if charge.flowing]
    assert len({charge.point_id for charge in flowing}) == len(flowing), "one power for each charge point"
    for charge in rig.sim.charges():
        assert charge.metered_wh <= charge.delivered_wh(now) + 0.01
        assert (charge.flowing is not None) <= (charge.state in {ChargeState.CHARGING, ChargeState.STOPPING})
        assert charge.created_at <= charge.updated_at <= now
        check_completed(charge, completed)


def check_completed(charge: Charge, completed: dict[int, tuple[object, ...]]) -> None:
    """`completed` is final: nothing of it changes any more."""
    if charge.state is ChargeState.COMPLETED:
        assert charge.price is not None
        final = (charge.metered_wh, charge.price, charge.updated_at, charge.stopped_at)
        assert completed.setdefault(charge.id, final) == final
    else:
        assert charge.id not in completed
