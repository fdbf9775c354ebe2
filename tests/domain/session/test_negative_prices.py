"""app/domain/session/plausibility: F98: a price below nothing never becomes one that is paid."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.session import late_facts
from app.domain.session.attention import AttentionCode
from app.domain.session.holds import settle_by
from app.domain.session.limit import amount_used, limit_at
from app.domain.session.machine import Change, GiveUp, Settle, Source
from app.domain.session.next_step import decide
from app.domain.session.reports import apply_report
from app.domain.session.settle import settle_final, settle_unfinished
from app.domain.session.settlement import SettlementAction
from tests.domain.sessions import POLICY, TARIFF, after, report, running

below_nothing = st.decimals(-(10**9), Decimal("-0.0001"), places=4)


@given(below_nothing, st.integers(0, 2500), st.sampled_from([TARIFF, None]))
def test_F98_a_negative_final_price_is_a_release(price: Decimal, wh: int, tariff: object) -> None:
    change = running(100, tariff=tariff)
    change = apply_report(
        change, report("completed", 100, energy_wh=wh, price=price), Source.MONTA_API, POLICY
    )
    assert decide(change.session, POLICY, after(100)) == Settle()
    session = settle_final(change, after(101), POLICY).session
    assert session.settlement is not None
    assert session.settlement.action is SettlementAction.RELEASE
    assert (session.settlement.to_capture_minor, session.settlement.to_release_minor) == (0, 2000)
    told = [item.code for item in session.attention]
    assert told == ([AttentionCode.NEGATIVE_PRICE] if tariff is not None and wh >= 13 else [])


def test_F98_without_energy_it_is_nothing_that_ran() -> None:
    final = report("completed", 100, energy_wh=0, price=Decimal("-0.35"))
    change = apply_report(running(), final, Source.MONTA_API, POLICY)
    assert isinstance(decide(change.session, POLICY, after(100)), GiveUp)


@pytest.mark.parametrize("state", ["stopped", "releasing", "released"])
def test_F98_before_the_hold_dies_the_last_price_below_nothing_is_a_release_too(state: str) -> None:
    shown = report(state, 100, energy_wh=1810, price=Decimal("-0.35"))
    change = apply_report(running(1000), shown, Source.MONTA_API, POLICY)
    at = settle_by(change.session, POLICY)
    settled = settle_unfinished(change, at, POLICY).session.settlement
    assert settled is not None
    assert (settled.to_capture_minor, settled.to_release_minor) == (0, 2000)


@given(below_nothing)
def test_F98_while_it_runs_it_counts_as_nothing_and_the_limit_stays_with_the_tariff(price: Decimal) -> None:
    plain = running(1000)
    odd = apply_report(
        plain, report(at=11, energy_wh=1000, price=price), Source.MONTA_WEBHOOK, POLICY
    ).session
    free = apply_report(plain, report(at=11, energy_wh=1000, price=Decimal(0)), Source.MONTA_WEBHOOK, POLICY)
    assert odd.charge is not None
    assert free.session.charge is not None
    assert amount_used(odd, POLICY) == amount_used(free.session, POLICY)
    assert limit_at(odd, odd.charge, POLICY) == limit_at(free.session, free.session.charge, POLICY)


def test_F98_one_that_comes_after_the_settlement_is_reported() -> None:
    final = report("completed", 100, energy_wh=1810, price=Decimal("1.43"))
    change = apply_report(running(1000), final, Source.MONTA_API, POLICY)
    session = settle_final(change, after(101), POLICY).session
    news = replace(final, price=Decimal("-0.35"), seen_at=after(900), updated_at=after(890))
    change = late_facts.compare_late_price(apply_report(Change(session), news, Source.MONTA_API, POLICY))
    assert [item.code for item in change.session.attention] == [AttentionCode.RECORD_CHANGED]
