"""Tests of app/domain/session/states/running_reports."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.charging.charge import ChargeReport
from app.domain.limit.profile import ChargePointProfile
from app.domain.session import stuck_session
from app.domain.session.machine import Change, SendStop, Source, Wait
from app.domain.session.next_step import decide, stop_due_at
from app.domain.session.payment_session import DuplicateCharge, Lost, PaymentSession, Status
from app.domain.session.reports import apply_report
from app.domain.session.states.running_reports import SOON, may_merge, merge_reports, rescheduled
from app.domain.units.ids import ChargeId
from tests.domain.sessions import POLICY, after, report, running

NOW = after(1000)


def charging(**more: object) -> PaymentSession:
    session = running(1_000, at=60, power_bound_w=11_000).session
    assert session.status is Status.CHARGING
    return replace(session, profile=ChargePointProfile(), **more)  # type: ignore[arg-type]


def test_a_report_of_the_running_charge_may_be_merged() -> None:
    assert may_merge(charging(), report(at=120, energy_wh=1_200))


@pytest.mark.parametrize(
    ("session", "told"),
    [
        pytest.param(charging(), report("completed", at=120, energy_wh=1_200), id="its end"),
        pytest.param(charging(), report(at=120, id=ChargeId("77")), id="another charge"),
        pytest.param(charging(), report(at=120, partner_external_id="ps_other"), id="another session's"),
        pytest.param(charging(status=Status.STOPPING), report(at=120), id="while it is stopped"),
        pytest.param(charging(status=Status.COMPLETED), report(at=120), id="after the end"),
        pytest.param(charging(charge=None), report(at=120), id="before the charge is known"),
        pytest.param(charging(lost=Lost.STALLED), report(at=120), id="of a lost charge"),
        pytest.param(charging(power_bound_w=None), report(at=120), id="before the rating is known"),
        pytest.param(
            charging(
                duplicates=(
                    DuplicateCharge(
                        id=ChargeId("78"), state=report().state, found_at=after(50), seen_at=after(50)
                    ),
                )
            ),
            report(at=120),
            id="beside a duplicate",
        ),
    ],
)
def test_all_other_reports_need_a_watchers_turn(session: PaymentSession, told: ChargeReport) -> None:
    assert not may_merge(session, told)


@given(st.lists(st.integers(0, 4_000), min_size=1, max_size=6), st.integers(61, 600))
def test_a_merged_session_is_as_a_watcher_would_have_left_it_and_due_when_its_next_step_is(
    energies_wh: list[int], every_s: int
) -> None:
    told = [report(at=60 + every_s * n, energy_wh=wh) for n, wh in enumerate(energies_wh, 1)]
    now = after(60 + every_s * len(told) + 1)
    merged = merge_reports(charging(), told, POLICY, now)
    change = Change(charging())
    for each in told:
        change = apply_report(change, each, Source.MONTA_WEBHOOK, POLICY)
    change = stuck_session.observed(change, now, POLICY)
    assert merged.change.session == stuck_session.with_attention(change, POLICY, now).session
    step = decide(change.session, POLICY, now)
    assert merged.due == (step if isinstance(step, Wait) else Wait(now))
    assert merged.due.stop_at == stop_due_at(change.session, POLICY, now)


def test_a_reading_that_crosses_the_limit_makes_its_session_due_at_once() -> None:
    session = charging()
    told = report(at=990, energy_wh=24_900)
    merged = merge_reports(replace(session, power_bound_w=150_000), [told], POLICY, NOW)
    assert isinstance(decide(merged.change.session, POLICY, NOW), SendStop)
    assert merged.due.until == NOW
    assert merged.due.stop_at is not None
    assert merged.due.stop_at <= NOW


FAR, NEAR, BETWEEN = NOW + timedelta(hours=1), NOW + SOON, NOW + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("due_at", "until", "leased", "written"),
    [
        pytest.param(None, FAR, False, FAR, id="nothing was planned"),
        pytest.param(FAR, BETWEEN, True, BETWEEN, id="earlier, whoever works on it"),
        pytest.param(BETWEEN, FAR, False, FAR, id="later"),
        pytest.param(BETWEEN, FAR, True, BETWEEN, id="not later while a watcher works on it"),
        pytest.param(NEAR, FAR, False, NEAR, id="not later where it is due soon"),
        pytest.param(FAR, None, False, None, id="no due time"),
    ],
)
def test_a_due_time_moves_forward_always_and_back_only_where_that_is_safe(
    due_at: datetime | None, until: datetime | None, leased: bool, written: datetime | None
) -> None:
    stop_at = NOW + timedelta(hours=2)
    found = rescheduled(due_at, Wait(until, stop_at), NOW, leased=leased)
    assert found == (None if written is None else Wait(written))
    assert found is None or found.stop_at == stop_at
