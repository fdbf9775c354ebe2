"""The limits of a session as shown to terminals: ours, Monta's, and the lower of what was sent and echoed."""

from dataclasses import replace
from decimal import Decimal

import pytest

from app.domain.limit.monta_limits import MontaLimits
from app.domain.session.limit_checks import compare_limits, limits_shown
from app.domain.session.machine import Source
from app.domain.session.payment_session import TopUp
from app.domain.session.states.journal import JournalKind
from tests.domain.sessions import after, new_session, report, running

SENT = MontaLimits(kwh_limit=Decimal("20.5"), price_limit=Decimal("19.505"))


def test_before_the_start_only_our_own_limit_is_shown_and_all_of_it_is_usable() -> None:
    shown = limits_shown(new_session())
    assert (shown.own_limit_minor, shown.monta_price_limit_minor, shown.monta_kwh_limit_wh) == (
        2000,
        None,
        None,
    )
    assert shown.usable_minor == 2000


def test_montas_limits_are_shown_rounded_down_and_bound_what_is_usable() -> None:
    shown = limits_shown(new_session(monta_limits=SENT))
    assert (shown.monta_price_limit_minor, shown.monta_kwh_limit_wh) == (1950, 20_500)
    assert shown.usable_minor == 1950


def test_after_a_top_up_montas_limit_stays_and_a_higher_one_leaves_ours() -> None:
    more = TopUp(reference="A-2", amount_minor=500, at=after(1))
    topped_up = new_session(monta_limits=SENT, top_ups=(more,))
    assert (limits_shown(topped_up).own_limit_minor, limits_shown(topped_up).usable_minor) == (2500, 1950)
    higher = replace(topped_up, monta_limits=replace(SENT, price_limit=Decimal("30")))
    assert limits_shown(higher).usable_minor == 2500


@pytest.mark.parametrize(
    ("echo_kwh", "echo_price", "kwh_wh", "price_minor"),
    [
        (None, None, 20_500, 1950),
        (Decimal("10"), Decimal("8"), 10_000, 800),
        (Decimal("40"), Decimal("90"), 20_500, 1950),
    ],
)
def test_montas_own_echo_counts_only_when_it_is_lower(
    echo_kwh: Decimal | None, echo_price: Decimal | None, kwh_wh: int, price_minor: int
) -> None:
    charge = running(1000).session.charge
    assert charge is not None
    latest = report("charging", 10, kwh_limit=echo_kwh, price_limit=echo_price)
    shown = limits_shown(new_session(monta_limits=SENT, charge=replace(charge, latest=latest)))
    assert (shown.monta_kwh_limit_wh, shown.monta_price_limit_minor) == (kwh_wh, price_minor)


@pytest.mark.parametrize(
    ("price", "energy_wh", "passed"),
    [("8.01", 10_010, False), ("8.02", 10_010, True), ("8.01", 10_011, True)],
)
def test_monta_passes_its_own_limit_by_more_than_rounding(price: str, energy_wh: int, passed: bool) -> None:
    change = running(1000)
    charge = change.session.charge
    assert charge is not None
    shown = {"kwh_limit": Decimal("10"), "price_limit": Decimal("8"), "price": Decimal(price)}
    known = replace(charge, energy_wh=energy_wh, latest=report("charging", 20, energy_wh=energy_wh, **shown))
    kinds = [line.kind for line in compare_limits(change, charge, known, Source.MONTA_WEBHOOK).lines]
    assert (JournalKind.MONTAS_LIMIT_PASSED in kinds) is passed
    again = compare_limits(change, known, known, Source.MONTA_WEBHOOK)
    assert JournalKind.MONTAS_LIMIT_PASSED not in [line.kind for line in again.lines], "journaled once"
