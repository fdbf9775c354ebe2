"""A charge's merged facts depend neither on the order of its reports nor on repetitions."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.charging.charge import Charge, ChargeReport, ChargeState, merge
from app.domain.units.ids import ChargeId
from tests.domain.sessions import after, report, reports


def _of_one_charge(each: ChargeReport) -> ChargeReport:
    return replace(each, id=ChargeId("1"))


told = st.tuples(reports.map(_of_one_charge), st.booleans())


def known(*stories: tuple[ChargeReport, bool]) -> Charge:
    charge: Charge | None = None
    for each, by_rest in stories:
        charge = merge(charge, each, by_rest=by_rest)
    assert charge is not None
    return charge


@given(st.lists(told, min_size=1, max_size=6).flatmap(lambda s: st.tuples(st.just(s), st.permutations(s))))
def test_merging_commutes_and_associates(stories: tuple[list[tuple[ChargeReport, bool]], ...]) -> None:
    told_so, told_otherwise = stories
    assert known(*told_so) == known(*told_otherwise)


@given(st.lists(told, min_size=1, max_size=5), st.data())
def test_repeating_any_report_at_any_time_is_harmless(
    stories: list[tuple[ChargeReport, bool]], data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(stories), max_size=5))
    assert known(*stories, *again) == known(*stories)


@given(st.lists(told, min_size=1, max_size=6))
def test_a_completed_record_is_for_ever_and_everything_known_only_grows(
    stories: list[tuple[ChargeReport, bool]],
) -> None:
    states = [known(*stories[: i + 1]) for i in range(len(stories))]
    for before, later in pairwise(states):
        assert later.energy_wh >= before.energy_wh
        assert later.seen_at >= before.seen_at
        assert later.final_read >= before.final_read
        if before.final_read:
            assert later.state is ChargeState.COMPLETED


@given(st.lists(told, min_size=1, max_size=6))
def test_the_peak_is_the_highest_reading_and_dated_by_its_first_report(
    stories: list[tuple[ChargeReport, bool]],
) -> None:
    charge = known(*stories)
    peak = max(r.energy_wh or 0 for r, _ in stories)
    dates = [min(r.updated_at or r.seen_at, r.seen_at) for r, _ in stories if (r.energy_wh or 0) == peak]
    assert (charge.energy_wh, charge.energy_at) == (peak, min(dates))


@given(st.lists(told, min_size=1, max_size=6))
def test_a_price_once_reported_stays_known_while_newer_reports_leave_it_out(
    stories: list[tuple[ChargeReport, bool]],
) -> None:
    charge = known(*stories)
    assert (charge.priced is not None) == any(r.price is not None for r, _ in stories)
    if charge.latest.price is not None:
        assert charge.priced == charge.latest


def test_without_completed_the_newest_update_counts_whenever_it_arrives() -> None:
    charge = known((report("stopped", 20), False), (report("charging", 15), False))
    assert charge.state is ChargeState.STOPPED
    restarted = merge(charge, report("charging", 30), by_rest=False)
    assert restarted.state is ChargeState.CHARGING
    assert not restarted.ended


def test_completed_wins_over_a_report_with_a_newer_date() -> None:
    charge = known((report("completed", 20, price=Decimal("2.37")), True), (report("charging", 90), False))
    assert (charge.state, charge.latest.price) == (ChargeState.COMPLETED, Decimal("2.37"))


def test_only_the_record_itself_makes_a_final_read() -> None:
    by_webhook = known((report("completed", 20), False))
    assert not by_webhook.final_read
    assert merge(by_webhook, report("completed", 20), by_rest=True).final_read
    assert not known((report("stopped", 20), True)).final_read


def test_a_falling_meter_keeps_the_peak_and_its_date() -> None:
    charge = known((report(at=60, energy_wh=4000), False), (report(at=120, energy_wh=2000), False))
    assert (charge.energy_wh, charge.energy_at) == (4000, after(60))
    assert charge.latest.energy_wh == 2000


def test_news_from_the_future_is_dated_by_its_arrival() -> None:
    charge = known((report(at=60, energy_wh=4000, updated_at=after(60) + timedelta(days=1)), False))
    assert charge.energy_at == after(60)


def test_reports_of_two_charges_are_never_merged() -> None:
    one = known((report(), False))
    with pytest.raises(ValueError, match="two charges"):
        merge(one, report(id=ChargeId("2")), by_rest=False)
