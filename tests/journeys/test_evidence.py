"""app/domain/evidence: the evidence of a session that was lived through is whole, and any change of it is found."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from app.domain.evidence.seal import seal_of
from app.domain.evidence.verify import problems
from tests.commands import invoke
from tests.journeys.bundles import captured_with_two_holds, evidence_of, leaves, with_change
from tests.journeys.rig import Json, Rig, open_rig
from tests.postgres import unguarded

pytestmark = pytest.mark.anyio

ERASABLE = ("card", "metadata")
"""May be erased for a person, hence outside of every hash but the bundle's and the session's seal."""
DERIVED = ("made_at", "decisions", "calls", "deliveries", "seal", "signature", "keys")
BY_SIGNATURE = (*ERASABLE, *DERIVED, "session", "final_record")


async def test_every_changed_or_missing_leaf_of_a_bundle_is_found(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await captured_with_two_holds(rig)
        bundle, sent = await evidence_of(rig, session["id"])
    assert problems(bundle) == []
    assert problems(json.loads(sent, parse_float=Decimal)) == []
    assert len(bundle["captures"]) == 2
    assert len(bundle["deliveries"]) > 3
    assert bundle["request"]["tariff"]["x"] == Decimal("1.5")
    assert {bundle["journal"][n - 1]["kind"] for n in bundle["calls"]} >= {"start_accepted", "stop_accepted"}
    assert bundle["journal"][bundle["decisions"][-1] - 1]["kind"] == "settlement_decided"
    paths = list(leaves(bundle))
    assert len(paths) > 300
    for path in paths:
        for remove in (False, True):
            assert problems(with_change(bundle, path, remove=remove)), f"{path} {remove}"


def by_hashes(bundle: Json) -> list[str]:
    """What is found of a bundle that was hashed anew, were there no signatures."""
    found = problems(bundle | {"seal": seal_of(bundle)})
    return [each for each in found if not each.startswith(("signature: ", "sealed: "))]


async def test_a_forger_who_seals_it_anew_is_found_where_the_chain_reaches(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        bundle, _ = await evidence_of(rig, (await captured_with_two_holds(rig))["id"])
    reached = [path for path in leaves(bundle) if path[0] not in BY_SIGNATURE]
    reached = [path for path in reached if path[:2] != ("chain", "seal")]
    reached += [("final_record", "price"), ("session", "id")]
    assert len(reached) > 200
    for path in reached:
        for remove in (False, True):
            other = with_change(bundle, path, remove=remove)
            not_a_fact = path[:2] == ("settlement", "overdue_since")
            assert by_hashes(other) or not_a_fact, f"{path} {remove}"
    for name in ("journal", "captures"):
        assert by_hashes(bundle | {name: bundle[name][:-1]}), name


@pytest.mark.parametrize("settled", ["refused", "closed", "nothing reported"])
async def test_it_is_whole_for_sessions_that_end_otherwise(database_url: str, settled: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(901 if settled == "refused" else 106, 2000)
        path = f"/v1/ops/payment-sessions/{session['id']}"
        running, _ = await evidence_of(rig, session["id"])
        assert problems(running) == []
        await rig.pass_time(30)
        if settled == "closed":
            body = {"amount": 123, "reason": "charger on fire"}
            answer = await rig.call("POST", f"{path}/close", body=body, key=rig.ops.api_key)
            assert answer.status_code == 200, answer.text
        await rig.until(session["id"], "completed", "not_started")
        bundle, _ = await evidence_of(rig, session["id"])
        assert problems(bundle) == []
        if settled == "closed":
            assert bundle["settlement"]["to_capture_minor"] == 123
            other = with_change(bundle, ("settlement", "to_capture_minor"))
            assert any(found.startswith("bill: ") for found in problems(other))


async def test_rows_changed_behind_the_triggers_are_found(database_url: str) -> None:
    """By a superuser who switches triggers off: in the journal, the settlement and the request."""
    changes = {
        "UPDATE journal SET at = at + interval '1 s' WHERE id = (SELECT min(id) FROM journal)": "chain",
        "UPDATE journal SET detail = detail || '{\"price\": \"0.01\"}' WHERE kind = 'settlement_decided'": "chain",
        "DELETE FROM journal WHERE id = (SELECT max(id) FROM journal)": "chain",
        "UPDATE settlements SET energy_wh = 1": "settlement",
        "UPDATE settlements SET to_capture_minor = 1, to_release_minor = authorized_minor - 1": "settlement",
        "UPDATE captures SET amount_minor = 1 WHERE id = (SELECT min(id) FROM captures)": "captures",
        "UPDATE payment_sessions SET tariff = jsonb_set(tariff, '{currency}', '\"DKK\"')": "request",
    }
    async with open_rig(database_url) as rig:
        session = await captured_with_two_holds(rig)
        for statement, part in changes.items():
            backup = await rows_of(rig)
            await unguarded(rig.database_url, statement)
            bundle, _ = await evidence_of(rig, session["id"])
            found = problems(bundle)
            assert [f for f in found if f.startswith(part)], f"{statement}: {found}"
            await unguarded(rig.database_url, *backup)
        assert problems((await evidence_of(rig, session["id"]))[0]) == []


async def rows_of(rig: Rig) -> list[str]:
    """Statements that bring evidence back to what it is now."""
    undo = []
    for table in ("journal", "captures", "settlements"):
        undo += [f"DELETE FROM {table}", f"INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE kept_{table}"]
    undo += ["UPDATE payment_sessions s SET tariff = k.tariff FROM kept_payment_sessions k WHERE k.id = s.id"]
    tables = ("journal", "captures", "settlements", "payment_sessions")
    await unguarded(rig.database_url, *(f"DROP TABLE IF EXISTS kept_{t}" for t in tables))
    await unguarded(rig.database_url, *(f"CREATE TABLE kept_{t} AS TABLE {t}" for t in tables))
    return undo + [f"DROP TABLE kept_{t}" for t in tables]


async def test_the_command_verifies_a_file_without_a_database(database_url: str, tmp_path: Path) -> None:
    async with open_rig(database_url) as rig:
        _, sent = await evidence_of(rig, (await captured_with_two_holds(rig))["id"])
        secret = rig.operator.webhook_secret
    whole, changed, broken = (tmp_path / name for name in ("whole.json", "changed.json", "broken.json"))
    for name, value in (("right", secret), ("wrong", "another")):
        (tmp_path / name).write_text(f"{value}\n", encoding="utf-8")
    signed = ["evidence", "verify", str(whole), "--webhook-secret-file"]
    whole.write_bytes(sent)
    changed.write_bytes(sent.replace(b'"amount_minor":1000', b'"amount_minor":1001', 1))
    broken.write_bytes(sent[:100])
    results = [invoke(["evidence", "verify", str(f)]) for f in (whole, changed, broken)]
    assert [result.exit_code for result in results] == [0, 1, 1]
    assert "is as it was made" in results[0].output
    assert "NOT as it was made" in results[1].output
    assert "request: " in results[1].output
    assert "cannot be read" in results[2].output
    assert invoke([*signed, str(tmp_path / "right")]).exit_code == 0
    unsigned = invoke([*signed, str(tmp_path / "wrong")])
    assert unsigned.exit_code == 1
    assert "number 1 is not by this secret" in unsigned.output
