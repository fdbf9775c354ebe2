"""Tests of app/domain/session/next_step.

Silence of a running charge: a sweep comes first, the session's own read when no sweep brings a report.
"""

from app.domain.session import monta_calls
from app.domain.session.limit import limit_at
from app.domain.session.machine import AskSweep, Change, ReadCharge, Source, Wait
from app.domain.session.payment_session import PaymentSession
from app.domain.session.reports import apply_report
from tests.domain.sessions import ONE, POLICY, after, report, running, step_at

QUIET_S = POLICY.silent_after_s
PATIENCE_S = POLICY.sweep_patience_s


def silent() -> PaymentSession:
    """Last reported at 10 s; slow, so that no limit is near."""
    return running(10, at=10, power_bound_w=3_700).session


def asked(at: float = 10 + QUIET_S) -> PaymentSession:
    return monta_calls.sweep_asked(Change(silent()), after(at)).session


def test_silence_is_the_sweeps_business_first() -> None:
    assert step_at(silent(), 10 + QUIET_S - 1) == Wait(after(10 + QUIET_S))
    assert step_at(silent(), 10 + QUIET_S) == AskSweep(ONE)


def test_a_sweep_that_brings_nothing_is_waited_for_so_long_and_then_the_session_reads_itself() -> None:
    due = 10 + QUIET_S + PATIENCE_S
    assert step_at(asked(), 10 + QUIET_S) == Wait(after(due))
    assert step_at(asked(), due) == ReadCharge(ONE)


def test_whoever_asked_is_known_to_wait_until_news_comes() -> None:
    assert silent().awaits_sweep_since is None
    assert asked().awaits_sweep_since == after(10 + QUIET_S)
    seen = apply_report(Change(asked()), report(at=90, energy_wh=20), Source.MONTA_API, POLICY).session
    assert seen.awaits_sweep_since is None
    assert step_at(seen, 90 + QUIET_S) == AskSweep(ONE)


def test_a_failed_read_of_its_own_is_not_repeated_at_once_and_asks_the_sweep_again() -> None:
    at = 10 + QUIET_S + PATIENCE_S
    failed = monta_calls.read_failed(Change(asked()), "503", now=after(at), not_before=None, policy=POLICY)
    later = step_at(failed.session, at + 1)
    assert isinstance(later, Wait)
    assert failed.session.awaits_sweep_since is None
    assert step_at(failed.session, at + 60) == AskSweep(ONE)


def near_its_limit() -> PaymentSession:
    """Read at 4000 s; its limit is due within a minute of that."""
    change = running(10, at=10, power_bound_w=22_000)
    for energy_wh in range(23_000, 26_000, 20):
        told = report("charging", 4000, energy_wh=energy_wh)
        session = apply_report(change, told, Source.MONTA_WEBHOOK, POLICY).session
        assert session.charge is not None
        limit = limit_at(session, session.charge, POLICY)
        if limit is not None and limit < after(4060):
            return session
    raise AssertionError("no energy comes near the limit")


def test_a_look_just_before_the_limit_waits_for_no_sweep() -> None:
    near = near_its_limit()
    found = step_at(near, 4001)
    assert isinstance(found, Wait)
    assert found.until is not None
    assert found.until < after(4000 + QUIET_S)
    assert step_at(near, (found.until - after(0)).total_seconds()) == ReadCharge(ONE)


def test_an_ended_charge_waits_for_no_sweep() -> None:
    over = apply_report(Change(asked()), report("stopped", 80), Source.MONTA_WEBHOOK, POLICY).session
    assert over.awaits_sweep_since is None
