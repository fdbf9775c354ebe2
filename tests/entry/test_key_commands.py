"""Tests of app/cli/keys, app/cli/secret_key: keys of terminals and operations, and the secret key, by command."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import text
from typer.core import TyperGroup
from typer.main import get_command

from app.cli import every_command
from app.domain.evidence.signatures import keys_in_pem
from app.store.db.database import Database
from app.store.db.secret_box import SecretBox
from app.store.tables import metadata
from tests.entry.command_line import facts, rows, run, tenants
from tests.store.rows import OP_ONE, OP_OTHER, SECRET_KEY, TRM_ONE

__all__ = ["tenants"]

CANARY = "tw_terminal_canary"
NEW_KEY = "the next one: hT4mQ9xK2vB7nZ1cW8rL5pD3"


def test_a_terminals_keys_are_added_listed_and_revoked(tenants: str) -> None:
    of = ["--terminal", TRM_ONE]
    added = facts(tenants, "terminal", "key", "add", *of, "--name", "after the repair", "--expires-in", "30")
    assert set(added) == {"terminal_id", "key_id", "api_key", "expires_at"}
    first, second = facts(tenants, "terminal", "key", "list", *of)["data"]
    assert (first["state"], second["state"], second["name"]) == ("valid", "valid", "after the repair")
    assert second["key_id"] == added["key_id"]
    changed = facts(
        tenants, "terminal", "key", "set", added["key_id"], "--name", "lane 4", "--expires-in", "9"
    )
    assert (changed["name"], changed["expires_at"] < added["expires_at"]) == ("lane 4", True)
    assert len(facts(tenants, "terminal", "key", "list", TRM_ONE)["data"]) == 2
    revoked = facts(tenants, "terminal", "key", "revoke", added["key_id"])
    assert revoked["revoked_at"] is not None
    status, shown = run(tenants, "terminal", "key", "list", *of)
    assert (status, "revoked" in shown, added["api_key"] in shown) == (0, True, False)


def test_an_operations_key_sees_one_operator_unless_all_are_asked_for(tenants: str) -> None:
    status, told = run(tenants, "ops-key", "add")
    assert (status, "--all-operators" in told, "2 operators" in told) == (1, True, True)
    one = facts(tenants, "ops-key", "add", "--operator", OP_ONE, "--role", "read", "--name", "night shift")
    everything = facts(tenants, "ops-key", "add", "--all-operators")
    assert set(one) == set(everything) == {"ops_key_id", "api_key"}
    shown = facts(tenants, "ops-key", "show", one["ops_key_id"])
    assert (shown["operator_id"], shown["role"], shown["name"]) == (OP_ONE, "read", "night shift")
    assert facts(tenants, "ops-key", "show", everything["ops_key_id"])["operator_id"] is None
    assert len(facts(tenants, "ops-key", "list")["data"]) == 2
    assert [each["key_id"] for each in facts(tenants, "ops-key", "list", "--operator", OP_ONE)["data"]] == [
        one["ops_key_id"]
    ]
    changed = facts(tenants, "ops-key", "set", one["ops_key_id"], "--role", "operate", "--expires-in", "7")
    assert (changed["role"], changed["name"], changed["expires_at"] is None) == (
        "operate",
        "night shift",
        False,
    )
    assert facts(tenants, "ops-key", "revoke", one["ops_key_id"])["key_id"] == one["ops_key_id"]
    assert facts(tenants, "ops-key", "remove", everything["ops_key_id"]) == {
        "removed": everything["ops_key_id"]
    }


def test_a_wrong_argument_about_keys_says_what_to_do(tenants: str) -> None:
    both = ["--all-operators", "--operator", OP_OTHER]
    cases: list[tuple[list[str], int, str]] = [
        (["terminal", "key", "add", "--terminal", "trm_none"], 1, "tapwatt terminal list"),
        (["terminal", "key", "list", "--terminal", "trm_none"], 1, "tapwatt terminal list"),
        (["terminal", "key", "revoke", "key_none"], 1, "tapwatt terminal key list"),
        (["terminal", "key", "add"], 1, "tapwatt terminal list"),
        (["terminal", "key", "set", f"key_{TRM_ONE}"], 1, "Nothing to set"),
        (["terminal", "key", "set", "opk_none", "--name", "n"], 1, "tapwatt terminal key list"),
        (["terminal", "key", "revoke", CANARY], 1, "name it by its id"),
        (["ops-key", "show", CANARY], 1, "name it by its id"),
        (["ops-key", "add", *both], 1, "contradict"),
        (["ops-key", "add", "--operator", OP_ONE, "--role", "admin"], 2, "--role"),
        (["ops-key", "add", "--operator", OP_ONE, "--expires-in", "0"], 2, "--expires-in"),
        (["ops-key", "add", "--operator", OP_ONE, "--name", " "], 1, "--name"),
        (["ops-key", "show", f"key_{TRM_ONE}"], 1, "tapwatt ops-key list"),
        (["ops-key", "set", "opk_none"], 1, "Nothing to set"),
        (["ops-key", "revoke", "opk_none"], 1, "opk_none"),
    ]
    for arguments, expected, words in cases:
        status, told = run(tenants, *arguments)
        assert (status, words in told, CANARY in told) == (expected, True, False), (arguments, told)


KEYLESS = {"migrate", "simulator", "demo", "evidence verify"}
"""Commands that need no operator's secrets, nor an operator's rows."""
TARIFF = {
    "currency": "EUR",
    "elements": [{"price_components": [{"type": "ENERGY", "price": 0.5, "step_size": 1}]}],
}
ENOUGH = {
    "endpoint add": ["--provider", "p"],
    "endpoint set": ["--all-events"],
    "operator set": ["--hold-max", "5"],
    "terminal add": ["--charge-point", "101"],
    "terminal set": ["--name", "n"],
    "terminal key set": ["--name", "n"],
    "ops-key set": ["--name", "n"],
    "ops-key add": ["--operator", OP_ONE],
    "serve": ["--port", "1"],
}
"""What a command needs beside its required arguments, to have something to do."""
SESSION = "ps_" + "0" * 26


def every_leaf() -> Iterator[tuple[str, Any]]:
    """Each command by its words."""
    waiting: list[tuple[str, Any]] = [("", get_command(every_command()))]
    while waiting:
        words, command = waiting.pop()
        if isinstance(command, TyperGroup):
            waiting += [(f"{words} {name}".strip(), each) for name, each in command.commands.items()]
        else:
            yield words, command


def arguments_for(words: str, command: Any, folder: Path) -> list[str]:
    """Arguments with which a command would do its work. Fails for a required one that is not known here."""
    secret, tariff, terminals = folder / "secret", folder / "tariff.json", folder / "terminals.csv"
    secret.write_text("a client secret", encoding="utf-8")
    tariff.write_text(json.dumps(TARIFF), encoding="utf-8")
    terminals.write_text("provider,name,charge_points\np,n,101\n", encoding="utf-8")
    known = {
        "operator": OP_ONE,
        "terminal": TRM_ONE,
        "key": f"key_{TRM_ONE}" if words.startswith("terminal") else f"opk_{OP_ONE}",
        "session_id": SESSION,
        "charge_id": "77",
        "endpoint": "whe_ours",
        "--url": "https://maker.test/events",
        "code": "other",
        "--operator": OP_ONE,
        "--terminal": TRM_ONE,
        "--file": str(tariff if words.startswith("tariff") else terminals),
        "--client-secret-file": str(secret),
        "--monta-url": "https://partner-api.monta.com/api/v1",
        "--client-id": "c",
        "--paying-team-id": "7",
        "--provider": "p",
        "--name": "n",
        "--amount": "1",
        "--reason": "r",
        "--note": "n",
        "--card": "c",
        "--month": "2026-11",
    }
    given: list[str] = []
    for each in command.params:
        if each.param_type_name == "argument":
            given.append(known[str(each.name)])
        elif each.required:
            given += [each.opts[0], known[each.opts[0]]]
    return given + ENOUGH.get(words, [])


def test_F90_with_a_mistyped_secret_key_every_command_and_process_ends_and_writes_nothing(
    tenants: str, tmp_path: Path
) -> None:
    every_row = [f"SELECT '{name}', t::text FROM {name} t ORDER BY t::text" for name in metadata.tables]
    before = [rows(tenants, statement) for statement in every_row]
    assert sum(map(len, before)) > 5
    mistyped = SECRET_KEY[:-1] + "x"
    commands = {words: command for words, command in every_leaf() if words not in KEYLESS}
    assert len(commands) > 35
    assert not KEYLESS & commands.keys()
    for words, command in commands.items():
        arguments = [*words.split(), *arguments_for(words, command, tmp_path)]
        status, told = run(tenants, *arguments, TAPWATT_SECRET_KEY=mistyped)
        assert status == 1, (words, told)
        assert "TAPWATT_SECRET_KEY is not the key" in told, (words, told)
        assert SecretBox(SECRET_KEY).key_id in told, words
        assert mistyped not in told, words
    assert [rows(tenants, statement) for statement in every_row] == before


def test_F90_the_secret_key_is_changed_by_one_command(tenants: str) -> None:
    new = {"TAPWATT_SECRET_KEY": NEW_KEY}
    both = new | {"TAPWATT_OLD_SECRET_KEYS": f"some other, {SECRET_KEY}"}
    done = facts(tenants, "secret-key", "rotate", **both)
    assert done == {
        "key_id": SecretBox(NEW_KEY).key_id,
        "evidence_key_id": SecretBox(NEW_KEY).sealer.key.id,
        "operators": "2",
        "left": "0",
    }
    shown = facts(tenants, "evidence", "public-key", **new)
    assert keys_in_pem(shown["public_key"]) == {shown["key_id"]: SecretBox(NEW_KEY).sealer.key.public}
    assert shown["key_id"] == done["evidence_key_id"] != SecretBox(SECRET_KEY).sealer.key.id
    facts(tenants, "operator", "change-webhook-secret", "--operator", OP_ONE, **new)
    status, told = run(tenants, "operator", "list")
    assert (status, "TAPWATT_SECRET_KEY" in told) == (1, True)
    assert rows(tenants, "SELECT key_id, active FROM secret_keys") == [(SecretBox(NEW_KEY).key_id, True)]


def test_F90_a_damaged_secret_is_named_and_the_others_are_changed(tenants: str) -> None:
    async def damage() -> None:
        database = Database(tenants)
        statement = text("UPDATE operators SET client_secret = '\\x00' WHERE id = :id")
        async with database.transaction() as connection:
            await connection.execute(statement, {"id": OP_OTHER})
        await database.close()

    asyncio.run(damage())
    both = {"TAPWATT_SECRET_KEY": NEW_KEY, "TAPWATT_OLD_SECRET_KEYS": SECRET_KEY}
    status, told = run(tenants, "secret-key", "rotate", **both)
    assert status == 1
    assert f"the client_secret of {OP_OTHER}" in told
    assert "--client-secret-file" in told
    assert len(rows(tenants, "SELECT key_id FROM secret_keys")) == 2, "the older key is still known"
