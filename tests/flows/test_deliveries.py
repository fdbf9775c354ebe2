"""Deliveries of one operator: read one after the other, and in small transactions beside other operators."""

import asyncio
import hashlib
from typing import Any

import pytest

from app.domain.units.ids import OperatorId
from app.flows.deliveries import ENTRIES_BESIDE_OTHERS, Deliveries, Signed
from app.store.sessions.deliveries import KeptDelivery

pytestmark = pytest.mark.anyio

ONE, OTHER = OperatorId("op_one"), OperatorId("op_other")


class Busy:
    """A database that serves other operators or does not."""

    def __init__(self, *, serves_others: bool) -> None:
        self.serves_others = serves_others


async def test_one_delivery_of_an_operator_is_read_between_two_turns_of_the_event_loop() -> None:
    deliveries, turn, read = Deliveries(), 0, []

    async def take(operator_id: OperatorId) -> None:
        await deliveries.next_to_read(operator_id)
        read.append((operator_id, turn))

    tasks = [asyncio.create_task(take(ONE)) for _ in range(5)] + [asyncio.create_task(take(OTHER))]
    tasks[1].cancel()
    while not all(task.done() for task in tasks):
        turn += 1
        await asyncio.sleep(0)
    ones = [at for whose, at in read if whose == ONE]
    assert len(ones) == len(set(ones)) == 4
    assert (OTHER, ones[0]) in read, "others do not wait for it"


@pytest.mark.parametrize(("serves_others", "batches"), [(False, [1, 1, 7, 1]), (True, [1, 1, 4, 4])])
async def test_a_flood_shares_small_transactions_beside_others_and_large_ones_alone(
    serves_others: bool, batches: list[int]
) -> None:
    written: list[int] = []

    async def write(signed: Any) -> None:
        written.append(len(signed))
        await asyncio.sleep(0)

    database: Any = Busy(serves_others=serves_others)
    group = Deliveries().groups(ONE, write, write, database).keep
    await asyncio.gather(*(group.put(delivery(ENTRIES_BESIDE_OTHERS // 4)) for _ in range(10)))
    assert written == batches


def delivery(entries: int) -> Signed:
    unread: Any = [None] * entries
    kept = KeptDelivery(digest=hashlib.sha256().digest(), signature="", body=b"")
    return Signed((), tuple(unread), kept)
