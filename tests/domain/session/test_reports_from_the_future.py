"""app/domain/session/reports: A report whose `updatedAt` lies ahead of our clock."""

from dataclasses import replace
from datetime import timedelta

from app.domain.charging.charge import ChargeState
from app.domain.session.machine import Change, Source
from app.domain.session.reports import apply_report
from tests.domain.sessions import POLICY, report, running


def applied_reports(change: Change, *reports: object) -> Change:
    for each in reports:
        change = apply_report(change, each, Source.MONTA_WEBHOOK, POLICY)  # type: ignore[arg-type]  # reports
    return change


def test_one_that_claims_to_be_from_far_ahead_does_not_blind_us_to_those_that_follow() -> None:
    odd = report("charging", 20, energy_wh=1000)
    odd = replace(odd, updated_at=odd.seen_at + timedelta(hours=1))
    change = applied_reports(running(500), odd, report("stopped", 40, energy_wh=2500))
    assert change.session.charge is not None
    assert (change.session.charge.state, change.session.charge.energy_wh) == (ChargeState.STOPPED, 2500)


def test_clocks_that_differ_by_a_little_do_not_spoil_the_order_of_shuffled_reports() -> None:
    newer, older = report("stopped", 20), report("charging", 19)
    ahead = [replace(r, updated_at=r.seen_at + timedelta(seconds=3)) for r in (newer, older)]
    shuffled = replace(ahead[1], seen_at=ahead[0].seen_at)
    change = applied_reports(running(500), ahead[0], shuffled)
    assert change.session.charge is not None
    assert change.session.charge.state is ChargeState.STOPPED
