"""Tests of app/flows/operator: What an operator costs while nothing happens."""

import pytest

from app.store.db import statements
from tests.journeys.rig import open_rig

pytestmark = pytest.mark.anyio


async def test_an_hour_without_sessions_compiles_no_statement_anew(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sync, comparison and renewal of tokens: building and compiling their statements was a quarter of their CPU."""
    compiled: list[str] = []

    def watched(statement: object, params: statements.Params) -> statements.Statement:
        compiled.append(str(statement))
        return compile_now(statement, params)

    compile_now = statements._compile
    async with open_rig(database_url) as rig:
        await rig.pass_time(7500)
        monkeypatch.setattr(statements, "_compile", watched)
        began = rig.clock.now()
        await rig.pass_time(3600)
        asked = {line.path.rpartition("/")[2] for line in rig.monta.requests if line.at >= began}
        assert asked >= {"charge-points", "charges", "refresh"}
        assert compiled == []
