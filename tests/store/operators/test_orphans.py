"""Charges that no session knows: which of them come first."""

import pytest

from app.domain.charging.charge import ChargeState
from app.store.operators import orphans
from tests.store.orphan_rows import find
from tests.store.rows import NOW, OP_ONE, provisioned

pytestmark = pytest.mark.anyio


async def test_one_that_runs_comes_before_older_ones_that_only_wait_for_their_price(
    database_url: str,
) -> None:
    async with provisioned(database_url) as database:
        await find(database, "1", ChargeState.STOPPED)
        await find(database, "2", ChargeState.STOPPED, after_s=1)
        await find(database, "3", ChargeState.CHARGING, after_s=2)
        await find(database, "4", ChargeState.CHARGING, after_s=3)
        async with database.transaction() as connection:
            first = await orphans.unfinished(connection, OP_ONE, 3, found_since=NOW)
    assert [orphan.charge_id for orphan in first] == ["3", "4", "1"]
