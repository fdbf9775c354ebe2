"""The limit of one session: what counts as known about the meter, and from when on power may have flowed."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.charging.charge import POWERLESS, Charge, ChargeReport, ChargeState
from app.domain.limit.policy import Policy
from app.domain.session.limit import limit_at, reading_of
from app.domain.tariff import parse_tariff
from app.domain.units.ids import ChargeId
from tests.domain.sessions import T0, new_session

POLICY = Policy()
SECOND = timedelta(seconds=1)


def seen(state: ChargeState, *, at_s: float, energy_wh: int = 0, energy_at_s: float = 0) -> Charge:
    """A charge last seen `at_s` after T0, its meter first seen at this reading `energy_at_s` after T0."""
    at = T0 + at_s * SECOND
    latest = ChargeReport(
        id=ChargeId("5"), state=state, seen_at=at, updated_at=at, started_at=T0, energy_wh=energy_wh
    )
    return Charge(latest=latest, energy_wh=energy_wh, energy_at=T0 + energy_at_s * SECOND, seen_at=at)


@pytest.mark.parametrize("state", sorted(POWERLESS))
def test_a_charge_that_has_not_begun_gave_nothing_until_it_was_last_seen(state: ChargeState) -> None:
    assert reading_of(new_session(), seen(state, at_s=200), POLICY).at == T0 + 200 * SECOND


def test_a_running_charge_without_a_new_reading_may_have_given_energy_since_the_last_one() -> None:
    charge = seen(ChargeState.CHARGING, at_s=200, energy_wh=1000, energy_at_s=30)
    assert reading_of(new_session(), charge, POLICY).at == T0 + 30 * SECOND


def test_a_reading_that_monta_still_shows_is_at_most_one_meter_interval_old() -> None:
    charge = seen(ChargeState.PAUSED, at_s=4000, energy_wh=1000, energy_at_s=30)
    assert reading_of(new_session(), charge, POLICY).at == T0 + (4000 - POLICY.meter_interval_s) * SECOND


def test_a_driver_who_plugs_in_late_at_a_fast_charger_is_not_stopped_before_the_start() -> None:
    tariff = parse_tariff(
        {
            "currency": "EUR",
            "elements": [{"price_components": [{"type": "ENERGY", "price": "0.79", "step_size": 1}]}],
        }
    )
    held = replace(new_session().authorization, amount_minor=300)
    session = new_session(authorization=held, tariff=tariff, power_bound_w=350_000)
    at = limit_at(session, seen(ChargeState.STARTING, at_s=200), POLICY)
    assert at is not None
    assert at > T0 + 200 * SECOND
