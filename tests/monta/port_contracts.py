"""What every implementation of the ports must keep: subclass, give the fixture, and the tests run against it.

    class TestPostgresTokenStore(TokenStoreContract):
        @pytest.fixture
        async def tokens(self, database_url: str) -> TokenStore: ...

Override `operator` (and `other_operator`) when the store needs a row for each.
"""

import asyncio
from datetime import timedelta

import pytest

from app.domain.units.ids import OperatorId
from app.monta.ports import Budget, Purpose, QuotaSeen, Token, TokenStore
from tests.monta.idle_clock import ORIGIN

LEASE = timedelta(seconds=15)
SECOND = timedelta(seconds=1)


def pair(name: str) -> Token:
    return Token(
        access=f"access-{name}",
        access_expires_at=ORIGIN + timedelta(hours=1, microseconds=59724),
        refresh=f"refresh-{name}",
        refresh_expires_at=ORIGIN + timedelta(hours=24),
    )


class OperatorFixtures:
    """Two operators that share nothing."""

    @pytest.fixture
    def operator(self) -> OperatorId:
        return OperatorId("op_one")

    @pytest.fixture
    def other_operator(self) -> OperatorId:
        return OperatorId("op_other")


class TokenStoreContract(OperatorFixtures):
    """The contract of `TokenStore`; give a fixture `tokens` with nothing in it."""

    async def test_there_is_no_pair_at_first(self, tokens: TokenStore, operator: OperatorId) -> None:
        assert await tokens.load(operator) is None

    async def test_a_kept_pair_comes_back_exactly_with_version_one(
        self, tokens: TokenStore, operator: OperatorId
    ) -> None:
        kept = await tokens.save(operator, pair("a"))
        assert kept.version == 1
        assert await tokens.load(operator) == kept
        assert (kept.access, kept.refresh) == ("access-a", "refresh-a")
        assert kept.access_expires_at == ORIGIN + timedelta(hours=1, microseconds=59724)
        assert kept.refresh_expires_at == ORIGIN + timedelta(hours=24)

    async def test_the_version_rises_with_each_pair(self, tokens: TokenStore, operator: OperatorId) -> None:
        versions = [(await tokens.save(operator, pair(name))).version for name in "abc"]
        assert versions == [1, 2, 3]

    async def test_only_one_leads_until_its_lease_ends(
        self, tokens: TokenStore, operator: OperatorId
    ) -> None:
        assert await tokens.lease_renewal(operator, 0, ORIGIN + LEASE, ORIGIN)
        assert not await tokens.lease_renewal(operator, 0, ORIGIN + LEASE + SECOND, ORIGIN + SECOND)
        after = ORIGIN + LEASE
        assert await tokens.lease_renewal(operator, 0, after + LEASE, after)

    async def test_no_renewal_lease_is_granted_for_a_pair_that_is_no_longer_the_newest(
        self, tokens: TokenStore, operator: OperatorId
    ) -> None:
        await tokens.save(operator, pair("a"))
        await tokens.save(operator, pair("b"))
        assert not await tokens.lease_renewal(operator, 0, ORIGIN + LEASE, ORIGIN)
        assert not await tokens.lease_renewal(operator, 1, ORIGIN + LEASE, ORIGIN)
        assert await tokens.lease_renewal(operator, 2, ORIGIN + LEASE, ORIGIN)

    async def test_keeping_a_pair_ends_the_lead(self, tokens: TokenStore, operator: OperatorId) -> None:
        assert await tokens.lease_renewal(operator, 0, ORIGIN + LEASE, ORIGIN)
        await tokens.save(operator, pair("a"))
        assert await tokens.lease_renewal(operator, 1, ORIGIN + LEASE, ORIGIN)

    async def test_of_many_who_ask_at_once_one_leads(
        self, tokens: TokenStore, operator: OperatorId
    ) -> None:  # F28
        asked = [tokens.lease_renewal(operator, 0, ORIGIN + LEASE, ORIGIN) for _ in range(50)]
        assert sum(await asyncio.gather(*asked)) == 1

    async def test_operators_do_not_share_pairs_or_leads(
        self, tokens: TokenStore, operator: OperatorId, other_operator: OperatorId
    ) -> None:
        await tokens.save(operator, pair("a"))
        assert await tokens.load(other_operator) is None
        assert await tokens.lease_renewal(operator, 1, ORIGIN + LEASE, ORIGIN)
        assert await tokens.lease_renewal(other_operator, 0, ORIGIN + LEASE, ORIGIN)


class BudgetContract(OperatorFixtures):
    """The contract of `Budget`; give a fixture `budget` that has counted nothing."""

    @staticmethod
    async def _of_ten(budget: Budget, operator: OperatorId) -> None:
        """A quota of ten in a window that has just begun. Monta's headers come only with a first answer."""
        assert await budget.take(operator, Purpose.STOP, ORIGIN) is None
        await budget.observe(operator, QuotaSeen(10, 60, 10, 60), ORIGIN)

    async def test_exactly_the_quota_is_granted_to_many_who_ask_at_once(
        self, budget: Budget, operator: OperatorId
    ) -> None:
        await self._of_ten(budget, operator)
        asked = [budget.take(operator, Purpose.START, ORIGIN) for _ in range(25)]
        answers = await asyncio.gather(*asked)
        assert answers.count(None) == 9, "the last tenth is for stops"
        assert all(ORIGIN < answer <= ORIGIN + 60 * SECOND for answer in answers if answer is not None)

    async def test_reads_end_first_then_starts_and_stops_last(
        self, budget: Budget, operator: OperatorId
    ) -> None:  # F55
        await self._of_ten(budget, operator)
        granted = {}
        for purpose in (Purpose.READ, Purpose.START):
            granted[purpose] = 0
            while await budget.take(operator, purpose, ORIGIN) is None:
                granted[purpose] += 1
        assert granted == {Purpose.READ: 7, Purpose.START: 2}
        stops = [await budget.take(operator, Purpose.STOP, ORIGIN) for _ in range(5)]
        assert stops == [None] * 5, "a stop is tried even when nothing is left"

    async def test_at_the_time_that_was_named_it_is_granted_again(
        self, budget: Budget, operator: OperatorId
    ) -> None:
        await self._of_ten(budget, operator)
        for _ in range(7):
            assert await budget.take(operator, Purpose.READ, ORIGIN) is None
        retry_at = await budget.take(operator, Purpose.READ, ORIGIN)
        assert retry_at is not None
        assert await budget.take(operator, Purpose.READ, retry_at) is None

    async def test_monta_s_lower_count_is_believed(self, budget: Budget, operator: OperatorId) -> None:
        await self._of_ten(budget, operator)
        await budget.observe(operator, QuotaSeen(10, 60, 5, 60), ORIGIN)
        answers = [await budget.take(operator, Purpose.READ, ORIGIN) for _ in range(3)]
        assert [answer is None for answer in answers] == [True, True, False]

    async def test_an_older_and_larger_count_of_montas_is_not_believed(
        self, budget: Budget, operator: OperatorId
    ) -> None:
        """Answers overtake each other: one that left Monta before our last requests does not know of them."""
        await self._of_ten(budget, operator)
        for _ in range(4):
            assert await budget.take(operator, Purpose.READ, ORIGIN) is None
        for _ in range(2):
            await budget.observe(operator, QuotaSeen(10, 60, 9, 60), ORIGIN)
        answers = [await budget.take(operator, Purpose.READ, ORIGIN) for _ in range(4)]
        assert [answer is None for answer in answers] == [True, True, True, False]

    async def test_nothing_is_granted_before_the_end_of_a_block(
        self, budget: Budget, operator: OperatorId
    ) -> None:
        until = ORIGIN + 30 * SECOND
        assert await budget.take(operator, Purpose.STOP, ORIGIN) is None
        await budget.block(operator, until, Purpose.STOP)
        await budget.block(operator, ORIGIN + 5 * SECOND, Purpose.STOP)  # a shorter one does not shorten it
        for purpose in Purpose:
            assert await budget.take(operator, purpose, until - SECOND) == until
        assert await budget.take(operator, Purpose.READ, until) is None

    async def test_F58_a_stop_goes_out_though_reads_are_blocked(
        self, budget: Budget, operator: OperatorId
    ) -> None:
        until = ORIGIN + 30 * SECOND
        assert await budget.take(operator, Purpose.READ, ORIGIN) is None
        await budget.block(operator, until, Purpose.READ)
        assert await budget.take(operator, Purpose.READ, ORIGIN) == until
        assert await budget.take(operator, Purpose.START, ORIGIN) == until
        assert await budget.take(operator, Purpose.STOP, ORIGIN) is None

    async def test_a_quota_larger_than_the_assumed_one_is_believed_whole(
        self, budget: Budget, operator: OperatorId
    ) -> None:
        assert await budget.take(operator, Purpose.READ, ORIGIN) is None
        await budget.observe(operator, QuotaSeen(100_000, 600, 99_998, 600), ORIGIN)
        for purpose in Purpose:
            assert await budget.take(operator, purpose, ORIGIN) is None

    async def test_an_agreed_quota_counts_where_answers_name_none_and_what_was_used_stays_used(
        self, budget: Budget, operator: OperatorId
    ) -> None:
        for _ in range(3):
            assert await budget.take(operator, Purpose.STOP, ORIGIN) is None
        await budget.agreed(operator, 5, 60)
        assert await budget.take(operator, Purpose.START, ORIGIN) is None
        assert await budget.take(operator, Purpose.START, ORIGIN) is None
        assert await budget.take(operator, Purpose.START, ORIGIN) is not None
        await budget.agreed(operator, 5000, 60)
        for _ in range(1001):
            assert await budget.take(operator, Purpose.START, ORIGIN) is None

    async def test_a_quota_that_answers_name_counts_more_than_an_agreed_one(
        self, budget: Budget, operator: OperatorId
    ) -> None:
        await self._of_ten(budget, operator)
        await budget.agreed(operator, 1, 60)
        for _ in range(5):
            assert await budget.take(operator, Purpose.START, ORIGIN) is None

    async def test_operators_do_not_share_a_budget(
        self, budget: Budget, operator: OperatorId, other_operator: OperatorId
    ) -> None:
        assert await budget.take(operator, Purpose.STOP, ORIGIN) is None
        await budget.block(operator, ORIGIN + 30 * SECOND, Purpose.READ)
        assert await budget.take(operator, Purpose.START, ORIGIN) is not None
        assert await budget.take(other_operator, Purpose.READ, ORIGIN) is None
