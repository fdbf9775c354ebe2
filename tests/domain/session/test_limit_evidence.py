"""Tests of app/domain/session/learning.

What is known of Monta's limits: whether they act at once, when that is tried, and what a model has in common.
"""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.charging.charge import ChargeState
from app.domain.limit.profile import ChargePointProfile, with_model
from app.domain.session.learning import TRUST, acted_at_once, learned
from app.domain.session.limit import guarded, start_limits
from app.domain.session.machine import Change, Source
from app.domain.session.payment_session import PaymentSession
from app.domain.session.plausibility import why_unlikely
from app.domain.session.reports import apply_report
from app.domain.session.states.journal import JournalKind
from tests.domain.taught_sessions import POLICY, T0, charging, report, session, tariff

KNOWN = ChargePointProfile(stop_latencies_ms=(6_000,) * 3, peaks_w=(11_000,) * 3)


def ended_at(energy_wh: int, *, reason: str = "KwhLimitReached", kwh_limit: str = "1.90") -> PaymentSession:
    """11 kW until Monta's limit of energy; the record shows this energy, and echoes the limit."""
    found = charging()
    limits = found.monta_limits
    assert limits is not None
    found = replace(found, monta_limits=replace(limits, kwh_limit=Decimal(kwh_limit)))
    final = replace(
        report(700, energy_wh, ChargeState.COMPLETED, kwh_limit=Decimal(kwh_limit)),
        stopped_at=T0 + timedelta(seconds=640),
        stop_reason=reason,
        price=Decimal(energy_wh) / 2000,
    )
    return apply_report(Change(found), final, Source.MONTA_API, POLICY).session


@pytest.mark.parametrize(
    ("energy_wh", "reason", "at_once"),
    [
        (1900, "KwhLimitReached", True),
        (1910, "KwhLimitReached", True),
        (1930, "KwhLimitReached", False),
        (1930, "api", False),
        (1900, "api", None),
        (1800, "KwhLimitReached", None),
    ],
)
def test_a_record_shows_whether_montas_limit_acted_at_once(
    energy_wh: int, reason: str, at_once: bool | None
) -> None:
    found = ended_at(energy_wh, reason=reason)
    assert found.charge is not None
    assert acted_at_once(found, found.charge) is at_once


def test_a_limit_that_acted_at_once_is_trusted_for_a_while_and_one_that_did_not_no_longer() -> None:
    assert learned(KNOWN, ended_at(1900), POLICY).limit_prompt == TRUST
    trusted = replace(KNOWN, limit_prompt=5)
    assert learned(trusted, ended_at(1930), POLICY).limit_prompt == 0
    assert learned(trusted, ended_at(1800), POLICY).limit_prompt == 4


def test_montas_limit_is_tried_once_where_that_is_of_use_and_never_at_a_high_price() -> None:
    untaught, known = start_limits(session(), POLICY), start_limits(session(KNOWN), POLICY)
    assert untaught.kwh_limit == Decimal("39.98")
    assert known.kwh_limit is not None
    assert Decimal("39.85") < known.kwh_limit < Decimal("39.95")
    for other in (replace(KNOWN, limit_prompt=1), replace(KNOWN, limit_missed=1)):
        assert start_limits(session(other), POLICY) == untaught
    little = session(KNOWN)
    little = replace(little, authorization=replace(little.authorization, amount_minor=50))
    assert start_limits(little, POLICY).kwh_limit == Decimal("1.00")


def test_while_top_ups_are_possible_montas_limit_applies_only_where_it_is_within_the_authorization() -> None:
    begun = replace(session(), top_up_max_minor=10_000)
    begun = replace(begun, monta_limits=start_limits(begun, POLICY))
    for shown, counts in ((Decimal("99.99"), False), (Decimal("20.00"), True), (Decimal("20.01"), False)):
        known = apply_report(
            Change(begun), report(60, 180, price_limit=shown), Source.MONTA_API, POLICY
        ).session
        assert known.charge is not None
        assert guarded(known, known.charge) is counts


def test_a_running_price_above_the_tariff_is_reported_once() -> None:
    change = Change(charging())
    for seconds, energy_wh in ((660, 2010), (720, 2200), (780, 2380)):
        news = replace(report(seconds, energy_wh), price=Decimal(energy_wh) / 2000)
        change = apply_report(change, news, Source.MONTA_API, POLICY)
    told = [line for line in change.lines if line.kind == "price_above_tariff"]
    assert told == []
    news = replace(report(840, 2560), price=Decimal("6.40"))
    change = apply_report(change, news, Source.MONTA_API, POLICY)
    change = apply_report(change, replace(report(900, 2750), price=Decimal("6.85")), Source.MONTA_API, POLICY)
    assert [line.kind for line in change.lines].count(JournalKind.PRICE_ABOVE_TARIFF) == 1


def test_a_charge_that_runs_past_montas_own_limit_is_reported_once() -> None:
    change = Change(session())
    for seconds, energy_wh in ((600, 1830), (660, 2020), (720, 2200)):
        news = report(seconds, energy_wh, kwh_limit=Decimal("2.00"))
        change = apply_report(change, news, Source.MONTA_API, POLICY)
    assert [line.detail["energy_wh"] for line in change.lines if line.kind == "montas_limit_passed"] == [2020]


def test_a_model_stands_in_only_where_a_charge_point_has_no_record_of_its_own() -> None:
    taught = [
        replace(KNOWN, stop_latencies_ms=(ms, 2_000), interval_ms=60_000) for ms in (4_000, 9_000, 5_000)
    ]
    assert with_model(ChargePointProfile(), taught[:2]) == ChargePointProfile()
    assert with_model(KNOWN, taught) == KNOWN
    begun = with_model(ChargePointProfile(), taught)
    assert (begun.stop_latencies_ms, begun.interval_ms, begun.limit_prompt) == ((9_000,), 60_000, 0)
    assert begun.peaks_w == (11_000,) * 3
    prompt = [replace(each, limit_prompt=n) for each, n in zip(taught, (7, 3, 9), strict=True)]
    assert with_model(ChargePointProfile(), prompt).limit_prompt == 3
    missed = [replace(prompt[0], limit_missed=2), *prompt[1:]]
    assert with_model(ChargePointProfile(), missed).limit_missed == 2


@given(st.lists(st.lists(st.integers(100, 30_000), min_size=1, max_size=5), min_size=3, max_size=6))
def test_what_a_model_lends_is_never_below_what_any_of_it_showed(stops: list[list[int]]) -> None:
    lent = with_model(
        ChargePointProfile(), [ChargePointProfile(stop_latencies_ms=tuple(each)) for each in stops]
    )
    assert lent.stop_latencies_ms == (max(max(each) for each in stops),)


@pytest.mark.parametrize(
    ("per_kwh", "learned_kwh_price", "likely"),
    [
        ("0.50", "0.55", True),
        ("0.50", None, True),
        ("50", "0.55", False),
        ("0.005", "0.55", False),
        ("50", None, False),
        ("9", "0.55", True),
        ("0.005", None, True),
    ],
)
def test_a_guess_that_is_off_by_a_unit_is_dropped(
    per_kwh: str, learned_kwh_price: str | None, likely: bool
) -> None:
    price = None if learned_kwh_price is None else Decimal(learned_kwh_price)
    assert (why_unlikely(tariff(("ENERGY", per_kwh)), 2000, price) is None) is likely
