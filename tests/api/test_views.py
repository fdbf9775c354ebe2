"""Tests of app/api/views: what operations see is computed once for each state of a session, and is never stale."""

from dataclasses import replace

from app.api.views import _KEPT, MOST_KEPT, _ops_session_out, ops_session_out
from app.domain.units.ids import SessionId
from tests.domain.sessions import POLICY, new_session, running


def test_the_view_of_an_unchanged_session_is_kept_and_that_of_a_changed_one_is_not() -> None:
    session = running(1200).session
    shown = ops_session_out(session, POLICY)
    assert ops_session_out(replace(session), POLICY) is shown, "an equal session, loaded again"
    for changed in (
        replace(session, version=session.version + 1),
        replace(session, metadata={"lane": "7"}),
        running(1300).session,
    ):
        assert ops_session_out(changed, POLICY) == _ops_session_out(changed, POLICY)
        assert ops_session_out(changed, POLICY) != shown
    assert ops_session_out(session, POLICY) == shown


def test_another_policy_has_a_view_of_its_own() -> None:
    session = running(1200).session
    shown = ops_session_out(session, POLICY)
    assert ops_session_out(session, replace(POLICY)) is not shown


def test_the_number_of_kept_views_is_bounded() -> None:
    for number in range(MOST_KEPT + 5):
        ops_session_out(new_session(id=SessionId(f"ps_{number}")), POLICY)
    assert len(_KEPT) == MOST_KEPT
    assert SessionId("ps_4") not in _KEPT
    assert SessionId(f"ps_{MOST_KEPT + 4}") in _KEPT
