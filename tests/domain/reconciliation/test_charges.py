"""A month's charges for the books: which they are, their tax, and that they add up as the reconciliation does."""

import csv
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.charging.charge_point import Place
from app.domain.reconciliation.charges import (
    CHARGE_COLUMNS,
    BilledCharge,
    billed_charge,
    charges_csv,
    is_of_month,
    month_of_charges,
    next_month,
    utc_window_of_month,
)
from app.domain.reconciliation.report import ReconciledSession, day_report, is_of_day, reconciled
from app.domain.session.payment_session import PaymentSession, Status
from tests.domain.reconciliation.days import NOW, by_reports, captured, final, settled, taxed_at
from tests.domain.sessions import POLICY, T0, new_session

NOVEMBER = date(2026, 11, 1)
PLACE = Place(name="Bay 1", evse_id="DK*TAP*E101", site_id="9", address="1 Test Street, 1000 Boxville")


def found(session: PaymentSession) -> ReconciledSession:
    reports = captured(session)
    return reconciled(by_reports(session, reports), reports, POLICY, NOW)


def billed(session: PaymentSession) -> BilledCharge:
    charge = billed_charge(found(session), PLACE)
    assert charge is not None
    return charge


def sold(number: int, price: int, hours: int, zone: str, *, taxed: bool) -> PaymentSession:
    return replace(
        settled(price, number=number),
        created_at=T0 + timedelta(hours=hours),
        time_zone=zone,
        tariff=taxed_at("19" if taxed else None),
    )


ZONES = ["UTC", "Europe/Copenhagen", "Pacific/Kiritimati", "America/Adak"]
sales = st.tuples(
    st.sampled_from([0, 1, 99, 790, 1999, 2000, 2500]),
    st.integers(-40 * 24, 40 * 24),
    st.sampled_from(ZONES),
    st.booleans(),
)


@given(st.lists(sales, max_size=12))
def test_a_month_adds_up_to_its_days_in_the_reconciliation(made: list[tuple[int, int, str, bool]]) -> None:
    sessions = [
        sold(n, price, hours, zone, taxed=taxed) for n, (price, hours, zone, taxed) in enumerate(made)
    ]
    known = [found(session) for session in sessions]
    of_month = [each for each in known if is_of_month(each.session, NOVEMBER)]
    charges = [charge for each in of_month if (charge := billed_charge(each, PLACE)) is not None]
    month = month_of_charges(NOVEMBER, charges, NOW)
    days = [NOVEMBER + timedelta(days=n) for n in range(30)]
    sums = [
        total
        for day in days
        for total in day_report(day, [k for k in known if is_of_day(k.session, day)], NOW).totals
    ]
    assert sum(t.gross_minor for t in month.totals) == sum(t.settled_minor for t in sums)
    assert sum(t.captured_minor for t in month.totals) == sum(t.captured_minor for t in sums)
    for total in month.totals:
        assert total.gross_minor == total.net_minor + total.tax_minor + total.untaxed_minor
    start, end = utc_window_of_month(NOVEMBER)
    assert all(start <= each.session.created_at < end for each in of_month)


@pytest.mark.parametrize(
    ("created_at", "zone", "month"),
    [
        ("2026-10-31T23:30:00", "Europe/Copenhagen", date(2026, 11, 1)),
        ("2026-10-31T23:30:00", "UTC", date(2026, 10, 1)),
        ("2026-11-30T23:30:00", "Europe/Copenhagen", date(2026, 12, 1)),
        ("2027-01-01T00:30:00", "America/Adak", date(2026, 12, 1)),
    ],
)
def test_a_session_belongs_to_the_month_of_its_local_day(created_at: str, zone: str, month: date) -> None:
    session = replace(
        new_session(), created_at=datetime.fromisoformat(created_at).replace(tzinfo=UTC), time_zone=zone
    )
    months = [date(2026, 10, 1), date(2026, 11, 1), date(2026, 12, 1)]
    assert [each for each in months if is_of_month(session, each)] == [month]
    assert [next_month(each) for each in months] == [*months[1:], date(2027, 1, 1)]


def test_a_charge_is_listed_with_place_times_energy_and_tax() -> None:
    record = replace(final(10_000, "7.90"), started_at=T0, stopped_at=T0 + timedelta(minutes=31))
    session = replace(settled(790, record=record), time_zone="Europe/Copenhagen", tariff=taxed_at("19"))
    text = charges_csv(month_of_charges(NOVEMBER, [billed(session)], NOW))
    (row,) = csv.DictReader(StringIO(text))
    assert tuple(row) == CHARGE_COLUMNS
    assert row == {
        "operator_id": "op_1",
        "session_id": "ps_00001",
        "charge_id": "1",
        "display_reference": "K7QM-4TXP",
        "terminal_id": "trm_1",
        "charge_point_id": "101",
        "charge_point_name": "Bay 1",
        "evse_id": "DK*TAP*E101",
        "site_id": "9",
        "address": "1 Test Street, 1000 Boxville",
        "started_at": "2026-11-22T11:00:00+01:00",
        "ended_at": "2026-11-22T11:31:00+01:00",
        "energy_kwh": "10.000",
        "currency": "EUR",
        "net": "6.64",
        "tax": "1.26",
        "tax_rate": "19",
        "gross": "7.90",
        "captured": "7.90",
    }


def test_without_one_rate_the_gross_amount_alone_is_listed() -> None:
    charge = billed(replace(settled(790), tariff=taxed_at(None)))
    assert (charge.net_minor, charge.tax_minor, charge.tax_rate, charge.gross_minor) == (
        None,
        None,
        None,
        790,
    )
    (total,) = month_of_charges(NOVEMBER, [charge], NOW).totals
    assert (total.untaxed_minor, total.net_minor) == (790, 0)


def test_what_gave_nothing_or_is_not_settled_is_no_charge() -> None:
    assert billed_charge(found(settled(0, 0)), PLACE) is None
    running = replace(settled(790), settlement=None, settled_record=None, status=Status.FINISHING)
    assert billed_charge(reconciled(running, [], POLICY, NOW), PLACE) is None
    assert billed(settled(0, 400)).gross_minor == 0, "energy that was not paid for is listed"


def test_no_name_or_address_is_run_by_a_spreadsheet() -> None:
    hostile = Place(name="=1+1", evse_id="@SUM(A1)", site_id="-1", address='+HYPERLINK("x")')
    charge = replace(billed(replace(settled(790), tariff=taxed_at("19"))), place=hostile)
    (row,) = csv.DictReader(StringIO(charges_csv(month_of_charges(NOVEMBER, [charge], NOW))))
    for name in ("charge_point_name", "evse_id", "site_id", "address"):
        assert row[name].startswith("'"), name
