"""Tests of app/cli.

Every command, with each id of another kind or of another operator: an error, no effect, a line on record.
"""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from app.cli.common import READING
from app.domain.charging.charge import ChargeState
from app.domain.units.ids import KeyId
from app.store.db.database import Database
from app.store.db.secret_box import SecretBox
from app.store.events import endpoints
from app.store.events.endpoints import Endpoint
from app.store.operators import keys
from app.store.operators.keys import ApiKey, KeyKind, Role
from tests.commands import APP, invoke
from tests.row_digests import contents
from tests.store.orphan_rows import find
from tests.store.rows import (
    NOW,
    OP_ONE,
    OP_OTHER,
    SECRET_KEY,
    TRM_ONE,
    TRM_OTHER,
    a_session,
    provisioned,
    record,
    with_charge,
)

FEWEST_TRIES = 250
SESSION = "ps_theirs"
IDS = {
    "operator": OP_OTHER,
    "terminal": TRM_OTHER,
    "key": "key_trm_other",
    "ops-key": "opk_theirs",
    "session": SESSION,
    "charge": "88",
    "endpoint": "whe_theirs",
    "nothing": "op_00000000000000000000000000",
}
"""Of the other operator, by kind; the last one is of none."""
OWN = {
    "operator": OP_ONE,
    "terminal": TRM_ONE,
    "key": "key_trm_one",
    "ops-key": "opk_ours",
    "session": "ps_a",
} | {"charge": "77", "endpoint": "whe_ours"}
GIVEN = {
    "--name": "x",
    "--monta-url": "http://localhost:9/api/v1",
    "--client-id": "c",
    "--paying-team-id": "1",
    "--provider": "p",
    "--amount": "1",
    "--reason": "r",
    "--note": "n",
    "--card": "c",
    "--month": "2026-10",
    "--url": "https://maker.test/events",
    "code": "other",
}
"""What commands need besides ids."""
MORE: dict[tuple[str, ...], tuple[str, ...]] = {
    ("operator", "set"): ("--name", "x"),
    ("terminal", "set"): ("--name", "x"),
    ("terminal", "key", "set"): ("--name", "x"),
    ("terminal", "add"): ("--charge-point", "999", "--unchecked"),
    ("ops-key", "set"): ("--name", "x"),
    ("endpoint", "set"): ("--all-events",),
    ("endpoint", "add"): ("--provider", "p"),
}
"""Options of which a command needs one."""


class Try(NamedTuple):
    command: tuple[str, ...]
    arguments: tuple[str, ...]


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
    """Every command with its parameters, as typer has them."""
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))
    else:
        yield path, [p for p in command.params if p.name not in ("help", "as_json")]


def kind_of(path: tuple[str, ...], parameter: Any) -> str | None:
    """Which kind of id a parameter takes; None: it takes no id of ours."""
    name = parameter.opts[0].removeprefix("--")
    if name == "key":
        return "ops-key" if path[0] == "ops-key" else "key"
    return name.removesuffix("_id") if name.removesuffix("_id") in IDS else None


def spelled(parameter: Any, value: str) -> tuple[str, ...]:
    return (parameter.opts[0], value) if parameter.param_type_name == "option" else (value,)


def tries(path: tuple[str, ...], parameters: list[Any], files: dict[str, str]) -> Iterator[Try]:
    """Each id parameter with each id of another kind; within `--operator` also with the other operator's own."""
    kinds = {p.opts[0]: kind for p in parameters if (kind := kind_of(path, p)) is not None}
    scoped = next((p for p in parameters if p.opts[0] == "--operator"), None)
    for tried in parameters:
        kind = kinds.get(tried.opts[0])
        if kind is None:
            continue
        needed = [p for p in parameters if p is not tried and (p.required or p.opts[0] == "--operator")]
        about_operator = kind == "operator"
        within = scoped is not None and not about_operator
        for name, foreign in IDS.items():
            if name == kind and not within:
                continue  # a command is run by who administers all operators
            arguments = spelled(tried, foreign)
            for p in needed:
                if p.opts[0] == "--operator" and about_operator:
                    continue  # the same operator is named once
                value = OWN.get(kinds.get(p.opts[0], "")) or files.get(p.opts[0]) or GIVEN[p.opts[0]]
                arguments += spelled(p, value)
            instead = path == ("endpoint", "add") and kind == "terminal"
            yield Try(path, arguments + (() if instead else MORE.get(path, ())))


async def provide(database_url: str) -> None:
    """Two operators, each with a terminal, keys, a session with a charge, and an orphan charge."""
    async with provisioned(database_url) as database:
        theirs = with_charge(
            a_session("theirs", terminal=TRM_OTHER, operator_id=OP_OTHER, fingerprint="c"), "78"
        )
        await record(database, a_session())
        await record(database, theirs)
        await find(database, "77", ChargeState.COMPLETED)
        await find(database, "88", ChargeState.COMPLETED, operator_id=OP_OTHER)
        await add_ops_keys(database)
        await add_endpoints(database)


async def add_ops_keys(database: Database) -> None:
    for key_id, operator_id in (("opk_ours", OP_ONE), ("opk_theirs", OP_OTHER)):
        key = ApiKey(
            id=KeyId(key_id),
            kind=KeyKind.OPS,
            operator_id=operator_id,
            role=Role.OPERATE,
            name="x",
            created_at=NOW,
        )
        async with database.transaction() as connection:
            await keys.add(connection, (key, keys.key_hash(key_id)))


async def add_endpoints(database: Database) -> None:
    for endpoint_id, operator_id in (("whe_ours", OP_ONE), ("whe_theirs", OP_OTHER)):
        endpoint = Endpoint(
            id=endpoint_id,
            operator_id=operator_id,
            provider="p",
            url="https://maker.test/events",
            created_at=NOW,
        )
        async with database.transaction() as connection:
            await endpoints.add(connection, SecretBox(SECRET_KEY), endpoint, "whsec_c2VjcmV0")


def security_lines(printed: str) -> list[Any]:
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("stream") == "security"]


def test_no_command_does_anything_by_an_id_of_another_kind_or_of_another_operator(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(provide(database_url))
    secret, tariff, table = tmp_path / "secret", tmp_path / "tariff", tmp_path / "table"
    secret.write_text("s\n", encoding="utf-8")
    price = '{"price_components": [{"type": "ENERGY", "price": 0.5, "step_size": 1}]}'
    tariff.write_text(f'{{"currency": "EUR", "elements": [{price}]}}', encoding="utf-8")
    table.write_text("provider,name,charge_points\np,x,999\n", encoding="utf-8")
    files = {"--client-secret-file": str(secret), "--file": str(tariff)}
    environment = {"TAPWATT_DATABASE_URL": database_url, "TAPWATT_SECRET_KEY": SECRET_KEY, "TERM": "dumb"}
    before, done, wrong = asyncio.run(contents(database_url)), 0, []
    for path, parameters in commands(typer.main.get_command(APP)):
        given = files | ({"--file": str(table)} if path[0] == "terminal" else {})
        for one in tries(path, parameters, given):
            line = [*one.command, *one.arguments]
            monkeypatch.setattr("sys.argv", ["tapwatt", *line])
            found = invoke(line, env=environment)
            recorded = [each["result"] for each in security_lines(found.output)]
            begun = found.exit_code == 1 and path[-1] not in READING
            if found.exit_code not in (1, 2) or recorded != (["failed"] if begun else []):
                wrong.append(
                    f"{line}: {found.exit_code} {recorded} {found.output[:300]} {found.exception!r:.300}"
                )
            done += 1
    assert wrong == [], "\n".join(wrong)
    assert asyncio.run(contents(database_url)) == before
    assert done >= FEWEST_TRIES, f"{done} tries"
