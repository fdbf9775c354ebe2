"""Deliveries are kept once, as they were sent, found by their charges, and deleted when they are old."""

import zlib
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.domain.units.ids import ChargeId, OperatorId
from app.store.db.connection import Connection
from app.store.sessions import deliveries
from app.store.sessions.deliveries import KeptDelivery
from tests.store.rows import NOW, OP_ONE, OP_OTHER, SECOND, provisioned

pytestmark = pytest.mark.anyio


def sent(digest: bytes, *charge_ids: str, body: bytes = b'{"entries": []}') -> KeptDelivery:
    return KeptDelivery(
        digest=digest, signature="sha1=00", body=zlib.compress(body, level=1), charge_ids=charge_ids
    )


async def test_a_delivery_is_kept_once_for_each_operator_and_read_as_it_was_sent(database_url: str) -> None:
    body = b'{"entries": [1, 2],  "pending": 0}'
    async with provisioned(database_url) as database, database.transaction() as connection:
        two = [sent(b"a", "7", body=body), sent(b"b", "8", "10")]
        assert await deliveries.keep(connection, OP_ONE, two, NOW) == {b"a", b"b"}
        again = [sent(b"c"), sent(b"a", "9")]
        assert await deliveries.keep(connection, OP_ONE, again, NOW + SECOND) == {b"c"}
        assert await deliveries.keep(connection, OP_OTHER, [sent(b"a")], NOW) == {b"a"}
        (found,) = await deliveries.of_charge(
            connection, OP_ONE, ChargeId("7"), since=NOW, until=NOW, limit=10
        )
        assert (found.sent_body(), found.signature, found.received_at) == (body, "sha1=00", NOW)
        since, until = NOW + SECOND, NOW + 2 * SECOND
        for charge_id in (ChargeId("7"), ChargeId("9")):
            later = await deliveries.of_charge(
                connection, OP_ONE, charge_id, since=since, until=until, limit=10
            )
            assert later == []


async def test_old_deliveries_are_deleted_oldest_first_and_of_one_operator(database_url: str) -> None:
    async with provisioned(database_url) as database, database.transaction() as connection:
        for age in range(4):
            at = NOW - timedelta(days=age)
            await deliveries.keep(connection, OP_ONE, [sent(bytes([age]))], at)
            await deliveries.keep(connection, OP_OTHER, [sent(bytes([age]))], at)
        assert await deliveries.prune(connection, OP_ONE, NOW - timedelta(days=1), limit=1) == 1
        assert await digests(connection, OP_ONE) == [b"\0", b"\1", b"\2"]
        assert await deliveries.prune(connection, OP_ONE, NOW - timedelta(days=1), limit=9) == 1
        assert await digests(connection, OP_OTHER) == [b"\0", b"\1", b"\2", b"\3"]


async def digests(connection: Connection, operator_id: OperatorId) -> list[bytes]:
    given = {"operator": operator_id}
    query = text("SELECT digest FROM deliveries WHERE operator_id = :operator ORDER BY digest")
    return (await connection.execute(query, given)).scalars()
