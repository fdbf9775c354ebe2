"""Tests of app/domain/events/event."""

from dataclasses import replace

import pytest

from app.domain.events.event import EventType, session_events
from app.domain.session.attention import AttentionCode
from app.domain.session.machine import Change, Source
from app.domain.session.payment_session import Status
from tests.domain.sessions import new_session


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (Status.AUTHORIZED, Status.STARTING, ()),
        (Status.AUTHORIZED, Status.NOT_STARTED, (EventType.NOT_STARTED,)),
        (Status.STARTING, Status.CHARGING, (EventType.CHARGING,)),
        (Status.CHARGING, Status.CHARGING, ()),
        (Status.CHARGING, Status.STOPPING, (EventType.STOPPING,)),
        (Status.STOPPING, Status.FINISHING, ()),
        (Status.AUTHORIZED, Status.COMPLETED, (EventType.SETTLED,)),
    ],
)
def test_a_status_is_told_once_when_it_begins(
    before: Status, after: Status, told: tuple[EventType, ...]
) -> None:
    session = new_session()
    assert session_events(replace(session, status=before), replace(session, status=after)) == told


def test_attention_is_told_after_the_status_and_not_while_it_lasts() -> None:
    calm = replace(new_session(), status=Status.CHARGING)
    raised = Change(calm).raise_attention(AttentionCode.SHORTFALL, "1.00", Source.WATCHER).session
    ended = replace(raised, status=Status.COMPLETED)
    assert session_events(calm, ended) == (EventType.SETTLED, EventType.NEEDS_ATTENTION)
    assert session_events(calm, raised) == (EventType.NEEDS_ATTENTION,)
    assert session_events(raised, ended) == (EventType.SETTLED,)
    assert session_events(raised, calm) == ()
