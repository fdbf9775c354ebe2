"""app/store/db/schema: An upgrade of a running installation, and the way back: old code beside a newer schema."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from app.flows.admin import queries
from app.settings import load_settings
from app.store.db.schema import MIGRATIONS, known_schemas, migrate
from app.store.db.suitability import DatabaseUnsuitable
from app.wiring import NotMigrated, ready_context
from tests.api.service import Json, Service, open_service
from tests.build_context import SECRET_KEY
from tests.postgres import ROOT, TEMPLATE, TestCluster, as_owner, as_service

pytestmark = pytest.mark.anyio

ADDITIVE = """
from alembic import op
import sqlalchemy as sa

revision, down_revision, branch_labels, depends_on = "{new}", "{old}", None, None


def upgrade():
    op.add_column("payment_sessions", sa.Column("colour", sa.Text()))
"""


class NewVersion:
    """A copy of this code with one more migration, which adds a column."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder / "newer"
        for name in ("app", "migrations"):
            shutil.copytree(ROOT / name, self.folder / name)  # compiled files too, which saves ten seconds
        assert MIGRATIONS == ROOT / "migrations"
        text = ADDITIVE.format(old=known_schemas()[0], new=self.revision)
        (self.folder / "migrations/versions/9000_adds_a_column.py").write_text(text, encoding="utf-8")
        self.environment = {name: v for name, v in os.environ.items() if not name.startswith("TAPWATT_")} | {
            "TAPWATT_DATABASE_URL": database_url,
            "TAPWATT_OWNER_DATABASE_URL": as_owner(database_url),
            "TAPWATT_SECRET_KEY": SECRET_KEY,
        }

    revision = "9000"

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "app", *command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def database_url(migrated_cluster: TestCluster) -> Iterator[str]:
    """A database of this file's own: its tables are changed."""
    with migrated_cluster.database(TEMPLATE) as url:
        yield as_service(url)


async def schema_check(service: Service) -> str | None:
    return (await queries.readiness(service.context)).schema


async def start_again(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Opens the context as `serve` and `watch` do. Raises NotMigrated."""
    for name, value in environment.items():
        if name.startswith("TAPWATT_"):
            monkeypatch.setenv(name, value)
    async with ready_context(load_settings(), environment["TAPWATT_DATABASE_URL"]):
        pass


async def test_F86_old_code_goes_on_beside_a_newer_schema_and_can_come_back(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = NewVersion(tmp_path, database_url)
    async with open_service(database_url) as old:
        before = await old.authorize("101", "A-1")
        early = newer.run("sessions")
        assert early.returncode == 1, "the new version waits for its migration"
        assert "run `tapwatt migrate`" in early.stderr

        migrated = newer.run("migrate")
        assert migrated.returncode == 0, migrated.stderr
        assert await schema_check(old) is None
        during = await old.authorize("102", "A-2")
        settled = await _captured(old, before)
        seen = newer.run("sessions")
        assert seen.returncode == 0, seen.stderr
        assert all(session["id"] in seen.stdout for session in (before, during))
        assert settled["settlement"]["status"] == "confirmed"

        await start_again(newer.environment, monkeypatch)  # the way back: the old version on the newer schema
        await asyncio.to_thread(migrate, as_owner(database_url), service_url=database_url)
        owner = await asyncpg.connect(as_owner(database_url))
        assert await owner.fetchval("SELECT version_num FROM alembic_version") == newer.revision

        await owner.execute("UPDATE schema_compatibility SET oldest_code = $1", newer.revision)
        await owner.close()
        assert "start a newer version" in (await schema_check(old) or "")
        with pytest.raises(NotMigrated, match="start a newer version"):
            await start_again(newer.environment, monkeypatch)
        with pytest.raises(DatabaseUnsuitable, match="start a newer version"):
            await asyncio.to_thread(migrate, as_owner(database_url), service_url=database_url)


async def _captured(service: Service, session: Json) -> Json:
    """Settles a session of the old version and reports its capture."""
    await service.charging(session["id"], "77")
    await service.settle(session["id"], 790)
    report = {"outcome": "captured", "amount": 790, "reference": "P-1"}
    answer = await service.call("POST", f"/v1/payment-sessions/{session['id']}/captures", report)
    assert answer.status_code == 200, answer.text
    captured: Json = answer.json()
    return captured
