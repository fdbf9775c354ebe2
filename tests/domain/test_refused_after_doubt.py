"""A second POST that is refused, after a first one whose effect nobody knew."""

from dataclasses import replace

from app.domain.decision import decide
from app.domain.payment_session import NotStartedReason, Start, StartOutcome
from app.domain.steps import GiveUp, LookUp, Wait
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


def test_a_refusal_after_a_doubtful_post_is_looked_into_first_F20() -> None:
    assert decide(new_session(start=DOUBTED), POLICY, after(122)) == LookUp()


def test_only_an_empty_look_up_made_after_the_refused_post_releases_the_hold() -> None:
    looked = replace(DOUBTED, looks=1, looked_at=after(123), empty_at=after(123))
    assert decide(new_session(start=looked), POLICY, after(124)) == GiveUp(NotStartedReason.REFUSED)


def test_a_look_up_that_failed_is_repeated_before_anything_is_released() -> None:
    failed = replace(DOUBTED, looks=1, looked_at=after(123))
    assert decide(new_session(start=failed), POLICY, after(124)) == Wait(after(133))
    assert decide(new_session(start=failed), POLICY, after(133)) == LookUp()
