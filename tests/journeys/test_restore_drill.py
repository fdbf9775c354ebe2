"""Tests of app/store/db/schema.

The drill of docs/deployment.md: its commands back up and restore a running installation (F81, F89).
"""

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.charging.charge import ENDED
from app.embedded.host import find_host
from app.flows.operator.reconcile import demand
from app.monta.transport import open_http
from app.store.db.database import Database
from app.watcher import Watcher
from tests.build_context import SECRET_KEY, build_context
from tests.journeys.checks import ended
from tests.journeys.lost_sessions import orphans_of
from tests.journeys.rig import Rig, energy_tariff, open_rig
from tests.postgres import ROOT, TestCluster, as_owner, as_service
from tests.simulator_transport import SimulatorTransport

pytestmark = pytest.mark.anyio

PAGE = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
COMMAND_S = 60


def documented(first: str) -> str:
    """The line of the page's commands that begins so."""
    (line,) = re.findall(rf"^{re.escape(first)}(?: .*)?$", PAGE, re.MULTILINE)
    assert isinstance(line, str)
    return line


async def run(line: str, folder: Path, url: str) -> str:
    """Runs a line of the page as a shell does, against one database."""
    tools = folder / "bin"
    if not tools.exists():
        tools.mkdir()
        (tools / "tapwatt").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m app "$@"\n', encoding="utf-8")
        (tools / "tapwatt").chmod(0o700)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TAPWATT_")}
    process = await asyncio.create_subprocess_shell(
        line,
        cwd=folder,
        env=kept
        | {
            "PATH": f"{tools}:{find_host(folder / 'data').binaries}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OWNER_URL": as_owner(url),
            "TAPWATT_OWNER_DATABASE_URL": as_owner(url),
            "TAPWATT_DATABASE_URL": as_service(url),
            "TAPWATT_SECRET_KEY": SECRET_KEY,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), COMMAND_S)
    assert process.returncode == 0, f"{line}\n{output.decode()}"
    return output.decode()


@pytest.fixture
def restored_url(migrated_cluster: TestCluster) -> Iterator[str]:
    """An empty database of the owner's, as `createdb` makes one."""
    with migrated_cluster.database() as url:
        yield url


async def test_F81_F89_a_restored_backup_takes_up_its_charges_and_finds_those_it_does_not_know(
    database_url: str, restored_url: str, tmp_path: Path
) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        known = await rig.authorize(106, 2000)
        await rig.until(known["id"], "charging")
        await run(documented("pg_dump"), tmp_path, database_url)
        lost = await rig.authorize(105, 2000)
        await rig.until(lost["id"], "charging")

        await run(documented("pg_restore"), tmp_path, restored_url)
        await run(documented("tapwatt migrate"), tmp_path, restored_url)
        assert known["id"] in await run(documented("tapwatt sessions"), tmp_path, restored_url)
        evidence = documented("tapwatt session evidence").replace("ps_...", known["id"])
        await run(evidence, tmp_path, restored_url)
        await run(documented("tapwatt evidence verify"), tmp_path, restored_url)

        async with open_http(SimulatorTransport(rig.monta)) as http:
            database = Database(as_service(restored_url))
            try:
                await go_on(rig, database, http)
                (orphan,) = await orphans_of(rig)
                assert orphan.session_reference == lost["id"]
                assert all(charge.state in ENDED for charge in rig.monta.charges()), "nothing runs unpaid"
                await ended(rig, known, posts=2)  # one for each payment, as before the loss
            finally:
                await database.close()


async def go_on(rig: Rig, database: Database, http: object) -> None:
    """Lets service and watcher of the rig work on another database, until what is due is done."""
    rig.context = build_context(database, rig.clock, http)  # type: ignore[arg-type]
    rig.app.state.context = rig.context
    rig.watchers = [Watcher(rig.context, name="restored")]
    await demand(rig.context)
    await rig.pass_time(1800)
