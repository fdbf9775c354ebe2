"""Deliveries of one operator: read one after the other, and in small transactions beside other operators."""

import asyncio
import hashlib
from itertools import pairwise
from typing import Any, cast

import pytest

from app.domain.charging.charge import PriceUnit
from app.domain.units.ids import OperatorId, SessionId
from app.flows import deliveries
from app.flows.deliveries import (
    ENDPOINT_KEPT_S,
    ENTRIES_BESIDE_OTHERS,
    MOST_PAUSE_S,
    TURNS_OF_OTHERS,
    Deliveries,
    Endpoints,
    Filling,
    Signed,
)
from app.store.operators.operators import Operator
from app.store.sessions.deliveries import KeptDelivery
from tests.conftest import PATIENCE_S

pytestmark = pytest.mark.anyio

EXACT_S = 0.002
"""How exact the event loop's timers are, rounded up."""
ONE, OTHER = OperatorId("op_one"), OperatorId("op_other")


class Busy:
    """A database that serves other operators or does not."""

    def __init__(self, *, serves_others: bool) -> None:
        self.serves_others = serves_others


async def test_an_endpoints_operator_is_read_again_after_a_second_with_its_present_secret() -> None:
    endpoints, operator = Endpoints(), cast(Operator, object())
    endpoints.put("wh_one", operator, 100.0)
    assert endpoints.get("wh_one", 100.0 + 0.99 * ENDPOINT_KEPT_S) is operator
    assert endpoints.get("wh_one", 100.0 + ENDPOINT_KEPT_S) is None
    assert endpoints.get("wh_other", 100.0) is None


async def test_sessions_with_many_kept_readings_are_taken_by_few_and_operators_by_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deliveries, "MOST_FILLING", 5)
    filling = Filling()
    waiting = asyncio.create_task(filling.next(2))
    await asyncio.sleep(0)
    assert not waiting.done()
    ids = [SessionId(f"ps_{number}") for number in range(6)]
    filling.add(ONE, ())
    for session_id in (*ids[:4], ids[0], *ids[4:]):
        filling.add(ONE, [session_id])
    assert await waiting == (ONE, ids[:2])
    filling.add(OTHER, ids[:1])
    taken = [await filling.next(2) for _ in range(3)]
    assert taken == [(ONE, ids[2:4]), (OTHER, ids[:1]), (ONE, ids[4:5])], "of one operator five at most"
    assert not asyncio.create_task(filling.next(2)).done()


@pytest.mark.parametrize("turns", [1, TURNS_OF_OTHERS])
async def test_one_delivery_of_an_operator_is_read_in_so_many_turns_of_the_event_loop(turns: int) -> None:
    deliveries, turn, read = Deliveries(), 0, []

    async def take(operator_id: OperatorId) -> None:
        await deliveries.next_to_read(operator_id, turns)
        read.append((operator_id, turn))

    tasks = [asyncio.create_task(take(ONE)) for _ in range(5)] + [asyncio.create_task(take(OTHER))]
    tasks[1].cancel()
    while not all(task.done() for task in tasks):
        turn += 1
        await asyncio.sleep(0)
    ones = [at for whose, at in read if whose == ONE]
    first, *others = [later - one for one, later in pairwise(ones)]
    assert first >= turns
    assert others == [turns] * 2
    assert (OTHER, ones[0]) in read, "others do not wait for it"


@pytest.mark.parametrize(("serves_others", "batches"), [(False, [1, 8, 1]), (True, [1, 4, 4, 1])])
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


@pytest.mark.parametrize("serves_others", [False, True])
async def test_beside_others_a_transaction_that_decides_nothing_waits_for_as_long_as_the_last_one_took(
    serves_others: bool,
) -> None:
    loop, began_s, ended_s = asyncio.get_running_loop(), [], []

    async def write(signed: Any) -> None:
        began_s.append(loop.time())
        await asyncio.sleep(0.005)
        ended_s.append(loop.time())

    database: Any = Busy(serves_others=serves_others)
    groups = Deliveries().groups(ONE, write, write, database)
    for group in (groups.urgent, groups.later):
        await asyncio.gather(*(group.put(delivery(ENTRIES_BESIDE_OTHERS + 1)) for _ in range(3)))
        waited_s = [next_s - end_s for end_s, next_s in zip(ended_s, began_s[1:], strict=False)]
        took_s = [end_s - start_s for start_s, end_s in zip(began_s, ended_s, strict=True)]
        paused = [
            each >= min(took, MOST_PAUSE_S) - EXACT_S for each, took in zip(waited_s, took_s, strict=False)
        ]
        assert len(began_s) == (3 if serves_others else 2)
        pauses = serves_others and group is groups.later
        assert paused == [pauses] * len(waited_s), "what may decide a stop waits for no one's share"
        began_s.clear()
        ended_s.clear()


def delivery(entries: int) -> Signed:
    unread: Any = [None] * entries
    kept = KeptDelivery(digest=hashlib.sha256().digest(), signature="", body=b"")
    return Signed((), tuple(unread), tuple, PriceUnit.MAJOR, kept)


async def test_whoever_goes_away_before_its_turn_to_be_read_holds_up_no_other() -> None:
    deliveries = Deliveries()
    tasks = [asyncio.create_task(deliveries.next_to_read(ONE)) for _ in range(4)]
    await asyncio.sleep(0)  # all but the first one wait for their turn
    tasks[1].cancel()
    await asyncio.wait(tasks, timeout=PATIENCE_S)
    assert [task.cancelled() for task in tasks if task.done()] == [False, True, False, False]
