"""Tests of app/domain/session/reports.

A webhook is news, the read is the record: within a second, and permanently once it says `completed`.
"""

from dataclasses import replace
from decimal import Decimal
from itertools import permutations

import pytest

from app.domain.charging.charge import Charge, ChargeReport, ChargeState, merge
from app.domain.session.machine import ReadCharge, Wait
from app.domain.session.next_step import decide
from app.domain.session.payment_session import Status
from tests.domain.sessions import POLICY, after, report, running

StatementSource = tuple[ChargeReport, bool]


def joined(*told: StatementSource) -> Charge:
    known: Charge | None = None
    for each, by_rest in told:
        known = merge(known, each, by_rest=by_rest)
    assert known is not None
    return known


def in_any_order(*told: StatementSource) -> list[Charge]:
    return [joined(*order) for order in permutations(told)]


def test_the_price_of_the_record_is_billed_though_a_webhook_of_the_same_second_says_more() -> None:
    record = report("completed", 20, price=Decimal("4.00"))
    webhook = replace(record, updated_at=after(20.9), price=Decimal("5.00"))
    for charge in in_any_order((record, True), (webhook, False)):
        assert (charge.latest.price, charge.final_read) == (Decimal("4.00"), True)


def test_a_record_with_a_date_cut_to_seconds_is_no_older_than_a_webhook_of_that_second() -> None:
    webhook = replace(report("charging", 20), updated_at=after(20.1))
    for charge in in_any_order((webhook, False), (report("stopped", 20), True)):
        assert charge.state is ChargeState.STOPPED


def test_a_webhook_that_says_completed_does_not_outlive_a_newer_record_that_does_not() -> None:
    for charge in in_any_order((report("completed", 20), False), (report("charging", 25), True)):
        assert (charge.state, charge.final_read) == (ChargeState.CHARGING, False)


@pytest.mark.parametrize("later", [21, 24, 29])
def test_while_the_record_lags_behind_a_webhook_it_is_read_no_oftener_than_any_ended_charge(
    later: float,
) -> None:
    change = running(1000)
    told = merge(change.session.charge, report("completed", 20), by_rest=False)
    session = replace(change.session, charge=told)
    assert decide(session, POLICY, after(20.5)) == ReadCharge(told.id)
    read = replace(session, reads=replace(session.reads, attempted_at=after(20.6)))
    assert isinstance(decide(read, POLICY, after(later)), Wait)
    assert decide(read, POLICY, after(40)) == ReadCharge(told.id)


def test_a_webhook_that_says_completed_is_read_after_at_once_though_the_record_said_stopped_in_that_second() -> (
    None
):
    change = running(1000)
    stopped = merge(change.session.charge, report("stopped", 20), by_rest=True)
    told = merge(stopped, replace(report("completed", 20.4), updated_at=after(20.4)), by_rest=False)
    reads = replace(change.session.reads, attempted_at=after(20), polls=12)
    session = replace(change.session, charge=told, reads=reads, status=Status.FINISHING)
    assert told.state is ChargeState.STOPPED
    assert decide(session, POLICY, after(21)) == ReadCharge(told.id)
