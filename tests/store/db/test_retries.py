"""Tests of app/store/db/database: which transactions are repeated, and how often (F85)."""

import random

import asyncpg
import pytest

from app.store.db import database
from app.store.db.database import MAX_TRIES, RowLocked, retry_on_serialization_failure
from app.store.db.pool import PoolTimeout

pytestmark = pytest.mark.anyio

CONFLICTS = [asyncpg.SerializationError, asyncpg.DeadlockDetectedError]
"""After these PostgreSQL has certainly undone the whole transaction."""
OTHERS = [
    *(
        kind
        for kind in vars(asyncpg.exceptions).values()
        if isinstance(kind, type) and issubclass(kind, asyncpg.PostgresError) and kind not in CONFLICTS
    ),
    asyncpg.InterfaceError,
    PoolTimeout,
    RowLocked,
    TimeoutError,
    ConnectionResetError,
    ValueError,
]


class Transaction:
    """Raises these errors, one at each call, and returns what it was given after them."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.calls = 0

    async def __call__(self, given: str, *, named: str) -> str:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return given + named


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The longest pauses that were drawn, in seconds. None is waited for."""
    drawn: list[float] = []

    def draw(least: float, most: float) -> float:
        drawn.append(most)
        return least

    monkeypatch.setattr(random, "uniform", draw)
    return drawn


@pytest.mark.parametrize("kind", CONFLICTS)
async def test_a_transaction_that_conflicts_with_another_is_repeated_twice_at_most(
    kind: type[Exception], pauses: list[float]
) -> None:
    for times in range(MAX_TRIES):
        transaction = Transaction(*[kind("conflict")] * times)
        assert await retry_on_serialization_failure(transaction)("a", named="b") == "ab"
        assert transaction.calls == times + 1
    transaction = Transaction(*[kind("conflict")] * MAX_TRIES)
    with pytest.raises(kind):
        await retry_on_serialization_failure(transaction)("a", named="b")
    assert transaction.calls == MAX_TRIES == 3
    assert pauses[-2:] == [2 * database.PAUSE_S, 4 * database.PAUSE_S], "apart, so that they meet no more"


async def test_after_any_other_error_nothing_is_repeated(pauses: list[float]) -> None:
    assert len(OTHERS) > 200
    for kind in OTHERS:
        for before in ([], [CONFLICTS[0]("conflict")]):
            transaction = Transaction(*before, kind("unknown whether it was committed"))
            with pytest.raises(kind):
                await retry_on_serialization_failure(transaction)("a", named="b")
            assert transaction.calls == len(before) + 1, kind
