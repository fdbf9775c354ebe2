"""Transactions that PostgreSQL rolled back for the sake of others: done again, whole, a few times."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError

from app.store.database import sqlstate_of

CONFLICTS = frozenset({"40001", "40P01"})
"""serialization_failure, deadlock_detected: certainly nothing of it was done."""
MAX_TRIES = 3
PAUSE_S = 0.05

P = ParamSpec("P")
T = TypeVar("T")


def again_after_conflict(transaction: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[None, None, T]]:
    """For a function that is one transaction and nothing else: run it MAX_TRIES times at most (F85).

    Any other failure, a lost COMMIT above all, is raised as it is: nobody knows what became of it.
    """

    @wraps(transaction)
    async def tried(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(1, MAX_TRIES):
            try:
                return await transaction(*args, **kwargs)
            except DBAPIError as error:
                if sqlstate_of(error) not in CONFLICTS:
                    raise
            # Full jitter: those who met in a circle do not meet again.
            await asyncio.sleep(random.uniform(0, PAUSE_S * 2**attempt))  # noqa: S311
        return await transaction(*args, **kwargs)

    return tried
