"""app/cli/orphans: `tapwatt orphan close`, where two operators have a charge of the same id."""

import asyncio
import os

from app.domain.charging.charge import ChargeState
from app.store.db.database import Database
from app.store.operators import orphans
from tests.commands import invoke
from tests.store.orphan_rows import find
from tests.store.rows import OP_ONE, OP_OTHER, SECRET_KEY, provisioned


async def both_have(database_url: str, charge_id: str) -> None:
    async with provisioned(database_url) as database:
        for operator_id in (OP_ONE, OP_OTHER):
            await find(database, charge_id, ChargeState.COMPLETED, operator_id=operator_id)


async def open_ones(database_url: str) -> list[str]:
    database = Database(database_url)
    try:
        async with database.transaction() as connection:
            return [o.operator_id for o in await orphans.listed(connection, None, closed=False, limit=9)]
    finally:
        await database.close()


def test_the_operator_must_be_named(database_url: str) -> None:
    asyncio.run(both_have(database_url, "77"))
    settings = {"TAPWATT_DATABASE_URL": database_url, "TAPWATT_SECRET_KEY": SECRET_KEY}
    command = ["orphan", "close", "77", "--reason", "by hand"]
    refused = invoke(command, env=settings)
    assert refused.exit_code == 1
    assert all(part in refused.output for part in (OP_ONE, OP_OTHER, "--operator"))
    done = invoke([*command, "--operator", OP_OTHER], env=settings)
    assert (done.exit_code, done.output) == (0, "closed: 77\nbecause: by hand\n")
    assert asyncio.run(open_ones(database_url)) == [OP_ONE]


def test_who_closed_it_is_kept(database_url: str) -> None:
    asyncio.run(both_have(database_url, "77"))
    settings = {"TAPWATT_DATABASE_URL": database_url, "TAPWATT_SECRET_KEY": SECRET_KEY}
    command = ["orphan", "close", "77", "--reason", "by hand", "--operator", OP_ONE]
    assert invoke(command, env=settings).exit_code == 0
    assert asyncio.run(closed_by(database_url)) == [f"command line (user {os.getuid()})"]


async def closed_by(database_url: str) -> list[str | None]:
    database = Database(database_url)
    try:
        async with database.transaction() as connection:
            listed = await orphans.listed(connection, None, closed=True, limit=9)
            return [o.closed_by for o in listed if o.closed_at is not None]
    finally:
        await database.close()
