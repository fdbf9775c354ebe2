"""app/domain/session/next_step: A second POST that is refused, after a first one with unknown outcome."""

from dataclasses import replace

from app.domain.session.machine import GiveUp, SearchCharges, Wait
from app.domain.session.next_step import decide
from app.domain.session.payment_session import NotStartedReason, Start, StartOutcome
from tests.domain.sessions import POLICY, after, new_session

DOUBTED = Start(
    deadline=after(300),
    outcome=StartOutcome.REFUSED,
    posts=2,
    intent_at=after(121),
    ambiguous_at=after(0),
    empty_at=after(120),
)


def test_a_plain_refusal_releases_the_hold_at_once() -> None:
    start = replace(DOUBTED, posts=1, intent_at=after(0), ambiguous_at=None, empty_at=None)
    assert decide(new_session(start=start), POLICY, after(1)) == GiveUp(NotStartedReason.REFUSED)


def test_a_refusal_after_an_unknown_post_is_searched_first_F20() -> None:
    assert decide(new_session(start=DOUBTED), POLICY, after(122)) == SearchCharges()


def test_only_an_empty_search_made_after_the_refused_post_releases_the_hold() -> None:
    last_read_at = replace(DOUBTED, searches=1, searched_at=after(123), empty_at=after(123))
    assert decide(new_session(start=last_read_at), POLICY, after(124)) == GiveUp(NotStartedReason.REFUSED)


def test_a_search_that_failed_is_repeated_before_anything_is_released() -> None:
    failed = replace(DOUBTED, searches=1, searched_at=after(123))
    assert decide(new_session(start=failed), POLICY, after(124)) == Wait(after(133))
    assert decide(new_session(start=failed), POLICY, after(133)) == SearchCharges()
