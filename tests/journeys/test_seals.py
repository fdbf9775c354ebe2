"""Tests of app/domain/evidence/seal: who can write everything in the database, but has no key, is found."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from app.domain.evidence.chain import BEGINNING, Line, link
from app.domain.evidence.seal import seal_of, sealed_digest
from app.domain.evidence.signatures import Purpose, SigningKey, pem_of
from app.domain.evidence.verify import origin_of, problems
from app.domain.session.machine import Caller
from app.domain.session.settlement import decided_digest
from app.domain.units.ids import SessionId
from app.flows.admin.acknowledge import acknowledge
from app.flows.admin.personal_data import erase_card
from app.flows.admin.rotate_secret_key import rotate_secret_key
from app.store.db.secret_box import SecretBox
from app.store.operators.operators import Operators
from app.store.sessions.session_filter import EVERY_SESSION
from tests.build_context import SECRET_KEY
from tests.commands import invoke
from tests.journeys.bundles import captured_with_two_holds, evidence_of, leaves, with_change
from tests.journeys.rig import Json, Rig, open_rig
from tests.postgres import unguarded

pytestmark = pytest.mark.anyio

NEXT, LAST = "the next one: hT4mQ9xK2vB7nZ1cW8rL5pD3", "the last one: aX7cR2mW9kQ4vN8zT1bJ6sF5"
FORGER = SigningKey(b"a key that the forger has made..")


def cheaper(bundle: Json) -> Json:
    """The bundle as if one unit less had been captured of the first hold; each hash of it is made anew."""
    forged: Json = json.loads(json.dumps(bundle, default=str))
    forged["request"] = bundle["request"]
    less = {"to_capture_minor": -1, "to_release_minor": 1}
    share = forged["settlement"]["shares"][0]
    for name, by in less.items():
        forged["settlement"][name] += by
        share[name] += by
    forged["captures"][0]["amount_minor"] -= 1
    price = str((forged["settlement"]["to_capture_minor"] + forged["settlement"]["shortfall_minor"]) / 100)
    forged["final_record"]["price"] = price
    previous = BEGINNING
    for line in forged["journal"]:
        detail = line["detail"]
        if line["kind"] == "settlement_decided":
            amounts = {name: forged["settlement"][name] for name in less}
            detail |= amounts | {"price": price, "settlement": decided_digest(forged["settlement"])}
        if line["kind"] == "capture_reported" and detail["authorization_reference"] == share["reference"]:
            detail["amount_minor"] -= 1
        previous = line["hash"] = link(previous, line_of(forged, line))
    forged["chain"]["head"] = previous
    return forged


def line_of(bundle: Json, line: Json) -> Line:
    return Line(
        session_id=bundle["session"]["id"],
        number=line["number"],
        at=datetime.fromisoformat(line["at"]),
        kind=line["kind"],
        source=line["source"],
        detail=line["detail"],
    )


async def write(rig: Rig, forged: Json) -> None:
    """Writes all of a forged bundle into the database, as its superuser."""
    settlement, share = forged["settlement"], forged["settlement"]["shares"][0]
    amounts = ", ".join(f"{n} = {settlement[n]}" for n in ("to_capture_minor", "to_release_minor"))
    lines = [
        f"UPDATE journal SET detail = '{json.dumps(line['detail'])}', hash = '\\x{line['hash']}'"
        f" WHERE id = (SELECT id FROM journal ORDER BY id OFFSET {line['number'] - 1} LIMIT 1)"
        for line in forged["journal"]
    ]
    changed = {name: share[name] for name in ("to_capture_minor", "to_release_minor")}
    await unguarded(
        rig.database_url,
        *lines,
        f"UPDATE settlements SET {amounts}, captured_minor = captured_minor - 1,"
        f" shares = jsonb_set(shares, '{{0}}', shares->0 || '{json.dumps(changed)}')",
        "UPDATE captures SET amount_minor = amount_minor - 1"
        f" WHERE authorization_reference = '{share['reference']}'",
        f"UPDATE payment_sessions SET body = jsonb_set(jsonb_set(body, '{{settled_record,price}}',"
        f" '\"{forged['final_record']['price']}\"'), '{{journal,hash}}', '\"{forged['chain']['head']}\"')",
    )


async def give_seal(rig: Rig, bundle: Json, key: SigningKey) -> None:
    """Writes a seal of another key into the database, and a voucher of that key for itself."""
    chain, at = bundle["chain"], bundle["chain"]["seal"]["at"]
    digest = sealed_digest(bundle, lines=chain["lines"], head=chain["head"], at=at)
    seal = {"key_id": key.id, "at": at, "signature": key.sign(Purpose.SEAL, digest)}
    voucher = key.vouch_for(key.public)
    await unguarded(
        rig.database_url,
        f"UPDATE payment_sessions SET body = jsonb_set(body, '{{journal,seal}}', '{json.dumps(seal)}')",
        "INSERT INTO evidence_keys (key_id, public, vouched_by, signature) VALUES"
        f" ('{voucher.key_id}', '{voucher.public}', '{voucher.vouched_by}', '{voucher.signature}')",
    )


async def test_a_whole_rewritten_session_is_found_also_after_it_changes_again(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await captured_with_two_holds(rig)
        bundle, _ = await evidence_of(rig, session["id"])
        assert problems(bundle) == []
        forged = cheaper(bundle)
        await write(rig, forged)
        shown, _ = await evidence_of(rig, session["id"])
        same = ("journal", "settlement", "captures", "final_record", "chain")
        assert {name: shown[name] for name in same} == {name: forged[name] for name in same}
        (found,) = problems(shown)
        assert found.startswith("sealed: "), "every hash fits, and the bill: only the seal does not"

        by = Caller("command")
        await erase_card(rig.context, SessionId(session["id"]), EVERY_SESSION, by=by)
        shown, _ = await evidence_of(rig, session["id"])
        assert [line["kind"] for line in shown["journal"][-2:]] == ["person_erased", "attention_needed"]
        (found,) = problems(shown)
        assert found.startswith("sealed: "), "a later change does not make it valid"
        for seen in (None, "looked"):
            (item,) = (await rig.ops_session(session["id"]))["attention"]
            assert (item["code"], item["severity"]) == ("seal_does_not_fit", "critical")
            assert (item["acknowledged"] or {"note": None})["note"] == seen
            await acknowledge(
                rig.context,
                SessionId(session["id"]),
                EVERY_SESSION,
                code="seal_does_not_fit",
                by=by,
                note="looked",
            )
        shown, _ = await evidence_of(rig, session["id"])
        assert [line["kind"] for line in shown["journal"][-2:]] == [
            "attention_needed",
            "attention_acknowledged",
        ]

        await give_seal(rig, shown, FORGER)
        shown, _ = await evidence_of(rig, session["id"])
        (found,) = problems(shown)
        assert f"by the key {FORGER.id}, which is none of" in found
        await unguarded(rig.database_url, "UPDATE payment_sessions SET body = body #- '{journal,seal}'")
        (found,) = problems((await evidence_of(rig, session["id"]))[0])
        assert "never sealed, or its seal was removed" in found


async def test_each_change_of_what_no_hash_covers_is_found_by_the_seal(database_url: str) -> None:
    """Each is made by a superuser in the database, and exported and signed by the service itself."""
    changes = (
        "UPDATE payment_sessions SET body = jsonb_set(body, '{authorization,card,last4}', '\"1111\"')",
        "UPDATE payment_sessions SET body = jsonb_set(body, '{metadata,lane}', '\"4\"')",
        "UPDATE payment_sessions SET body = jsonb_set(body, '{settled_record,energy_wh}', '1')",
        "UPDATE payment_sessions SET body = jsonb_set(body, '{status}', '\"not_started\"')",
        "UPDATE payment_sessions SET body = jsonb_set(body, '{terminal_id}', '\"trm_other\"')",
        "UPDATE payment_sessions SET body = jsonb_set(body, '{created_at}', '\"2026-01-01T00:00:00Z\"')",
        "UPDATE payment_sessions SET body = jsonb_set(body, '{journal,seal,at}', '\"2026-01-01T00:00:00Z\"')",
        "UPDATE payment_sessions SET body = jsonb_set(body, '{journal,seal,key_id}', '\"0123456789abcdef\"')",
        "UPDATE payment_sessions SET body = jsonb_set(body, '{journal,seal,signature}', '\"00\"')",
    )
    async with open_rig(database_url) as rig:
        session = await captured_with_two_holds(rig)
        await unguarded(rig.database_url, "CREATE TABLE kept AS TABLE payment_sessions")
        for statement in changes:
            await unguarded(rig.database_url, statement)
            found = problems((await evidence_of(rig, session["id"]))[0])
            assert any(each.startswith("sealed: ") for each in found), f"{statement}: {found}"
            back = "UPDATE payment_sessions s SET body = k.body FROM kept k WHERE k.id = s.id"
            await unguarded(rig.database_url, back)
        assert problems((await evidence_of(rig, session["id"]))[0]) == []
        await unguarded(rig.database_url, "DROP TABLE kept")


def signed_by(bundle: Json, key: SigningKey, *, keys: list[Any] | None = None) -> Json:
    """A bundle that was signed anew, with another key."""
    forged = bundle | {"keys": keys or []}
    forged["seal"] = seal_of(forged)
    value = key.sign(Purpose.BUNDLE, forged["seal"])
    return forged | {"signature": {"key_id": key.id, "public_key": key.public, "value": value}}


def sealed_by(bundle: Json, key: SigningKey) -> Json:
    chain, at = bundle["chain"], bundle["chain"]["seal"]["at"]
    digest = sealed_digest(bundle, lines=chain["lines"], head=chain["head"], at=at)
    seal = {"key_id": key.id, "at": at, "signature": key.sign(Purpose.SEAL, digest)}
    return bundle | {"chain": chain | {"seal": seal}}


def key_of(secret_key: str) -> SigningKey:
    return SecretBox(secret_key).sealer.key


def trusting(*keys: SigningKey) -> Mapping[str, str]:
    return {key.id: key.public for key in keys}


async def test_a_bundle_that_a_forger_signs_anew_is_found_by_the_public_key(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        bundle, _ = await evidence_of(rig, (await captured_with_two_holds(rig))["id"])
    ours = trusting(key_of(SECRET_KEY))
    assert problems(bundle, ours) == []
    assert len(problems(bundle, trusting(FORGER))) == 2
    paths = [path for path in leaves(bundle) if path[0] not in ("format", "seal", "signature", "keys")]
    for path in paths[::5]:
        other = with_change(bundle, path)
        other["seal"] = seal_of(other)
        assert "signature: the bundle is not what" in str(problems(other)), path
    for other in (with_change(bundle, path) for path in paths[:: len(paths) // 20]):
        assert "none of the given public keys" in str(problems(signed_by(other, FORGER), ours))
    resigned = signed_by(bundle, FORGER)
    assert "the session's seal is by the key" in str(problems(resigned)), "the forger cannot seal it"
    whole = signed_by(sealed_by(cheaper(bundle), FORGER), FORGER)
    assert problems(whole) == [], "all of it is made with one key, whose id the command shows"
    assert len(problems(whole, ours)) == 2
    claimed = [{"key_id": FORGER.id, "public": FORGER.public, "vouched_by": key_of(SECRET_KEY).id}]
    claimed[0]["signature"] = FORGER.vouch_for(FORGER.public).signature
    assert len(problems(signed_by(whole, FORGER, keys=claimed), ours)) == 2


async def test_evidence_outlives_changes_of_the_secret_key(database_url: str) -> None:
    """Sealed with the first key, changed under the second one, and exported under the third."""

    def at(key: str, *older: str) -> Rig:
        rig.app.state.context = replace(rig.context, operators=Operators(SecretBox(key, older)))
        return rig

    async with open_rig(database_url) as rig:
        session = await captured_with_two_holds(rig)
        bundle, _ = await evidence_of(at(NEXT, SECRET_KEY), session["id"])
        assert origin_of(bundle).signed_by == key_of(SECRET_KEY).id, (
            "the active key signs, until it is changed"
        )
        await rotate_secret_key(at(NEXT, SECRET_KEY).app.state.context)
        bundle, _ = await evidence_of(at(NEXT), session["id"])
        first, second, third = key_of(SECRET_KEY), key_of(NEXT), key_of(LAST)
        origin = origin_of(bundle)
        assert (origin.signed_by, origin.sealed_by) == (second.id, first.id)
        assert problems(bundle, trusting(second)) == []
        assert problems(bundle, trusting(first, second)) == []
        (found,) = problems(bundle, trusting(first))
        assert found.startswith("signature: it is by the key"), "an older key vouches for no newer one"

        await rotate_secret_key(at(LAST, NEXT).app.state.context)
        later, _ = await evidence_of(at(LAST), session["id"])
        assert [each["vouched_by"] for each in later["keys"]] == [second.id, third.id]
        assert problems(later, trusting(third)) == []
        context = at(LAST).app.state.context
        await evidence_of(rig, session["id"])  # as a process does at its start: it reads the keys before
        by = Caller("command")
        await erase_card(context, SessionId(session["id"]), EVERY_SESSION, by=by)
        anew, _ = await evidence_of(rig, session["id"])
        assert origin_of(anew).sealed_by == third.id, "what an earlier key sealed is sealed on by this one"
        assert problems(anew, trusting(third)) == []
        await unguarded(rig.database_url, "UPDATE evidence_keys SET signature = public || public")
        assert "sealed: " in str(problems(bundle | {"keys": []}, trusting(second)))


async def test_a_running_session_says_that_it_is_not_sealed_and_the_command_whose_key_it_was(
    database_url: str, tmp_path: Path
) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106, 1000)
        running, sent = await evidence_of(rig, session["id"])
        await rig.until(session["id"], "completed")
        _, ended = await evidence_of(rig, session["id"])
    assert running["chain"]["seal"] is None
    assert problems(running, trusting(key_of(SECRET_KEY))) == []
    files = {name: tmp_path / name for name in ("running", "ended", "ours", "forger", "no key", "both")}
    files["running"].write_bytes(sent)
    files["ended"].write_bytes(ended)
    files["ours"].write_text(pem_of(key_of(SECRET_KEY).public), encoding="utf-8")
    files["forger"].write_text(pem_of(FORGER.public), encoding="utf-8")
    files["both"].write_text(pem_of(FORGER.public) + pem_of(key_of(SECRET_KEY).public), encoding="utf-8")
    files["no key"].write_text("none", encoding="utf-8")

    def run(bundle: str, *keys: str) -> tuple[int, str]:
        given = [word for key in keys for word in ("--public-key", str(files[key]))]
        done = invoke(["evidence", "verify", str(files[bundle]), *given])
        return done.exit_code, done.output

    status, told = run("running")
    assert (status, "not settled: its journal has no seal yet" in told) == (0, True), told
    assert f"Signed with the key {key_of(SECRET_KEY).id}: compare it" in told
    for keys in (["ours"], ["both"], ["forger", "ours"]):
        status, told = run("ended", *keys)
        assert (status, "one of the given keys" in told, "were sealed at" in told) == (0, True, True), told
    status, told = run("ended", "forger")
    assert (status, "NOT as it was made" in told, "none of the given public keys" in told) == (1, True, True)
    status, told = run("ended", "no key")
    assert (status, "tapwatt evidence public-key" in told) == (1, True)
