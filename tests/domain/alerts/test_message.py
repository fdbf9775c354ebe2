"""When operations get a message: what is critical at once, the rest grouped, nothing twice without a reason."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.alerts.causes import AlertCode, Cause
from app.domain.alerts.message import (
    GROUP,
    MAX_LISTED,
    REPEAT,
    Alert,
    Message,
    data,
    message_due,
    subject,
    text,
)
from app.domain.session.attention import Severity
from app.domain.units.ids import OperatorId, SessionId
from tests.domain.sessions import T0

CRITICAL, WARNING, INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO


def alert(number: int = 1, severity: Severity = CRITICAL, **more: object) -> Alert:
    of = Cause(
        code=AlertCode.STOPS_LATE,
        severity=severity,
        detail="due",
        operator_id=OperatorId("op_1"),
        session_id=SessionId("ps_1"),
    )
    plain = Alert(id=number, cause=of, opened_at=T0)
    return replace(plain, **more)  # type: ignore[arg-type]  # fields by name


def test_what_is_critical_does_not_wait_for_a_group() -> None:
    assert message_due([alert()], T0, T0) is not None
    assert message_due([alert(severity=WARNING)], T0, T0) is None
    assert message_due([alert(severity=WARNING)], T0 + GROUP, T0) is not None
    assert message_due([alert(severity=WARNING)], T0, None) is not None, "the first one ever"


def test_what_is_said_is_repeated_only_while_it_is_critical_and_open() -> None:
    said = T0 + GROUP
    for again, severity, closed in ((True, CRITICAL, None), (False, WARNING, None), (False, CRITICAL, said)):
        known = alert(severity=severity, sent_at=T0, closed_at=closed)
        due = message_due([known], T0 + REPEAT, T0 + REPEAT)
        assert (due is not None) == again
    assert message_due([alert(sent_at=T0)], T0 + REPEAT - timedelta(seconds=1), T0) is None


def test_an_end_is_said_once_and_with_the_next_group() -> None:
    ended = alert(sent_at=T0, closed_at=T0 + timedelta(minutes=1))
    assert message_due([ended], T0 + timedelta(minutes=2), T0) is None
    message = message_due([ended], T0 + GROUP, T0)
    assert message is not None
    assert (message.opened, message.closed) == ((), (ended,))
    assert subject(message) == "[Tapwatt] critical: closed: stops_late"
    assert "What to do" not in text(message, console_url=None)


def test_the_worst_comes_first_and_the_rest_is_counted() -> None:
    many = [alert(n, INFO) for n in range(MAX_LISTED)] + [alert(900, WARNING), alert(901, CRITICAL)]
    message = message_due(many, T0, None)
    assert message is not None
    assert [a.id for a in message.opened[:3]] == [901, 900, 0]
    assert (len(message.alerts), message.not_listed) == (MAX_LISTED, 2)
    assert subject(message) == f"[Tapwatt] critical: stops_late and {MAX_LISTED + 1} more"
    shown = text(message, console_url="https://x.test/console")
    assert "https://x.test/console/sessions/ps_1" in shown
    assert "https://x.test/console/runbook#" in shown
    assert "2 more are not listed here." in shown
    assert data(message)["not_listed"] == 2


@pytest.mark.parametrize("changed", [{"sent_at": T0}, {"closed_at": T0, "sent_at": T0}, {"id": 2}])
def test_the_same_news_has_the_same_id_and_other_news_another(changed: dict[str, Any]) -> None:
    def of(one: Alert) -> Message:
        found = message_due([one], T0 + REPEAT, None)
        assert found is not None
        return found

    assert of(alert()).id == of(alert()).id
    assert of(alert(**changed)).id != of(alert()).id


moments = st.integers(0, 600).map(lambda minutes: T0 + timedelta(minutes=minutes))
Courses = list[tuple[datetime, int, Severity, int]]
"""When each alert opens, its number, how severe it is, and how many minutes it lasts."""


def heard_in_half_a_day(courses: Courses) -> dict[int, list[datetime]]:
    """Minute by minute: when each alert was in a message as open."""
    stored, last, heard = dict[int, Alert](), None, dict[int, list[datetime]]()
    for minute in range(720):
        now = T0 + timedelta(minutes=minute)
        stored = {n: a for n, a in as_of(courses, stored, now).items() if a.closed_at is None or a.sent_at}
        message = message_due(list(stored.values()), now, last)
        if message is None:
            continue
        said = (*message.opened, *message.still_open)
        assert message.alerts
        assert any(a.cause.severity is CRITICAL for a in said) or last is None or now - last >= GROUP
        last = now
        stored |= {a.id: replace(a, sent_at=now) for a in said}
        for a in said:
            heard.setdefault(a.id, []).append(now)
        for a in message.closed:
            del stored[a.id]
    return heard


def as_of(courses: Courses, stored: dict[int, Alert], now: datetime) -> dict[int, Alert]:
    """The alerts once those that open or end now have done so."""
    for n, (at, _, severity, lasts) in enumerate(courses):
        if at == now:
            stored[n] = alert(n, severity, opened_at=now)
        elif n in stored and stored[n].closed_at is None and at + timedelta(minutes=lasts) <= now:
            stored[n] = replace(stored[n], closed_at=now)
    return stored


courses = st.tuples(moments, st.integers(1, 9), st.sampled_from(Severity), st.integers(0, 300))


@given(st.lists(courses, max_size=30))
def test_whatever_opens_is_said_in_time_and_never_more_often_than_allowed(courses: Courses) -> None:
    heard = heard_in_half_a_day(courses)
    for n, (at, _, severity, lasts) in enumerate(courses):
        said, wait = heard.get(n, []), timedelta() if severity is CRITICAL else GROUP
        if timedelta(minutes=lasts) > wait:
            assert said
            assert said[0] - at <= wait
        assert all(later - earlier >= REPEAT for earlier, later in pairwise(said))
        assert severity is CRITICAL or len(said) <= 1
