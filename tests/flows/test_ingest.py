"""Tests of app/flows/ingest: until when a session waits that may get readings without a decision."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from app.domain.limit.profile import ChargePointProfile
from app.domain.session.machine import Change, Source, Wait
from app.domain.session.payment_session import Authorization, PaymentSession
from app.domain.session.reports import apply_report
from app.domain.session.states.allowed_readings import allowed_for
from app.flows.ingest import allowance_of
from tests.domain.sessions import POLICY, after, report, running


def charging(amount: int) -> PaymentSession:
    """A session at a charge point of 22 kW, without a tariff, that has used 0.30 kWh for 0.24."""
    held = Authorization(reference="A-1", amount_minor=amount, currency="EUR")
    session = running(0, at=10, power_bound_w=22_000, authorization=held).session
    shown = report(at=70, energy_wh=300, price=Decimal("0.24"), arrived_at=after(70), said="said")
    session = replace(session, profile=ChargePointProfile())
    return apply_report(Change(session), shown, Source.MONTA_WEBHOOK, POLICY).session


SESSION = charging(5_000)
NOW = after(70)
SOON, FAR = NOW + timedelta(seconds=30), NOW + timedelta(days=30)


@pytest.mark.parametrize("planned", [None, SOON, FAR])
def test_the_earliest_time_of_a_stop_is_waited_for(planned: datetime | None) -> None:
    allowance, wait = allowance_of(SESSION, Wait(FAR, planned), POLICY, NOW)
    allowed = allowed_for(SESSION, POLICY, NOW)
    assert allowance is not None
    assert allowed == allowance.allowed
    earliest = allowed.stop_at if planned is None else min(planned, allowed.stop_at)
    assert wait == Wait(min(FAR, allowed.due_at), earliest, for_silence=True)
    assert wait.stop_at == (SOON if planned == SOON else allowed.stop_at)


def test_a_session_whose_readings_all_decide_waits_as_it_was_going_to() -> None:
    assert allowance_of(charging(30), Wait(SOON), POLICY, NOW) == (None, Wait(SOON))
