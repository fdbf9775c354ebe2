"""Tests of app/flows/operator/check_evidence: a changed row is found though nobody looks at its session."""

import pytest

from app.domain.evidence.verify import problems
from app.flows.operator.check_evidence import EVERY, check_evidence
from app.flows.operator.overdue_captures import EVERY as JOB_EVERY
from app.store.operators import operator_state
from app.store.operators.operator_state import EvidenceCheck
from tests.journeys.rig import Json, Rig, energy_tariff, open_rig
from tests.postgres import unguarded

pytestmark = pytest.mark.anyio

FORGERIES = (
    "UPDATE journal SET source = 'nobody' WHERE session_id = '{id}' AND kind = 'settlement_decided'",
    "UPDATE captures SET amount_minor = amount_minor - 1 WHERE session_id = '{id}' AND outcome = 'captured'",
    "UPDATE payment_sessions SET body = jsonb_set(body, '{{settled_record,price}}', '\"0.01\"') WHERE id = '{id}'",
    "UPDATE payment_sessions SET body = body #- '{{journal,seal}}' WHERE id = '{id}'",
)


async def paid(rig: Rig, number: int) -> str:
    """A settled session whose capture and release are reported."""
    await rig.set_tariff(energy_tariff("0.79"))
    recorded = await rig.authorize(907, 2000, authorization={"reference": f"A-{number}"})
    session = await rig.until(recorded["id"], "completed")
    settled = session["settlement"]
    for outcome, amount in (("captured", "amount_to_capture"), ("released", "amount_to_release")):
        report: Json = {"outcome": outcome, "amount": settled[amount], "reference": f"P-{number}-{outcome}"}
        path = f"/v1/payment-sessions/{session['id']}/captures"
        assert (await rig.call("POST", path, body=report)).status_code == 200
    return str(session["id"])


async def flagged(rig: Rig) -> list[str]:
    answer = await rig.call("GET", "/v1/ops/payment-sessions?needs_attention=true", key=rig.ops.api_key)
    found = [(each["id"], each["attention"]) for each in answer.json()["data"]]
    assert all(item["code"] == "seal_does_not_fit" for _, items in found for item in items)
    return [session_id for session_id, _ in found]


async def anew(rig: Rig) -> None:
    """Forgets how far the examination has come."""
    async with rig.context.database.transaction() as connection:
        begun = EvidenceCheck(None, None)
        await operator_state.note_evidence_check(connection, rig.operator.operator_id, begun)


async def test_each_forgery_is_found_by_the_watcher_and_said_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_rig(database_url) as rig:
        sessions = [await paid(rig, number) for number in range(len(FORGERIES) + 1)]
        await anew(rig)
        await goes_on_where_it_ended(rig, sessions, monkeypatch)
        assert await flagged(rig) == [], "nothing was changed"

        forged = sessions[1:]
        statements = [words.format(id=each) for words, each in zip(FORGERIES, forged, strict=True)]
        await unguarded(rig.database_url, *statements)
        await anew(rig)
        assert await flagged(rig) == [], "nobody has looked"
        await rig.pass_time(JOB_EVERY.total_seconds() + 30)
        assert sorted(await flagged(rig)) == sorted(forged)
        lines = [len(await rig.journal(each)) for each in forged]
        await anew(rig)
        await check_evidence(rig.context, rig.operator.operator_id)
        assert [len(await rig.journal(each)) for each in forged] == lines, "said once"


async def goes_on_where_it_ended(rig: Rig, sessions: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Examines two sessions an hour, the newest first, and begins anew after the oldest one."""
    looked: list[str] = []

    def noted(bundle: Json) -> list[str]:
        looked.append(bundle["session"]["id"])
        return problems(bundle)

    with monkeypatch.context() as patched:
        patched.setattr("app.flows.operator.check_evidence.AT_ONCE", 2)
        patched.setattr("app.flows.operator.check_evidence.problems", noted)
        newest_first = sessions[::-1]
        for expected in (newest_first[:2], newest_first[2:4], newest_first[4:], newest_first[:2]):
            looked.clear()
            rig.clock.set(rig.clock.now() + EVERY)
            await check_evidence(rig.context, rig.operator.operator_id)
            await check_evidence(rig.context, rig.operator.operator_id)  # not within the hour
            assert looked == expected
