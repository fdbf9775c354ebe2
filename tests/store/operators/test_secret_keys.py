"""Tests of app/store/operators/secret_keys: the first operator is added while a process starts."""

from typing import Any, cast

import pytest

from app.store.db.connection import Connection
from app.store.db.database import Database
from app.store.db.secret_box import SecretBox
from app.store.operators.secret_keys import check
from tests.store.rows import SECRET_KEY, provisioned

pytestmark = pytest.mark.anyio


class AddsAfterTheFirstLook:
    """A connection beside which the first operators are added, after its first statement."""

    def __init__(self, connection: Connection, url: str) -> None:
        self._connection, self._url, self._added = connection, url, False

    async def execute(self, *given: Any) -> Any:
        found = await self._connection.execute(*given)
        if not self._added:
            self._added = True
            async with provisioned(self._url):
                pass
        return found


async def test_F90_the_first_operator_that_comes_between_two_looks_means_no_wrong_key(
    database_url: str,
) -> None:
    database, box = Database(database_url), SecretBox(SECRET_KEY)
    try:
        async with database.read() as connection:
            looking = cast(Connection, AddsAfterTheFirstLook(connection, database_url))
            assert await check(looking, box) == box.key_id
    finally:
        await database.close()
