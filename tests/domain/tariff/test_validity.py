"""Tests of app/domain/tariff/time_windows.

Tariffs with a beginning and an end: what they price, and how a charge that outlasts one is bounded.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.limit.stop_plan import Basis
from app.domain.session.limit import start_limits, stop_plan
from app.domain.session.machine import Source
from app.domain.session.payment_session import PaymentSession
from app.domain.session.plausibility import unbillable
from app.domain.session.reports import apply_report
from app.domain.tariff import Tariff, parse_tariff
from app.domain.tariff.time_windows import expired, in_force, out_of_force
from tests.domain.sessions import POLICY, T0, TARIFF, after, new_session, report, running

AT = datetime.fromisoformat("2026-11-22T10:00:00Z")


def dated(**dates: str) -> Tariff:
    source = {"currency": "EUR", "elements": [{"price_components": [{"type": "ENERGY", "price": "0.49"}]}]}
    return parse_tariff(source | dates)


@pytest.mark.parametrize(
    ("dates", "counts", "is_over"),
    [
        ({}, True, False),
        ({"start_date_time": "2026-11-22T10:00:00Z"}, True, False),
        ({"start_date_time": "2026-11-22T10:00:01Z"}, False, False),
        ({"end_date_time": "2026-11-22T10:00:00Z"}, False, True),
        ({"end_date_time": "2026-11-22T10:00:01Z"}, True, False),
        ({"end_date_time": "2026-11-22T11:00:00+01:00"}, False, True),
        ({"end_date_time": "2026-11-22T09:59:59"}, False, True),
        ({"start_date_time": "2020-01-01T00:00:00Z", "end_date_time": "2020-02-01T00:00:00Z"}, False, True),
        ({"start_date_time": "2027-02-01T00:00:00Z", "end_date_time": "2027-01-01T00:00:00Z"}, False, True),
        ({"start_date_time": "0001-01-01T00:00:00Z", "end_date_time": "9999-12-31T23:59:59Z"}, True, False),
    ],
)
def test_F113_a_tariff_prices_from_its_beginning_to_its_end(
    dates: dict[str, str], counts: bool, is_over: bool
) -> None:
    tariff = dated(**dates)
    assert (in_force(tariff, AT), expired(tariff, AT)) == (counts, is_over)
    assert (out_of_force(tariff, AT) is None) == counts


def outlasted(ends_s: float, *, price: str | None, at: float = 600, energy_wh: int = 2000) -> PaymentSession:
    tariff = replace(TARIFF, end_date_time=after(ends_s))
    change = running(0, tariff=tariff)
    shown = None if price is None else Decimal(price)
    return apply_report(
        change, report("charging", at, energy_wh=energy_wh, price=shown), Source.MONTA_API, POLICY
    ).session


@given(st.integers(600, 9000), st.sampled_from([None, "0.02", "1.58", "8.00", "15.00"]))
def test_F113_a_stop_by_a_tariff_that_ends_is_as_early_as_with_it_and_as_without_it(
    ends_s: int, price: str | None
) -> None:
    session = outlasted(ends_s, price=price)
    assert session.charge is not None
    endless = replace(session, tariff=replace(TARIFF, end_date_time=None))
    found = stop_plan(session, session.charge, POLICY)
    known = stop_plan(endless, session.charge, POLICY)
    unknown = stop_plan(replace(session, tariff=None), session.charge, POLICY)
    assert known.stop_at is not None
    assert found.stop_at is not None
    assert found.stop_at <= known.stop_at
    if found.stop_at > after(ends_s) and unknown.stop_at is not None:
        assert found.stop_at <= unknown.stop_at
    if known.stop_at + timedelta(minutes=2) < after(ends_s):
        assert found == known


def test_F113_after_its_end_montas_running_price_counts() -> None:
    session = outlasted(700, price="4.00")
    assert session.charge is not None
    assert stop_plan(session, session.charge, POLICY).basis is Basis.REPORTED_PRICE


def test_F113_a_final_price_of_a_charge_that_outlasted_its_tariff_is_not_checked_against_it() -> None:
    def held(ends_s: float) -> str | None:
        session = outlasted(ends_s, price=None)
        final = report("completed", 1800, energy_wh=2000, price=Decimal("19.00"), completed_at=after(1800))
        session = apply_report(running(0, tariff=session.tariff), final, Source.MONTA_API, POLICY).session
        assert session.charge is not None
        return unbillable(session, session.charge, POLICY)

    assert held(900) is None


def test_F113_montas_kwh_limit_does_not_vouch_for_the_price_beyond_the_tariffs_end() -> None:
    lasting = new_session(tariff=TARIFF)
    ending = new_session(tariff=replace(TARIFF, end_date_time=T0 + timedelta(hours=1)))
    late = new_session(tariff=replace(TARIFF, end_date_time=T0 + timedelta(days=90)))
    covers = [start_limits(s, POLICY).kwh_covers_price for s in (lasting, ending, late)]
    assert covers == [True, False, True]
