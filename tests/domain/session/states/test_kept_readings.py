"""Tests of app/domain/session/states/kept_readings: kept readings decide nothing, and none of them is lost."""

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import event, given, note
from hypothesis import strategies as st

from app.domain.charging.charge import ChargeReport
from app.domain.session.limit import amount_used_minor, is_used_whatever_the_power, limit_at, recent_power_w
from app.domain.session.machine import Change, Source
from app.domain.session.next_step import stop_due_at
from app.domain.session.payment_session import Authorization, PaymentSession, Status, Stop, StopReason
from app.domain.session.reports import apply_report
from app.domain.session.states.allowed_readings import allowed_for
from app.domain.session.states.journal import JournalKind
from app.domain.session.states.kept_readings import (
    MOST_READINGS,
    Allowed,
    KeptReadings,
    Told,
    beginning,
    keep_reading,
    may_decide,
    with_kept,
    with_newest,
)
from tests.domain.planned_sessions import ENERGY, SAID, TARIFFS, price_of, priced, session_of, tariff
from tests.domain.sessions import POLICY, after, report


@dataclass(frozen=True, slots=True)
class Step:
    """A reading: seconds since the one before, power on average, and how Monta's price differs from 0.79 a kWh."""

    seconds: float
    share: float
    """Of the rated power."""
    cents: int
    late_s: float


steps = st.builds(
    Step,
    st.sampled_from([0.2, 0.9, 1.0, 1.9, 7.5, 10.0, 60.0, 60.0, 60.0, 61.500001, 240.0, 4_000.0]),
    st.sampled_from([0.0, 0.02, 0.3, 0.5, 0.9, 1.0, 1.0, 1.2]) | st.floats(0, 1.1),
    st.sampled_from([0, 0, 0, -1, 1, 30]),
    st.sampled_from([0.0, 0.2, 0.2, 20.0]),
)
sessions = st.builds(
    lambda name, rated, amount, guarded, prices, wh, read: session_of(
        TARIFFS[name], rated, amount, guarded=guarded, has_price=prices, energy_wh=wh, read=read
    ),
    st.sampled_from(list(TARIFFS)),
    st.sampled_from([3_700, 11_000, 22_000, 50_000, 150_000]),
    st.sampled_from([500, 2_000, 5_000, 20_000]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 3_000),
    st.booleans(),
)


def course(session: PaymentSession, taken: list[Step]) -> list[ChargeReport]:
    """The reports of a course, each from the one before."""
    assert session.charge is not None
    assert session.power_bound_w is not None
    shown, at, wh, found = session.charge.latest, 70.0, session.charge.energy_wh, []
    for step in taken:
        at += step.seconds
        wh += int(session.power_bound_w * step.share * step.seconds / 3600)
        price = None if shown.price is None else price_of(wh, step.cents)
        found.append(
            replace(
                shown,
                updated_at=after(at),
                seen_at=after(at),
                as_of=None,
                arrived_at=after(at + step.late_s),
                energy_wh=wh,
                price=price,
                soc_percent=wh % 101 or None,
            )
        )
    return found


def told_by(shown: ChargeReport) -> Told:
    assert shown.updated_at is not None
    assert shown.energy_wh is not None
    return Told(
        charge_id=shown.id,
        reference=shown.partner_external_id,
        said=SAID,
        updated_at=shown.updated_at,
        happened_at=shown.seen_at,
        energy_wh=shown.energy_wh,
        price=shown.price,
        price_per_kwh=shown.price_per_kwh,
        soc_percent=shown.soc_percent,
    )


def kept_of(session: PaymentSession, reports: list[ChargeReport]) -> tuple[Allowed, KeptReadings, int] | None:
    """What is kept of a course until a reading must be applied."""
    allowed = allowed_for(session, POLICY, after(70))
    if allowed is None or session.charge is None:
        return None
    kept, count = beginning(session.charge), 0
    for shown in reports:
        assert shown.arrived_at is not None
        more = keep_reading(allowed, kept, told_by(shown), shown.arrived_at)
        if more is None or kept.is_full:
            break
        kept, count = more, count + 1
    return allowed, kept, count


@given(sessions, st.lists(steps, min_size=1, max_size=12))
def test_kept_readings_decide_nothing_and_make_the_session_that_they_would_have_made_one_by_one(
    session: PaymentSession, taken: list[Step]
) -> None:
    reports = course(session, taken)
    found = kept_of(session, reports)
    event("nothing is allowed" if found is None else f"{min(found[2], 6)} kept")
    if found is None:
        return
    allowed, kept, count = found
    note(f"{session.tariff and session.tariff.source} {session.power_bound_w} W {session.authorized_minor}")
    note(f"{session.charge and session.charge.latest.price} {session.energy_wh} Wh, {taken}, {allowed}")
    change = Change(session)
    for shown in reports[:count]:
        change = apply_report(change, shown, Source.MONTA_WEBHOOK, POLICY)
        one, charge = change.session, change.session.charge
        assert charge is not None
        assert charge.latest.set_aside_why is None
        limit = limit_at(one, charge, POLICY)
        assert limit is None or limit >= allowed.stop_at, (
            "a stop would be due before the time that was planned"
        )
        due = stop_due_at(one, POLICY, shown.arrived_at or shown.seen_at)
        assert due is not None
        assert due >= min(allowed.stop_at, allowed.due_at)
    assert {line.kind for line in change.lines} <= {JournalKind.CHARGE_REPORTED}
    merged = with_kept(session, kept)
    assert merged.charge == change.session.charge
    assert (merged.observed_max_w, merged.meter_history) == (
        change.session.observed_max_w,
        change.session.meter_history,
    )
    assert merged == replace(
        change.session,
        version=session.version + count,
        updated_at=merged.updated_at,
        watch_until=session.watch_until,
        beside=count,
    )
    quick = with_newest(session, kept)
    assert merged == replace(quick, observed_max_w=merged.observed_max_w, meter_history=merged.meter_history)
    assert recent_power_w(quick) == recent_power_w(merged)
    if is_used_whatever_the_power(quick, POLICY):
        event("the amount used is the same without the history")
        assert amount_used_minor(quick, POLICY) == amount_used_minor(merged, POLICY)


@given(sessions, st.lists(steps, min_size=1, max_size=6))
def test_a_reading_within_the_planned_course_makes_no_stop_due_also_where_it_must_be_applied(
    session: PaymentSession, taken: list[Step]
) -> None:
    allowed = allowed_for(session, POLICY, after(70))
    if allowed is None:
        return
    change = Change(session)
    for shown in course(session, taken):
        told, charge = told_by(shown), change.session.charge
        assert charge is not None
        assert shown.arrived_at is not None
        newest = beginning(charge).newest
        if may_decide(allowed._replace(step_wh=0), newest, told, shown.arrived_at):
            event("a reading beyond it")
            break
        change = apply_report(change, shown, Source.MONTA_WEBHOOK, POLICY)
        assert change.session.charge is not None
        limit = limit_at(change.session, change.session.charge, POLICY)
        event("a reading within it")
        assert limit is None or limit >= allowed.stop_at


@pytest.mark.parametrize(
    ("name", "cents", "whatever"),
    [
        ("by energy", 0, True),
        ("by energy", 30, False),
        ("none", 30, True),
        ("with a least and a highest price", 0, True),
        ("with a fee and steps", 0, False),
        ("with an idle fee", 0, False),
        ("by the hour", 0, False),
    ],
)
def test_the_amount_used_depends_on_a_meters_history_where_time_costs_or_montas_price_is_high(
    name: str, cents: int, whatever: bool
) -> None:
    session = session_of(TARIFFS[name], 22_000, 5_000, guarded=False, has_price=True, energy_wh=300)
    changed = apply_report(
        Change(session), course(session, [Step(60, 0.5, cents, 0.2)])[0], Source.MONTA_WEBHOOK, POLICY
    )
    assert is_used_whatever_the_power(changed.session, POLICY) is whatever


def usual(**more: object) -> PaymentSession:
    session = session_of(TARIFFS["by energy"], 22_000, 5_000, guarded=True, has_price=True, energy_wh=300)
    return replace(session, **more)  # type: ignore[arg-type]


def one_more(**more: object) -> tuple[ChargeReport, Told]:
    (shown,) = course(usual(), [Step(60, 0.5, 0, 0.2)])
    return shown, told_by(shown)._replace(**more)  # type: ignore[arg-type]


def test_an_ordinary_course_is_kept_until_it_is_full() -> None:
    found = kept_of(usual(), course(usual(), [Step(60, 0.3, 0, 0.2)] * (MOST_READINGS + 1)))
    assert found is not None
    assert found[2] == MOST_READINGS


@pytest.mark.parametrize(
    ("told", "urgent"),
    [
        pytest.param(one_more(reference="ps_other")[1], True, id="another session's"),
        pytest.param(one_more(said="other")[1], True, id="it says something else"),
        pytest.param(one_more(energy_wh=299, price=price_of(299))[1], True, id="the meter runs backwards"),
        pytest.param(
            one_more(energy_wh=700, price=price_of(700))[1], True, id="more power than the charge point has"
        ),
        pytest.param(one_more(energy_wh=10**9, price=None)[1], True, id="an impossible energy"),
        pytest.param(one_more(price=None)[1], True, id="no price any more"),
        pytest.param(one_more(price=Decimal("-0.01"))[1], True, id="a negative price"),
        pytest.param(one_more(price=Decimal("1.20"))[1], True, id="a price above the tariff"),
        pytest.param(
            one_more(price_per_kwh=Decimal(79))[1], True, id="a price in other units than the average"
        ),
        pytest.param(one_more(updated_at=after(70))[1], False, id="as old as what is known"),
        pytest.param(one_more(updated_at=after(60))[1], False, id="older"),
        pytest.param(one_more(updated_at=after(200))[1], True, id="from the future"),
    ],
)
def test_all_else_must_be_applied_and_may_decide_something_unless_it_is_old(told: Told, urgent: bool) -> None:
    allowed = allowed_for(usual(), POLICY, after(70))
    charge = usual().charge
    assert allowed is not None
    assert charge is not None
    assert keep_reading(allowed, beginning(charge), one_more()[1], after(131)) is not None
    assert keep_reading(allowed, beginning(charge), told, after(131)) is None
    assert may_decide(allowed, beginning(charge).newest, told, after(131)) is urgent


@pytest.mark.parametrize(
    ("bound", "kept", "urgent"),
    [
        ({"most_wh": 483, "step_wh": 183, "most_price": Decimal("0.38")}, True, False),
        ({"most_wh": 482}, False, True),
        ({"step_wh": 182}, False, False),
        ({"most_price": Decimal("0.37")}, False, True),
        ({"power_w": 10_000}, False, True),
        ({"at": after(110)}, False, True),
    ],
)
def test_each_bound_alone_has_a_reading_beyond_it_applied(
    bound: dict[str, Any], kept: bool, urgent: bool
) -> None:
    """183 Wh more in a minute. `at`: since when the plan counts full power, also where the energy was seen before.
    `urgent`: the reading may make a stop due."""
    session, told = usual(), one_more()[1]
    allowed = allowed_for(session, POLICY, after(70))
    assert allowed is not None
    assert session.charge is not None
    assert told.energy_wh == session.charge.energy_wh + 183
    bounded, known = allowed._replace(**bound), beginning(session.charge)
    assert (keep_reading(bounded, known, told, after(131)) is not None) is kept
    assert may_decide(bounded, known.newest, told, after(131)) is urgent


MOST_LATER, MOST_RISEN_WH = timedelta(microseconds=2**32 - 1), 2**16 - 1


@pytest.mark.parametrize(
    ("later", "risen_wh", "kept"),
    [
        (MOST_LATER, MOST_RISEN_WH, True),
        (MOST_LATER + timedelta(microseconds=1), 1, False),
        (timedelta(seconds=60), MOST_RISEN_WH + 1, False),
    ],
)
def test_a_reading_too_far_from_the_one_before_to_be_packed_must_be_applied(
    later: timedelta, risen_wh: int, kept: bool
) -> None:
    session, told = usual(), one_more(price=None)[1]
    allowed = allowed_for(session, POLICY, after(70))
    assert allowed is not None
    assert session.charge is not None
    wide = allowed._replace(most_wh=10**9, step_wh=10**9, power_w=10**12)
    newest, at = beginning(session.charge).newest, told.updated_at - later
    newest = newest._replace(updated_at=at, seen_at=at, as_of=at, energy_at=at, price=None)
    told = told._replace(energy_wh=newest.energy_wh + risen_wh)
    found = keep_reading(wide, KeptReadings(newest), told, after(131))
    assert (found is not None) is kept
    if found is not None:
        last = with_newest(session, found).meter_history.points[-1]
        assert (last.at, last.energy_wh) == (told.updated_at, told.energy_wh)


@pytest.mark.parametrize(
    ("newest", "kept"),
    [
        ({"updated_at": after(130.2)}, True),
        ({"updated_at": after(130.2), "from_record": True}, False),
        ({"updated_at": after(130.5)}, False),
        ({"as_of": after(130)}, False),
        ({"seen_at": after(130.1)}, False),
        ({"energy_at": after(120)}, False),
    ],
)
def test_a_reading_that_is_older_by_any_of_its_times_or_rose_too_quickly_must_be_applied(
    newest: dict[str, Any], kept: bool
) -> None:
    """Also one of the second in which the record was read, since some of Monta's dates have no fractions."""
    session = usual()
    allowed = allowed_for(session, POLICY, after(70))
    assert allowed is not None
    assert session.charge is not None
    known = beginning(session.charge)
    known = known._replace(newest=known.newest._replace(**newest))
    told = one_more(updated_at=after(130.5))[1]
    assert (keep_reading(allowed, known, told, after(131)) is not None) is kept


@pytest.mark.parametrize(
    "session",
    [
        pytest.param(usual(status=Status.STOPPING), id="while it is stopped"),
        pytest.param(
            usual(stop=Stop(reason=StopReason.DRIVER, decided_at=after(60))), id="a stop was decided"
        ),
        pytest.param(usual(profile=None), id="before its charge point is known"),
        pytest.param(usual(charge=None), id="before its charge"),
        pytest.param(
            usual(authorization=Authorization(reference="A-1", amount_minor=40, currency="EUR")),
            id="a stop is near",
        ),
        pytest.param(
            usual(tariff=tariff(priced(ENERGY), end_date_time="2026-11-23T10:00:00Z")), id="its tariff ends"
        ),
    ],
)
def test_nothing_is_allowed_where_each_reading_counts(session: PaymentSession) -> None:
    assert allowed_for(session, POLICY, after(70)) is None


def test_the_reserve_the_drivers_limit_and_the_reaction_bring_the_stop_nearer() -> None:
    """None of them is left out: what was allowed for is never after the limit's own plan."""
    limits = usual().monta_limits
    assert limits is not None
    with_fee = usual(monta_limits=replace(limits, idle_fee_reserve_minor=4_500))
    slower = replace(POLICY, reaction_s=POLICY.reaction_s + 60)
    stops = []
    for session, policy in ((usual(energy_limit_wh=5_000), POLICY), (with_fee, POLICY), (with_fee, slower)):
        allowed = allowed_for(session, policy, after(70))
        assert allowed is not None
        assert session.charge is not None
        limit = limit_at(session, session.charge, policy)
        assert limit is not None
        assert limit - timedelta(minutes=1) < allowed.stop_at <= limit
        stops.append(allowed.stop_at)
    assert stops[1] - stops[2] == timedelta(seconds=60)


def test_readings_join_a_session_that_has_gone_on_meanwhile() -> None:
    session = usual()
    found = kept_of(session, course(session, [Step(60, 0.5, 0, 0.2)] * 3))
    assert found is not None
    newer = report("stopped", at=400, energy_wh=2_000, price=Decimal("1.58"), arrived_at=after(400))
    ended = apply_report(Change(session), newer, Source.MONTA_WEBHOOK, POLICY).session
    joined = with_kept(ended, found[1])
    assert joined.charge is not None
    assert ended.charge is not None
    assert (joined.charge.latest, joined.energy_wh) == (ended.charge.latest, 2_000)
    assert joined.version == ended.version + 3
    assert timedelta(0) < found[0].stop_at - after(70)
