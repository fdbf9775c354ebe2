"""Tests of app/flows/terminal/request_stop.

A stop waits for no other work of its process: neither the call nor what the watcher does of it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from app.flows.context import monta_of
from app.flows.session.claim import Capacity, claim_due
from app.monta.ports import Purpose
from app.monta_access import SharedBudget
from app.store.db import pool
from app.store.db.database import Database
from app.store.db.pool import PoolTimeout
from tests.api.service import Service, open_service

pytestmark = pytest.mark.anyio

PATH = "/v1/payment-sessions"


@asynccontextmanager
async def all_in_use(database: Database) -> AsyncIterator[None]:
    """Keeps every connection busy that is not reserved."""
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(database.transaction())
        yield


@pytest.fixture
async def busy(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Service, str]]:
    """A service with one session, all of whose connections are in use."""
    monkeypatch.setattr(pool, "POOL_TIMEOUT_S", 0.5)
    async with open_service(database_url, pool_size=1) as service:
        session = await service.authorize("101", "A-1")
        async with all_in_use(service.context.database):
            with pytest.raises(PoolTimeout):
                async with service.context.database.transaction():
                    pass
            assert (await service.call("GET", f"{PATH}/{session['id']}")).status_code == 503
            yield service, session["id"]


async def test_a_stop_is_taken_while_all_connections_are_in_use(busy: tuple[Service, str]) -> None:
    service, session_id = busy
    service.context.known_keys.forget()  # as after a second: whose key it is must be looked up
    stopped = await service.call("POST", f"{PATH}/{session_id}/stop")
    assert stopped.status_code == 202, stopped.text
    many = await asyncio.gather(*(service.call("POST", f"{PATH}/{session_id}/stop") for _ in range(4)))
    assert {answer.status_code for answer in many} == {202}


async def test_a_stop_does_not_join_the_lookup_of_its_key_by_a_call_that_waits(
    busy: tuple[Service, str],
) -> None:
    service, session_id = busy
    service.context.known_keys.forget()
    read = asyncio.create_task(service.call("GET", f"{PATH}/{session_id}"))
    while not service.context.known_keys._asked:  # noqa: ASYNC110  it tells nobody
        await asyncio.sleep(0)
    assert (await service.call("POST", f"{PATH}/{session_id}/stop")).status_code == 202
    assert (await read).status_code in (200, 503)


async def test_a_watcher_claims_and_calls_while_all_connections_are_in_use(busy: tuple[Service, str]) -> None:
    service, session_id = busy
    context, operator_id = service.context, service.one.operator.operator_id
    claimed, _ = await claim_due(
        context, owner="w", capacity=Capacity(stops=1, others=1, jobs=0), busy={}, per_operator=1
    )
    assert [lease.session_id for lease in claimed] == [session_id]
    await monta_of(context, operator_id, urgent=True)
    budget, now = SharedBudget(context.database), context.clock.now()
    assert await budget.take(operator_id, Purpose.STOP, now) is None
    with pytest.raises(PoolTimeout):
        await budget.take(operator_id, Purpose.READ, now)
