"""What `tapwatt doctor` says of what it was given."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.domain.alerts.causes import OperatorHealth
from app.domain.alerts.examination import (
    ADVICE,
    EXPIRES_SOON,
    Finding,
    Verdict,
    of_account,
    of_certificate,
    of_connections,
    of_isolation,
    of_key,
    of_process,
    of_quota,
    of_transport,
    of_watchers,
    of_webhook,
    worst,
)
from app.domain.units.ids import OperatorId
from tests.domain.sessions import T0

WELL = OperatorHealth(id=OperatorId("op_1"), newest_delivery_at=T0)


def test_each_check_of_readiness_has_advice_when_it_fails() -> None:
    assert {f.verdict for f in of_process(dict.fromkeys(ADVICE))} == {Verdict.OK}
    for name, advice in ADVICE.items():
        (wrong,) = [
            f for f in of_process(dict.fromkeys(ADVICE) | {name: "broken"}) if f.verdict != Verdict.OK
        ]
        assert (wrong.about, wrong.found, wrong.what_to_do) == (name, "broken", advice)


def test_an_account_is_well_or_says_each_thing_that_is_not() -> None:
    (well,) = of_account(WELL, [], T0)
    assert (well.verdict, well.found) == (
        Verdict.OK,
        "Monta takes the credential; last webhook at 2026-11-22 10:00 UTC",
    )
    ill = OperatorHealth(id=OperatorId("op_1"), access_problem="401", sync_problem="500")
    (paused,) = of_account(replace(WELL, paused_endpoints="whe_1"), [], T0)
    assert (paused.verdict, "whe_1" in paused.found) == (Verdict.WARNING, True)
    verdicts = [f.verdict for f in of_account(ill, ["the scope charges:write is missing"], T0)]
    assert verdicts == [Verdict.WRONG, Verdict.WARNING, Verdict.WARNING]


@pytest.mark.parametrize(
    ("expires_at", "verdict"),
    [
        (None, None),
        (T0 + EXPIRES_SOON, None),
        (T0 + EXPIRES_SOON - timedelta(seconds=1), Verdict.WARNING),
        (T0, Verdict.WRONG),
    ],
)
def test_a_key_is_named_before_it_expires(expires_at: datetime | None, verdict: Verdict | None) -> None:
    found = of_key("key_1", "lane 3", expires_at, T0)
    assert [f.verdict for f in found] == ([] if verdict is None else [verdict])


@pytest.mark.parametrize(
    ("finding", "verdict"),
    [
        (of_certificate("Monta", T0 + EXPIRES_SOON, "renew it", T0), Verdict.OK),
        (of_certificate("Monta", T0 + EXPIRES_SOON - timedelta(seconds=1), "renew it", T0), Verdict.WARNING),
        (of_quota("op_1", 201, 1000), Verdict.OK),
        (of_quota("op_1", 200, 1000), Verdict.WARNING),
        (of_transport("TAPWATT_DATABASE_URL", []), Verdict.OK),
        (of_transport("TAPWATT_DATABASE_URL", ["db.example"]), Verdict.WARNING),
        (of_connections(80, 100), Verdict.OK),
        (of_connections(81, 100), Verdict.WARNING),
        *((each, Verdict.WRONG) for each in of_webhook("op_1", "Monta's webhook leads elsewhere")),
    ],
)
def test_what_runs_out_is_named_before_it_has_with_what_to_do(finding: Finding, verdict: Verdict) -> None:
    assert finding.verdict is verdict
    assert bool(finding.what_to_do) is (verdict is not Verdict.OK)
    assert of_webhook("op_1", None) == []


def test_the_worst_counts_and_everything_wrong_says_what_to_do() -> None:
    found = [
        *of_watchers({"wtc_1": timedelta(seconds=9)}),
        of_isolation(bound=False),
        *of_key("key_1", "lane 3", T0, T0),
    ]
    assert worst(found) is Verdict.WRONG
    assert worst(found[1:2]) is Verdict.WARNING
    assert worst([]) is Verdict.OK
    assert all(f.what_to_do for f in found)
    assert worst([Finding(about="x", verdict=Verdict.OK, found="")]) is Verdict.OK
