"""Reconciliation of generated days: every planted difference is found and named, and nothing else is."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from random import Random

import pytest

from app.domain.charging.charge import ChargeReport
from app.domain.reconciliation.balance import PspReport
from app.domain.reconciliation.differences import MEANINGS, WHAT_TO_DO, DifferenceKind
from app.domain.reconciliation.report import DayReport, ReconciledSession, day_report, is_of_day, reconciled
from app.domain.session.payment_session import PaymentSession, Status
from app.domain.session.settlement import CaptureOutcome, SettlementBasis, SettlementStatus
from tests.conftest import Sized
from tests.domain.reconciliation.days import (
    DEADLINE,
    DECIDED,
    FAILED,
    NOW,
    REPORTED,
    by_reports,
    captured,
    final,
    settled,
    with_record,
)
from tests.domain.sessions import POLICY, T0

Kind = DifferenceKind


def kinds(session: PaymentSession, reports: list[PspReport], now: datetime = NOW) -> dict[Kind, int]:
    found = reconciled(by_reports(session, reports) if session.settlement else session, reports, POLICY, now)
    return {d.kind: d.amount_minor for d in found.differences}


def test_three_sides_that_agree_show_no_difference() -> None:
    assert kinds(settled(), captured(settled())) == {}
    released = settled(0, 0, basis=SettlementBasis.NOTHING_RAN)
    assert kinds(released, captured(released)) == {}


Planted = tuple[PaymentSession, list[PspReport]]


def late_meter(s: PaymentSession) -> Planted:
    return with_record(s, final(12_000, "9.48")), captured(s)


def tariff_change(s: PaymentSession) -> Planted:
    return with_record(s, final(10_000, "8.50")), captured(s)


def rounding(s: PaymentSession) -> Planted:
    return with_record(s, final(10_000, "7.91")), captured(s)


def currency(s: PaymentSession) -> Planted:
    return with_record(s, final(10_000, "7.90", currency="SEK")), captured(s)


def by_hand(s: PaymentSession) -> Planted:
    assert s.settlement is not None
    mine = settled(500, basis=SettlementBasis.PERSON).settlement
    assert mine is not None
    changed = replace(s, settlement=mine)
    return changed, captured(changed)


def overrun(s: PaymentSession) -> Planted:
    known = final(40_000, "31.60")
    return _resettled(s, known, 3160, 40_000)


def release_after_energy(s: PaymentSession) -> Planted:
    changed, reports = _resettled(s, final(0, "0"), 0, 0)
    return with_record(changed, final(6_000, "2.94")), reports


def capture_missing(s: PaymentSession) -> Planted:
    return s, []


def capture_refused(s: PaymentSession) -> Planted:
    return s, [PspReport(outcome=FAILED, amount_minor=790, reported_at=REPORTED, reference="P-1")]


def capture_to_be_retried(s: PaymentSession) -> Planted:
    assert s.settlement is not None
    due = REPORTED + timedelta(minutes=1)
    refused = replace(s.settlement, status=SettlementStatus.FAILED, attempts=1, retry_at=due)
    return replace(s, settlement=refused), capture_refused(s)[1]


def capture_late(s: PaymentSession) -> Planted:
    return s, [replace(r, reported_at=DEADLINE + timedelta(hours=1)) for r in captured(s)]


def capture_of_another_amount(s: PaymentSession) -> Planted:
    return s, [replace(r, amount_minor=2000) for r in captured(s)]


def captured_twice(s: PaymentSession) -> Planted:
    return s, [*captured(s), *(replace(r, reference="P-2") for r in captured(s))]


def never_settled(s: PaymentSession) -> Planted:
    return replace(s, settlement=None, settled_record=None, status=Status.FINISHING), []


def _resettled(s: PaymentSession, known: ChargeReport, price_minor: int, energy_wh: int) -> Planted:
    settlement = settled(price_minor, energy_wh, record=known).settlement
    changed = replace(with_record(s, known), settled_record=known, settlement=settlement)
    return changed, captured(changed)


PLANTED: list[tuple[Callable[[PaymentSession], Planted], dict[Kind, int]]] = [
    (late_meter, {Kind.LATE_METER: 158}),
    (tariff_change, {Kind.TARIFF_CHANGE: 60}),
    (rounding, {Kind.ROUNDING: 1}),
    (currency, {Kind.CURRENCY: -790}),
    (by_hand, {Kind.SETTLED_BY_HAND: 290}),
    (overrun, {Kind.OVERRUN: 1160}),
    (release_after_energy, {Kind.RELEASE_AFTER_ENERGY: 294}),
    (capture_missing, {Kind.CAPTURE_MISSING: 790}),
    (capture_refused, {Kind.CAPTURE_DIFFERS: 790}),
    (capture_to_be_retried, {Kind.CAPTURE_FAILED: 790}),
    (capture_late, {Kind.CAPTURE_LATE: 0}),
    (capture_of_another_amount, {Kind.CAPTURE_DIFFERS: -1210}),
    (captured_twice, {Kind.SEVERAL_CAPTURES: -790}),
    (never_settled, {Kind.NOT_SETTLED: 790}),
]


@pytest.mark.parametrize(("plant", "expected"), PLANTED, ids=lambda p: getattr(p, "__name__", ""))
def test_each_difference_is_named_with_its_amount(
    plant: Callable[[PaymentSession], Planted], expected: dict[Kind, int]
) -> None:
    assert kinds(*plant(settled())) == expected


def test_details_name_amounts_in_major_units_with_their_currency() -> None:
    said: dict[Kind, str] = {}
    for plant, _ in PLANTED:
        session, reports = plant(settled())
        told = by_reports(session, reports) if session.settlement else session
        said |= {d.kind: d.detail for d in reconciled(told, reports, POLICY, NOW).differences}
    assert said[Kind.SEVERAL_CAPTURES] == "captured 15.80 EUR of 7.90 EUR in 2 captures"
    assert said[Kind.CAPTURE_MISSING] == "captured 0.00 EUR of 7.90 EUR"
    assert said[Kind.CAPTURE_FAILED].startswith("captured 0.00 EUR of 7.90 EUR, refused 1 time; the next")


def test_every_kind_is_planted_and_has_words() -> None:
    assert (
        {kind for _, expected in PLANTED for kind in expected}
        == set(Kind)
        == MEANINGS.keys()
        == WHAT_TO_DO.keys()
    )


def test_the_documented_kinds_are_these() -> None:
    page = (Path(__file__).parents[3] / "docs/reconciliation.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE)
    assert rows == [(kind.value, words) for kind, words in MEANINGS.items()]


def test_a_capture_that_is_not_due_yet_is_no_difference() -> None:
    assert kinds(settled(), [], now=DECIDED + timedelta(hours=1)) == {}
    unsettled = replace(settled(), settlement=None, status=Status.FINISHING)
    assert kinds(unsettled, [], now=DECIDED) == {}


def test_a_fee_of_a_charge_that_gave_nothing_is_no_difference() -> None:
    record = final(0, "0.50", failed_at=T0)
    released = settled(0, 0, basis=SettlementBasis.NOTHING_RAN, record=record)
    assert kinds(released, captured(released)) == {}


def test_settled_by_the_last_price_agrees_when_the_record_shows_that_price() -> None:
    early = replace(settled(basis=SettlementBasis.LAST_PRICE), settled_record=None)
    assert kinds(with_record(early, final(10_100, "7.90")), captured(early)) == {}
    assert kinds(with_record(early, final(10_100, "7.98")), captured(early)) == {Kind.LATE_METER: 8}


OFFSETS = {"UTC": 0, "Europe/Copenhagen": 1, "Pacific/Kiritimati": 14, "America/Adak": -10}
"""Hours ahead of UTC in November."""
MOMENTS = (timedelta(), timedelta(microseconds=1), timedelta(hours=12), timedelta(days=1, microseconds=-1))
"""Since the beginning of a local day."""
DAYS = [T0.date() + timedelta(days=n) for n in (-1, 0, 1)]


def on_some_day(session: PaymentSession, chance: Random) -> tuple[PaymentSession, date]:
    """The session on one of DAYS at its place, often at the very beginning or end of the day; and that day."""
    day, zone, moment = chance.choice(DAYS), chance.choice([*OFFSETS]), chance.choice(MOMENTS)
    created_at = datetime.combine(day, time(), UTC) + moment - timedelta(hours=OFFSETS[zone])
    return replace(session, created_at=created_at, time_zone=zone), day


def test_differences_planted_in_one_of_25_sessions_are_found_and_no_others(sized: Sized) -> None:
    """With `--times 20`: 200 of 5,000. Captures in one and two pieces, in two currencies, over three days."""
    size, chance = sized(500, 5000), Random(20261122)
    faulty = dict.fromkeys(chance.sample(range(size), size // 25))
    found: dict[date, list[ReconciledSession]] = {day: [] for day in DAYS}
    expected, moved = Counter[Kind](), Counter[tuple[str, CaptureOutcome]]()
    for number in range(size):
        price, currency_of = chance.randrange(1, 2000), chance.choice(["EUR", "DKK"])
        record = final(10 * price, f"{price / 100:.2f}", currency=currency_of)
        session = settled(price, 10 * price, number=number, record=record)
        held = replace(session.authorization, currency=currency_of)
        if number in faulty:
            plant, named = PLANTED[number % len(PLANTED)]
            session, reports = plant(settled(number=number))
            expected.update(named.keys())
        else:
            reports = in_pieces(captured(session)[0], chance)
            session = replace(session, authorization=held)
        session, day = on_some_day(session, chance)
        session = by_reports(session, reports) if session.settlement else session
        for told in reports:
            moved[session.authorization.currency, told.outcome] += told.amount_minor
        each = reconciled(session, reports, POLICY, NOW)
        assert [d for d in DAYS if is_of_day(session, d)] == [day]
        found[day].append(each)
    reports_of_days = [day_report(day, found[day], NOW) for day in DAYS]
    differing = [s.session_id for of_day in reports_of_days for s in of_day.differing]
    assert sorted(differing) == sorted(f"ps_{n:05}" for n in faulty), "all of them, and no other"
    assert Counter(d.kind for s in flat(reports_of_days) for d in s.differences) == expected
    for of_day in reports_of_days:
        assert_adds_up(of_day.sessions, of_day.totals)
    captured_minor = Counter[str]()
    for total in (t for of_day in reports_of_days for t in of_day.totals):
        captured_minor[total.currency] += total.captured_minor
    assert captured_minor == {c: moved[c, CaptureOutcome.CAPTURED] for c in ("EUR", "DKK")}


def flat(days: list[DayReport]) -> list[ReconciledSession]:
    return [session for day in days for session in day.sessions]


def in_pieces(report: PspReport, chance: Random) -> list[PspReport]:
    """The same capture, sometimes in two."""
    first = report.amount_minor // 3
    if report.amount_minor < 3 or chance.random() < 0.7:
        return [report]
    return [
        replace(report, amount_minor=first),
        replace(report, amount_minor=report.amount_minor - first, reference="P-2"),
    ]


def assert_adds_up(sessions: tuple[ReconciledSession, ...], totals: object) -> None:
    """To the cent: each session, each terminal, and all terminals against all sessions."""
    assert isinstance(totals, tuple)
    for m in [*(s.balance for s in sessions), *totals]:
        moved = m.captured_minor + m.released_minor + m.open_minor
        assert m.authorized_minor + m.above_minor == moved
    for name in ("authorized_minor", "captured_minor", "released_minor", "open_minor", "above_minor"):
        assert sum(getattr(t, name) for t in totals) == sum(getattr(s.balance, name) for s in sessions), name
    assert sum(t.sessions for t in totals) == len(sessions)
    assert sum(t.differing for t in totals) == sum(bool(s.differences) for s in sessions)
