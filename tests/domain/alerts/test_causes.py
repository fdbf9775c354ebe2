"""Which causes open and close alerts."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.alerts.causes import (
    ALERTS,
    AlertCode,
    Cause,
    OperatorHealth,
    changes,
    identity,
    of_clocks,
    of_operator,
    words,
)
from app.domain.session.attention import AttentionCode, Severity
from app.domain.units.ids import OperatorId
from tests.domain.sessions import T0

WELL = OperatorHealth(id=OperatorId("op_1"))
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("health", "code"),
    [
        ({"access_problem": "401"}, "credential_refused"),
        ({"webhook_problem": "403"}, "webhook_not_set"),
        ({"sync_problem": "500"}, "sync_fails"),
        ({"setup_problem": "other team"}, "setup_differs"),
        ({"reconcile_problem": "500"}, "reconciliation_fails"),
        ({"blocked_until": T0 + MINUTE}, "quota_spent"),
        ({"oldest_stop_due_at": T0 - timedelta(seconds=6)}, "stops_late"),
        ({"open_orphans": 2}, "charges_without_session"),
        ({"endpoints_failing_since": T0 - 16 * MINUTE, "failing_endpoints": "whe_1: x"}, "endpoint_fails"),
        ({"oldest_heartbeat_at": T0 - 6 * MINUTE, "silent_terminal": "Bay 1"}, "terminal_offline"),
        ({"charging_since": T0 - 15 * MINUTE}, "webhook_silent"),
        ({"charging_since": T0 - 60 * MINUTE, "newest_delivery_at": T0 - 15 * MINUTE}, "webhook_silent"),
    ],
)
def test_each_problem_of_an_account_opens_its_alert(health: dict[str, object], code: str) -> None:
    (found,) = of_operator(replace(WELL, **health), T0)  # type: ignore[arg-type]  # fields by name
    assert (found.code, found.operator_id) == (code, "op_1")
    assert found.detail


@pytest.mark.parametrize(
    "health",
    [
        {},
        {"blocked_until": T0},
        {"endpoints_failing_since": T0 - 15 * MINUTE, "failing_endpoints": "whe_1: x"},
        {"oldest_stop_due_at": T0 - timedelta(seconds=5)},
        {"oldest_heartbeat_at": T0 - 5 * MINUTE, "silent_terminal": "Bay 1"},
        {"charging_since": T0 - 14 * MINUTE},
        {"charging_since": T0 - 60 * MINUTE, "newest_delivery_at": T0 - 14 * MINUTE},
        {"newest_delivery_at": T0 - 60 * MINUTE},
    ],
)
def test_what_is_usual_opens_none(health: dict[str, object]) -> None:
    assert of_operator(replace(WELL, **health), T0) == []  # type: ignore[arg-type]  # fields by name


def test_a_clock_that_differs_is_named_with_its_watcher() -> None:
    ahead = {"wtc_1": timedelta(seconds=2), "wtc_2": timedelta(seconds=-2.1)}
    (found,) = of_clocks(ahead)
    assert (found.code, found.about, found.detail) == ("clock_wrong", "wtc_2", "watcher wtc_2: -2.1 s")


def test_every_code_of_accounts_and_sessions_has_words_of_its_own() -> None:
    assert set(ALERTS) == set(AlertCode)
    assert not set(AlertCode) & set(AttentionCode)
    for code in (*AlertCode, *AttentionCode):
        assert words(code).action


causes = st.builds(
    Cause,
    code=st.sampled_from(["a", "b"]),
    severity=st.just(Severity.WARNING),
    detail=st.text(max_size=3),
    operator_id=st.sampled_from([None, OperatorId("op_1")]),
    about=st.sampled_from(["", "x"]),
)


@given(st.lists(st.lists(causes, max_size=8), max_size=8))
def test_each_condition_is_open_once_and_for_as_long_as_it_lasts(checks: list[list[Cause]]) -> None:
    number, stored = 0, dict[int, Cause]()
    for wanted in checks:
        opened, closed = changes(list(stored.items()), wanted)
        for gone in closed:
            del stored[gone]
        for cause in opened:
            number += 1
            stored[number] = cause
        assert sorted(map(identity, stored.values()), key=str) == sorted(
            {identity(c) for c in wanted}, key=str
        )


def test_the_documented_codes_are_these() -> None:
    page = (Path(__file__).parents[3] / "docs/alerts.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \| (.*) \|$", page, re.MULTILINE)
    assert rows == [(c, r.severity, r.meaning, r.action, r.closes) for c, r in ALERTS.items()]
