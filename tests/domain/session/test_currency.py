"""Tests of app/domain/session/limit_checks.

The currency of a charge point, and a charge that runs in another than its hold's.
"""

from dataclasses import replace
from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.charging.charge import Charge, ChargeReport, merge
from app.domain.session.attention import AttentionCode
from app.domain.session.limit import amount_used_minor
from app.domain.session.limit_checks import CurrencyStatement, StatementSource, contradiction, other_currency
from app.domain.session.machine import SendStop, Settle, Source
from app.domain.session.next_step import decide
from app.domain.session.payment_session import StopReason
from app.domain.session.plausibility import last_believed, unbillable
from app.domain.session.reports import apply_report
from app.domain.session.settlement import SettlementBasis
from tests.domain.sessions import POLICY, after, report, running


def said(code: str, told: StatementSource = StatementSource.STATED, at: float = 0) -> CurrencyStatement:
    return CurrencyStatement(code=code, source=told, at=after(at))


@pytest.mark.parametrize(
    ("words", "other"),
    [
        ([], None),
        ([said("EUR")], None),
        ([said("SEK")], "SEK"),
        ([said("EUR"), said("SEK")], "SEK"),
        ([said("SEK", StatementSource.SEEN)], "SEK"),
        ([said("EUR"), said("SEK", StatementSource.SEEN, 900)], None),
        ([said("SEK"), said("EUR", StatementSource.SEEN, 900)], "SEK"),
        ([said("SEK", StatementSource.SEEN, 10), said("EUR", StatementSource.SEEN, 20)], None),
        ([said("EUR", StatementSource.SEEN, 10), said("SEK", StatementSource.SEEN, 20)], "SEK"),
        ([said("ZZZ")], None),
        ([said("XXX", StatementSource.SEEN, 20), said("SEK", StatementSource.SEEN, 10)], "SEK"),
    ],
)
def test_F99_what_is_stated_counts_before_what_was_seen_and_the_newest_of_that(
    words: list[CurrencyStatement], other: str | None
) -> None:
    assert contradiction("EUR", words) == other


STATES = ["starting", "scheduled", "charging", "paused", "stopping", "other"]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("energy_wh", [0, 4000])
def test_F99_a_charge_that_turns_out_to_run_in_another_currency_is_stopped_at_once(
    state: str, energy_wh: int
) -> None:
    shown = report(state, 20, energy_wh=energy_wh, currency="SEK", price=Decimal("0.10"))
    change = apply_report(running(), shown, Source.MONTA_WEBHOOK, POLICY)
    assert decide(change.session, POLICY, after(20)) == SendStop(StopReason.LIMIT_REACHED)
    (why,) = change.session.attention
    assert why.code == AttentionCode.OTHER_CURRENCY
    assert "SEK" in why.detail
    assert "EUR" in why.detail
    priceless = replace(shown, price=None)
    assert amount_used_minor(change.session, POLICY) == amount_used_minor(
        apply_report(running(), priceless, Source.MONTA_WEBHOOK, POLICY).session, POLICY
    )


def test_F99_a_later_report_without_a_currency_does_not_make_it_the_holds() -> None:
    change = apply_report(running(), report("charging", 20, currency="SEK"), Source.MONTA_API, POLICY)
    final = report("completed", 60, currency=None, price=Decimal("1.50"), energy_wh=2000)
    session = apply_report(change, final, Source.MONTA_API, POLICY).session
    assert session.charge is not None
    assert "SEK" in (unbillable(session, session.charge, POLICY) or "")
    assert last_believed(session, session.charge, POLICY)[1] is SettlementBasis.TARIFF_MINIMUM
    without = replace(session, tariff=None)
    assert last_believed(without, session.charge, POLICY) == (None, SettlementBasis.NOTHING_KNOWN)


def test_F99_a_currency_that_monta_takes_back_raises_no_attention() -> None:
    change = apply_report(running(), report("charging", 20, currency="SEK"), Source.MONTA_WEBHOOK, POLICY)
    change = apply_report(change, report("charging", 30, currency="EUR"), Source.MONTA_API, POLICY)
    assert change.session.attention == ()
    change = apply_report(
        change, report("completed", 60, price=Decimal(1), energy_wh=1500), Source.MONTA_API, POLICY
    )
    assert decide(change.session, POLICY, after(60)) == Settle()


named = st.builds(
    report,
    st.sampled_from(["charging", "completed"]),
    st.integers(1, 5),
    currency=st.sampled_from([None, "EUR", "SEK"]),
    price=st.sampled_from([None, Decimal(1)]),
)


@given(st.lists(st.tuples(named, st.booleans()), min_size=2, max_size=4))
def test_F99_the_order_of_reports_decides_nothing_about_the_currency(
    reports: list[tuple[ChargeReport, bool]],
) -> None:
    found = set()
    for order in permutations(reports):
        known: Charge | None = None
        for each, by_rest in (*order, *order):
            known = merge(known, each, by_rest=by_rest)
        assert known is not None
        found.add((known.currency, known.named))
    assert len(found) == 1


@given(st.sampled_from(["SEK", "JPY", "KWD", "HRK"]), st.sampled_from([None, Decimal(0), Decimal(5)]))
def test_F99_nothing_in_another_currency_is_ever_billed_as_it_is(code: str, price: Decimal | None) -> None:
    final = report("completed", 60, currency=code, price=price, energy_wh=9000)
    session = apply_report(running(2000), final, Source.MONTA_API, POLICY).session
    assert session.charge is not None
    assert other_currency(session, session.charge) == code
    assert decide(session, POLICY, after(60)) != Settle()
