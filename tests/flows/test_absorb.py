"""Tests of app/flows/webhook/absorb: it goes on for every operator, whatever happened to one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from app.domain.units.ids import OperatorId, SessionId
from app.flows.deliveries import Filling
from app.flows.webhook.absorb import keep_absorbing
from app.store.db import scope
from tests.conftest import PATIENCE_S

pytestmark = pytest.mark.anyio


class Failing:
    """A database that is away for the first transactions, one by one."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.scopes: list[str] = []
        self.reached = asyncio.Event()

    @contextlib.asynccontextmanager
    async def transaction(self, **_: object) -> AsyncIterator[Any]:
        self.scopes.append(scope.current())
        if self.errors:
            raise self.errors.pop(0)
        self.reached.set()
        await asyncio.Event().wait()
        yield None


async def test_sessions_of_the_next_operator_follow_whatever_failed() -> None:
    names = [OperatorId(f"op_{number}") for number in range(3)]
    database, filling = Failing(TimeoutError(), ValueError("a row that cannot be read")), Filling()
    clock = SimpleNamespace(now=lambda: None, monotonic=lambda: 0.0)
    context: Any = SimpleNamespace(
        deliveries=SimpleNamespace(filling=filling), clock=clock, database=database
    )
    for name in names:
        filling.add(name, [SessionId("ps_1")])
    absorbing = asyncio.create_task(keep_absorbing(context))
    async with asyncio.timeout(PATIENCE_S):
        await database.reached.wait()
    assert database.scopes == names, "each is limited to its operator's rows"
    absorbing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await absorbing
