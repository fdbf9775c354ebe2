"""A day's report: which sessions are of the day, and sums by terminal and currency."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.reconciliation.report import day_report, is_of_day, reconciled, utc_window
from app.domain.session.payment_session import Authorization, PaymentSession
from tests.domain.reconciliation.days import NOW, by_reports, captured, settled
from tests.domain.sessions import POLICY

DAY = date(2026, 11, 22)
ZONES = ("UTC", "Europe/Berlin", "Pacific/Auckland", "Pacific/Kiritimati", "Pacific/Niue", "Etc/GMT+12")


def made(at: datetime, zone: str) -> PaymentSession:
    return replace(settled(), created_at=at, time_zone=zone)


@pytest.mark.parametrize(
    ("at", "zone", "of_day"),
    [
        ("2026-11-22T00:00:00", "UTC", True),
        ("2026-11-21T23:59:59", "UTC", False),
        ("2026-11-21T23:00:00", "Europe/Berlin", True),
        ("2026-11-22T23:00:00", "Europe/Berlin", False),
        ("2026-11-21T11:00:00", "Pacific/Auckland", True),
        ("2026-11-22T11:00:00", "Pacific/Auckland", False),
        ("2026-11-23T10:59:59", "Pacific/Niue", True),
    ],
)
def test_a_day_begins_and_ends_at_midnight_of_the_sessions_own_place(
    at: str, zone: str, of_day: bool
) -> None:
    assert is_of_day(made(datetime.fromisoformat(at).replace(tzinfo=UTC), zone), DAY) is of_day


@given(st.sampled_from(ZONES), st.integers(0, 24 * 3600 - 1))
def test_whatever_the_place_a_session_of_the_day_is_within_the_days_window(zone: str, second: int) -> None:
    midnight = datetime(DAY.year, DAY.month, DAY.day, tzinfo=ZoneInfo(zone))
    at = (midnight + timedelta(seconds=second)).astimezone(UTC)
    start, end = utc_window(DAY)
    assert is_of_day(made(at, zone), DAY)
    assert start <= at < end


def test_sums_are_made_for_each_terminal_and_currency() -> None:
    krone = Authorization(reference="A-2", amount_minor=2000, currency="DKK")
    sessions = [settled(790), replace(settled(500), authorization=krone), settled(100, number=2)]
    paid = [(by_reports(session, captured(session)), captured(session)) for session in sessions]
    day = day_report(DAY, [reconciled(session, reports, POLICY, NOW) for session, reports in paid], NOW)
    assert [(t.terminal_id, t.currency, t.captured_minor, t.sessions) for t in day.totals] == [
        ("trm_1", "DKK", 500, 1),
        ("trm_1", "EUR", 790, 1),
        ("trm_2", "EUR", 100, 1),
    ]
