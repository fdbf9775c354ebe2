"""app/cli: `tapwatt doctor` and `tapwatt attention` on an installation where something is wrong."""

import asyncio
import json

from typer.testing import Result

from app.store.operators import operator_state
from app.store.operators.operator_state import CredentialStatus
from tests.commands import invoke
from tests.store.rows import NOW, OP_ONE, SECRET_KEY, provisioned


async def refused(database_url: str) -> None:
    async with provisioned(database_url) as database, database.transaction() as connection:
        status = CredentialStatus(refused_since=NOW, problem="401 from Monta")
        await operator_state.note_credential_status(connection, OP_ONE, status)


def run(database_url: str, *command: str) -> Result:
    settings = {"TAPWATT_DATABASE_URL": database_url, "TAPWATT_SECRET_KEY": SECRET_KEY}
    return invoke(command, env=settings)


def test_both_commands_name_what_is_wrong_and_what_to_do(database_url: str) -> None:
    asyncio.run(refused(database_url))
    examined = run(database_url, "doctor", "--json")
    assert examined.exit_code == 3, examined.output
    by_verdict = {(f["about"], f["verdict"]): f for f in json.loads(examined.output)}
    assert by_verdict[f"operator {OP_ONE}", "wrong"]["found"] == "401 from Monta"
    assert by_verdict["watcher", "wrong"]["what_to_do"].startswith("Start `tapwatt watch`")
    assert ("schema", "ok") in by_verdict
    assert ("connections of TAPWATT_DATABASE_URL", "ok") in by_verdict
    shown = run(database_url, "doctor")
    assert "\x1b" not in shown.output, "no colours where nobody sees them"
    assert f"WRONG    operator {OP_ONE}: 401 from Monta" in shown.output
    (item,) = json.loads(run(database_url, "attention", "--json").output)
    assert (item["code"], item["about"], item["severity"]) == ("credential_refused", OP_ONE, "critical")
    assert "credential_refused" in run(database_url, "attention").output
