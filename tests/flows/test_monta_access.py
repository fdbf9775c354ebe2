"""app/monta_access: Tokens and rate budgets in PostgreSQL keep the contracts of app.monta, over several replicas."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from app.domain.units.ids import OperatorId
from app.monta.ports import Purpose, QuotaSeen, Token
from app.monta_access import DEFAULT_QUOTA, ReadOnlyTokens, SharedBudget, SharedTokens
from app.store.db.database import Database
from app.store.db.secret_box import SecretBox
from app.store.operators import monta_access
from tests.monta.idle_clock import ORIGIN
from tests.monta.port_contracts import BudgetContract, TokenStoreContract, pair
from tests.store.rows import OP_ONE, SECRET_KEY, provisioned

pytestmark = pytest.mark.anyio

SECOND = timedelta(seconds=1)


@dataclass
class TokenReplicas:
    """Two replicas in turn, as a load balancer would have it."""

    replicas: list[SharedTokens]
    turn: int = 0

    def _next(self) -> SharedTokens:
        self.turn += 1
        return self.replicas[self.turn % len(self.replicas)]

    async def load(self, operator: OperatorId) -> Token | None:
        return await self._next().load(operator)

    async def lease_renewal(self, operator: OperatorId, version: int, until: datetime, now: datetime) -> bool:
        return await self._next().lease_renewal(operator, version, until, now)

    async def save(self, operator: OperatorId, token: Token) -> Token:
        return await self._next().save(operator, token)


@dataclass
class BudgetReplicas:
    """The same for budgets."""

    replicas: list[SharedBudget]
    turn: int = 0

    def _next(self) -> SharedBudget:
        self.turn += 1
        return self.replicas[self.turn % len(self.replicas)]

    async def take(self, operator: OperatorId, purpose: Purpose, now: datetime) -> datetime | None:
        return await self._next().take(operator, purpose, now)

    async def observe(self, operator: OperatorId, seen: QuotaSeen, now: datetime) -> None:
        await self._next().observe(operator, seen, now)

    async def agreed(self, operator: OperatorId, limit: int, window_s: int) -> None:
        replica = self.replicas[self.turn % len(self.replicas)]  # that which has observed the same answer
        await replica.agreed(operator, limit, window_s)

    async def block(self, operator: OperatorId, until: datetime, purpose: Purpose) -> None:
        await self._next().block(operator, until, purpose)


@pytest.fixture
async def databases(database_url: str) -> AsyncIterator[list[Database]]:
    async with provisioned(database_url) as one, AsyncExitStack() as stack:
        other = Database(database_url)
        stack.push_async_callback(other.close)
        yield [one, other]


class TestSharedTokens(TokenStoreContract):
    @pytest.fixture
    def tokens(self, databases: list[Database]) -> TokenReplicas:
        box = SecretBox(SECRET_KEY)
        return TokenReplicas([SharedTokens(database, box) for database in databases])

    async def test_a_renewal_lease_that_was_taken_over_cannot_be_used_by_the_first(
        self, tokens: TokenReplicas
    ) -> None:
        until = ORIGIN + 15 * SECOND
        assert await tokens.lease_renewal(OP_ONE, 0, until, ORIGIN)
        assert await tokens.lease_renewal(OP_ONE, 0, until + 15 * SECOND, until)
        await tokens.save(OP_ONE, pair("taken over"))
        assert not await tokens.lease_renewal(OP_ONE, 0, until + 60 * SECOND, until + 30 * SECOND)
        kept = await tokens.load(OP_ONE)
        assert kept is not None
        assert kept.access == "access-taken over"


async def test_a_command_takes_the_shared_access_token_and_never_the_refresh_token(
    databases: list[Database],
) -> None:
    shared = SharedTokens(databases[0], SecretBox(SECRET_KEY))
    read_only = ReadOnlyTokens(shared)
    assert await read_only.load(OP_ONE) is None
    await shared.save(OP_ONE, pair("shared"))
    taken = await read_only.load(OP_ONE)
    assert taken is not None
    assert (taken.access, taken.refresh) == ("access-shared", "")
    await read_only.save(OP_ONE, pair("its own"))
    kept = await shared.load(OP_ONE)
    assert kept is not None
    assert (kept.access, bool(kept.refresh)) == ("access-shared", True)


class TestSharedBudget(BudgetContract):
    @pytest.fixture
    def budget(self, databases: list[Database]) -> BudgetReplicas:
        return BudgetReplicas([SharedBudget(database) for database in databases])

    async def test_what_is_granted_to_a_crowd_on_two_replicas_is_exact_for_each_purpose(
        self, budget: BudgetReplicas
    ) -> None:  # F55
        await budget.take(OP_ONE, Purpose.STOP, ORIGIN)
        await budget.observe(OP_ONE, QuotaSeen(50, 60, 50, 60), ORIGIN)
        wanted = [Purpose.READ] * 60 + [Purpose.START] * 30
        granted = [p for p, wait in await self._asked(budget, wanted) if wait is None]
        assert len(granted) == 45, "stops keep their tenth"
        assert granted.count(Purpose.READ) <= 35, "starts keep their third"
        stops = await self._asked(budget, [Purpose.STOP] * 20)
        assert [wait for _, wait in stops].count(None) == 20, "a stop is always tried"

    @staticmethod
    async def _asked(budget: BudgetReplicas, wanted: list[Purpose]) -> list[tuple[Purpose, datetime | None]]:
        answers = await asyncio.gather(*(budget.take(OP_ONE, purpose, ORIGIN) for purpose in wanted))
        return list(zip(wanted, answers, strict=True))

    async def test_a_new_window_begins_whole_and_once(self, budget: BudgetReplicas) -> None:
        await budget.take(OP_ONE, Purpose.STOP, ORIGIN)
        await budget.observe(OP_ONE, QuotaSeen(4, 60, 0, 60), ORIGIN)
        assert await budget.take(OP_ONE, Purpose.START, ORIGIN) == ORIGIN + 60 * SECOND
        later = ORIGIN + 61 * SECOND
        answers = await asyncio.gather(*(budget.take(OP_ONE, Purpose.START, later) for _ in range(9)))
        assert answers.count(None) == 4
        assert {a for a in answers if a} == {later + 60 * SECOND}

    async def test_a_spent_window_and_a_block_are_both_waited_for(self, budget: BudgetReplicas) -> None:
        await budget.take(OP_ONE, Purpose.STOP, ORIGIN)
        await budget.observe(OP_ONE, QuotaSeen(10, 60, 2, 60), ORIGIN)
        await budget.block(OP_ONE, ORIGIN + 30 * SECOND, Purpose.STOP)
        assert await budget.take(OP_ONE, Purpose.READ, ORIGIN) == ORIGIN + 60 * SECOND
        assert await budget.take(OP_ONE, Purpose.STOP, ORIGIN) == ORIGIN + 30 * SECOND

    @pytest.mark.parametrize(
        "seen",
        [
            QuotaSeen(None, None, None, None),
            QuotaSeen(0, 60, 0, 60),
            QuotaSeen(-5, 60, 3, 60),
            QuotaSeen(1000, 600, None, 5),
        ],
    )
    async def test_headers_that_say_nothing_change_nothing(
        self, budget: BudgetReplicas, databases: list[Database], seen: QuotaSeen
    ) -> None:
        await budget.take(OP_ONE, Purpose.STOP, ORIGIN)
        await budget.observe(OP_ONE, seen, ORIGIN)
        assert await self._left(databases[0]) == (DEFAULT_QUOTA - 1, DEFAULT_QUOTA)

    async def test_headers_that_make_no_sense_are_held_within_bounds(
        self, budget: BudgetReplicas, databases: list[Database]
    ) -> None:
        await budget.take(OP_ONE, Purpose.STOP, ORIGIN)
        await budget.observe(OP_ONE, QuotaSeen(1000, -1, -7, 10**9), ORIGIN)
        assert await self._left(databases[0]) == (0, 1000)
        retry_at = await budget.take(OP_ONE, Purpose.READ, ORIGIN)
        assert retry_at == ORIGIN + timedelta(days=1)

    async def test_a_replica_that_has_counted_nothing_does_not_raise_the_shared_count(
        self, budget: BudgetReplicas, databases: list[Database]
    ) -> None:
        await budget.take(OP_ONE, Purpose.STOP, ORIGIN)
        await budget.observe(OP_ONE, QuotaSeen(1000, 600, 500, 60), ORIGIN)
        await SharedBudget(databases[1]).observe(OP_ONE, QuotaSeen(1000, 600, 700, 60), ORIGIN)
        assert await self._left(databases[0]) == (500, 1000)

    async def test_of_answers_that_come_together_the_one_that_shows_the_least_counts(
        self, databases: list[Database]
    ) -> None:
        budget = SharedBudget(databases[0])
        await budget.take(OP_ONE, Purpose.STOP, ORIGIN)
        seen = [QuotaSeen(5000, 600, left, 600) for left in (4990, 4980, 4985, 4995)]
        before = QuotaSeen(5000, 600, 12, 30)
        await asyncio.gather(*(budget.observe(OP_ONE, each, ORIGIN) for each in [*seen, before]))
        assert await self._left(databases[0]) == (4980, 5000)

    async def test_another_quota_in_the_same_window_replaces_the_assumed_one(
        self, databases: list[Database]
    ) -> None:
        budget = SharedBudget(databases[0])
        await budget.take(OP_ONE, Purpose.STOP, ORIGIN)
        await budget.observe(OP_ONE, QuotaSeen(5000, 600, 4998, 600), ORIGIN)
        assert await self._left(databases[0]) == (4998, 5000)

    @staticmethod
    async def _left(database: Database) -> tuple[int, int]:
        async with database.transaction() as connection:
            return (await monta_access.budget_left(connection))[OP_ONE]
