"""Commands of `tapwatt` run in this process on a database with two operators, and what is stored afterwards."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import text

from app.store.db.database import Database
from tests.commands import invoke
from tests.store.rows import SECRET_KEY, provisioned


@pytest.fixture
def tenants(database_url: str) -> str:
    """The URL of a database with two operators and a terminal each."""

    async def make() -> None:
        async with provisioned(database_url):
            pass

    asyncio.run(make())
    return database_url


def run(url: str, *arguments: str, **settings: str) -> tuple[int, str]:
    found = invoke(
        arguments,
        env={"TAPWATT_DATABASE_URL": url, "TAPWATT_SECRET_KEY": SECRET_KEY, "TERM": "dumb"} | settings,
    )
    return found.exit_code, f"{found.output} {found.exception or ''}"


def facts(url: str, *arguments: str, **settings: str) -> Any:
    status, told = run(url, *arguments, "--json", **settings)
    assert status == 0, told
    return json.loads(told)


def rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    async def read() -> list[tuple[Any, ...]]:
        database = Database(url)
        try:
            async with database.read() as connection:
                return [tuple(row) for row in await connection.execute(text(statement))]
        finally:
            await database.close()

    return asyncio.run(read())
