"""Tests of app/cli/operators, app/cli/policies, app/cli/terminals, app/cli/terminal_csv.

Operators and terminals: shown, changed, disabled and removed by command; terminals in and out as CSV.
"""

import asyncio
import csv
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.domain.units.ids import OperatorId
from app.monta.ports import Token
from app.monta_access import SharedTokens
from app.store.db.database import Database
from app.store.db.secret_box import SecretBox
from app.store.operators.operators import Operator, Operators
from tests.commands import invoke
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
)

NOWHERE = "http://localhost:9/api/v1"
"""Nobody listens there: commands warn that nothing was compared."""


@pytest.fixture
def tenants(database_url: str) -> str:
    """The URL of a database with two operators and a terminal each; the first one has a session."""

    async def make() -> None:
        async with provisioned(database_url) as database:
            await record(database, a_session())

    asyncio.run(make())
    return database_url


def run(url: str, *arguments: str) -> tuple[int, str]:
    settings = {"TAPWATT_DATABASE_URL": url, "TAPWATT_SECRET_KEY": SECRET_KEY, "TERM": "dumb"}
    found = invoke(arguments, env=settings)
    return found.exit_code, f"{found.output} {found.exception or ''}"


def facts(url: str, *arguments: str) -> Any:
    settings = {"TAPWATT_DATABASE_URL": url, "TAPWATT_SECRET_KEY": SECRET_KEY}
    found = invoke([*arguments, "--json"], env=settings)
    assert found.exit_code == 0, f"{found.output} {found.exception}"
    return json.loads(found.stdout)


def execute(url: str, statement: str) -> list[tuple[Any, ...]]:
    async def done() -> list[tuple[Any, ...]]:
        database = Database(url)
        try:
            async with database.transaction() as connection:
                return [tuple(row) for row in await connection.execute(text(statement))]
        finally:
            await database.close()

    return asyncio.run(done())


def operator(url: str, operator_id: OperatorId) -> Operator:
    async def read() -> Operator | None:
        database = Database(url)
        try:
            async with database.read() as connection:
                return await Operators(SecretBox(SECRET_KEY)).get(connection, operator_id)
        finally:
            await database.close()

    found = asyncio.run(read())
    assert found is not None
    return found


def test_an_operators_account_is_changed_and_its_secret_follows_the_new_address(
    tenants: str, tmp_path: Path
) -> None:
    async def tokens(save: bool) -> Token | None:
        database = Database(tenants)
        shared, end = SharedTokens(database, SecretBox(SECRET_KEY)), NOW + timedelta(days=9)
        try:
            return await (shared.save(OP_ONE, Token("a", end, "r", end)) if save else shared.load(OP_ONE))
        finally:
            await database.close()

    asyncio.run(tokens(True))
    account = ["--name", "Nordlade A/S", "--monta-url", NOWHERE, "--paying-team-id", "12"]
    zone = ["--time-zone", "Europe/Copenhagen", "--hold-max", "300"]
    changed = facts(tenants, "operator", "set", OP_ONE, *account, *zone)
    assert (changed["paying_team_id"], changed["hold_max"]) == ("12", "300")
    now = operator(tenants, OP_ONE)
    assert (now.name, now.monta_url, now.paying_team_id) == ("Nordlade A/S", NOWHERE, "12")
    assert (now.time_zone, now.client_secret) == ("Europe/Copenhagen", "the client secret")
    ended = asyncio.run(tokens(False))
    assert ended is not None
    assert ended.access_expires_at < NOW, "a token of the account before is not sent to the new address"
    secret = tmp_path / "secret"
    secret.write_text("another secret\n", encoding="utf-8")
    told = facts(tenants, "operator", "set", "--operator", OP_ONE, "--client-secret-file", str(secret))
    assert "another secret" not in str(told)
    assert operator(tenants, OP_ONE).client_secret == "another secret"
    shown = facts(tenants, "operator", "show", OP_ONE)
    assert (shown["name"], shown["monta_url"], shown["payment_sessions"]) == ("Nordlade A/S", NOWHERE, "1")
    assert "secret" not in " ".join(map(str, shown.values()))


def test_damaged_secrets_are_set_again(tenants: str, tmp_path: Path) -> None:
    execute(
        tenants, "UPDATE operators SET client_secret = '\\x02', webhook_secret = '\\x02' WHERE id = 'op_one'"
    )
    status, told = run(tenants, "operator", "set", OP_ONE, "--monta-url", NOWHERE)
    assert (status, "client_secret of op_one" in told) == (1, True)
    secret = tmp_path / "secret"
    secret.write_text("again", encoding="utf-8")
    renewed = facts(tenants, "operator", "change-webhook-secret", "--operator", OP_ONE, "--at-once")
    facts(tenants, "operator", "set", OP_ONE, "--monta-url", NOWHERE, "--client-secret-file", str(secret))
    now = operator(tenants, OP_ONE)
    assert (now.client_secret, now.webhook_secret) == ("again", renewed["webhook_secret"])


def test_an_operator_is_disabled_and_enabled_and_only_an_empty_one_removed(tenants: str) -> None:
    since = facts(tenants, "operator", "disable", OP_ONE)["disabled_at"]
    assert facts(tenants, "operator", "disable", OP_ONE)["disabled_at"] == since
    assert "disabled since" in run(tenants, "operator", "list")[1]
    assert facts(tenants, "operator", "enable", OP_ONE)["disabled_at"] is None

    status, told = run(tenants, "operator", "remove", OP_ONE)
    assert (status, f"tapwatt operator disable {OP_ONE}" in told) == (1, True)
    status, told = run(tenants, "operator", "remove", OP_OTHER)
    assert (status, "tapwatt terminal remove" in told) == (1, True)
    facts(tenants, "ops-key", "add", "--operator", OP_OTHER)
    assert facts(tenants, "terminal", "remove", TRM_OTHER) == {"removed": TRM_OTHER}
    assert facts(tenants, "operator", "remove", OP_OTHER) == {"removed": OP_OTHER}
    left = "SELECT (SELECT count(*) FROM operators), (SELECT count(*) FROM api_keys), (SELECT count(*) FROM terminals)"
    assert execute(tenants, left) == [(1, 1, 1)]


def test_what_monta_does_not_confirm_ends_a_check_with_status_one(tenants: str) -> None:
    facts(tenants, "operator", "set", OP_ONE, "--monta-url", NOWHERE)
    status, told = run(tenants, "operator", "check", OP_ONE, "--json")
    assert status == 1
    assert '"ok": false' in told
    assert "not compared with Monta" in told


def test_a_terminal_is_shown_and_changed_and_one_with_history_is_kept(tenants: str) -> None:
    assert facts(tenants, "terminal", "show", TRM_ONE)["charge_points"] == "101 102 103 104"
    points = ["--remove-charge-point", "101", "--add-charge-point", "77", "--unchecked"]
    changed = facts(tenants, "terminal", "set", TRM_ONE, "--name", "lane 4", *points)
    assert (changed["name"], changed["charge_points"]) == ("lane 4", "77 102 103 104")
    only = facts(tenants, "terminal", "set", "--terminal", TRM_ONE, "--charge-point", "102")
    assert only["charge_points"] == "102"
    assert [t["terminal_id"] for t in facts(tenants, "terminal", "list", "--operator", OP_ONE)["data"]] == [
        TRM_ONE
    ]
    assert execute(tenants, "SELECT status FROM payment_sessions") == [("authorized",)]
    status, told = run(tenants, "terminal", "remove", TRM_ONE)
    assert (status, "tapwatt terminal key revoke" in told) == (1, True)


def test_charge_points_that_are_new_to_a_terminal_are_compared_with_monta(tenants: str) -> None:
    facts(tenants, "operator", "set", OP_ONE, "--monta-url", NOWHERE)
    change = ["terminal", "set", TRM_ONE, "--add-charge-point"]
    status, told = run(tenants, *change, "77")
    assert (status, "not compared with Monta" in told, "tapwatt operator check" in told) == (0, True, True)
    status, told = run(tenants, *change, "78", "--unchecked")
    assert (status, "not compared" in told) == (0, False)
    status, told = run(tenants, *change, "78", "--name", "known ones are not asked about")
    assert (status, "not compared" in told) == (0, False)
    status, told = run(tenants, "terminal", "set", TRM_ONE, "--site", "17")
    assert (status, "Nothing was added or changed" in told) == (1, True)
    assert facts(tenants, "terminal", "show", TRM_ONE)["charge_points"] == "77 78 101 102 103 104"


def test_terminals_come_in_and_go_out_as_csv_all_or_none(tenants: str, tmp_path: Path) -> None:
    rows = [f"tapwatt,lane {n},{1000 + n} {2000 + n}" for n in range(299)] + ["tapwatt,@lane,1 2"]
    file = tmp_path / "terminals.csv"
    file.write_text("\ufeffprovider,name,charge_points\n" + "\n".join(rows), encoding="utf-8")
    command = ["terminal", "import", "--operator", OP_ONE, "--file", str(file), "--unchecked"]
    status, told = run(tenants, *command)
    assert status == 0, told
    added = list(csv.DictReader(io.StringIO(told.strip())))
    assert len({row["api_key"] for row in added}) == 300
    assert (added[7]["name"], added[7]["charge_points"]) == ("lane 7", "1007 2007")
    assert execute(tenants, "SELECT count(*) FROM api_keys WHERE kind = 'terminal'") == [(302,)]

    status, told = run(tenants, *command)
    assert (status, "lane 0" in told, "Nothing was added" in told) == (1, True, True)
    status, told = run(tenants, "terminal", "list", "--operator", OP_ONE, "--csv")
    listed = list(csv.DictReader(io.StringIO(told.strip())))
    assert {row["name"] for row in listed} == {"lane", "'@lane", *(f"lane {n}" for n in range(299))}
    file.write_text(told.strip().replace("lane", "track"), encoding="utf-8")
    assert len(facts(tenants, *command)["data"]) == 301, "what goes out comes in"
    status, told = run(tenants, "terminal", "list", "--operator", OP_ONE, "--json")
    assert "@track" in {row["name"] for row in json.loads(told)["data"]}


WRONG_FILES = {
    "name,charge_points\nx,1": "missing: provider",
    "provider;name;charge_points\ntapwatt;one;1 x": "line 2: charge_points",
    "provider,name,charge_points\na b,one,1\ntapwatt,,2\ntapwatt,three,": "line 3: name",
    "provider,name,charge_points\ntapwatt,one,1\ntapwatt,one,2": "'one' is there twice",
    "provider,name,charge_points\ntapwatt,one,1,2": "line 2: it has more cells",
    "provider,name,charge_points": "no terminals",
    'provider,name,charge_points\ntapwatt,"one,1': "not CSV",
    "provider,name,charge_points\n" + "tapwatt,n,1\n" * 2001: "more than 2000",
}


@pytest.mark.parametrize("content", WRONG_FILES, ids=list(WRONG_FILES.values()))
def test_a_file_that_is_not_right_adds_nothing_and_says_where(
    tenants: str, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "terminals.csv"
    file.write_text(content, encoding="utf-8")
    status, told = run(tenants, "terminal", "import", "--operator", OP_ONE, "--file", str(file))
    assert (status, WRONG_FILES[content] in told) == (1, True), told
    assert execute(tenants, "SELECT count(*) FROM terminals") == [(2,)]


def test_a_wrong_argument_says_what_to_do(tenants: str, tmp_path: Path) -> None:
    new = ["terminal", "add", "--operator", OP_ONE, "--provider", "p", "--name", "n"]
    both = ["terminal", "set", TRM_ONE, "--name", "not this either", "--unchecked"]
    cases: list[tuple[list[str], str]] = [
        (["operator", "show"], "tapwatt operator list"),
        (["operator", "show", OP_ONE, "--operator", OP_ONE], "once"),
        (["operator", "show", "op_none"], "op_none"),
        (["operator", "disable", "op_none"], "op_none"),
        (["operator", "remove", "op_none"], "op_none"),
        (["operator", "check", "op_none"], "op_none"),
        (["operator", "set", OP_ONE], "Nothing to set"),
        (["operator", "set", "op_none", "--name", "x"], "op_none"),
        (["operator", "set", OP_ONE, "--monta-url", "http://elsewhere.example"], "--monta-url"),
        (["operator", "set", OP_ONE, "--monta-url", "https://169.254.169.254/api/v1"], "public address"),
        (["operator", "set", OP_ONE, "--time-zone", "Mars/Olympus"], "--time-zone"),
        (["operator", "set", OP_ONE, "--client-secret-file", str(tmp_path / "none")], "--client-secret-file"),
        (new, "--site"),
        ([*new, "--site", "x"], "--site"),
        (["terminal", "show", "trm_none"], "tapwatt terminal list"),
        (["terminal", "set", TRM_ONE], "Nothing to set"),
        (["terminal", "set", TRM_ONE, "--charge-point", "x"], "--charge-point"),
        (["terminal", "set", TRM_ONE, "--remove-charge-point", "555"], "no charge point 555"),
        (
            ["terminal", "set", TRM_ONE, "--charge-point", "101", "--remove-charge-point", "101"],
            "revoke its keys",
        ),
        ([*both, "--add-charge-point", "9", "--remove-charge-point", "9"], "added and removed"),
        (["terminal", "set", TRM_ONE, "--site", "x"], "--site"),
        (["terminal", "remove", "trm_none"], "trm_none"),
        (["terminal", "list", "--operator", "op_none"], "op_none"),
    ]
    for arguments, words in cases:
        status, told = run(tenants, *arguments)
        assert (status, words in told) == (1, True), (arguments, told)
