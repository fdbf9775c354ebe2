"""app/monta/ports: The in-memory ports keep the contracts that the stored ones must keep."""

import pytest

from tests.monta.memory import MemoryBudget, MemoryTokenStore
from tests.monta.port_contracts import BudgetContract, TokenStoreContract

pytestmark = pytest.mark.anyio


class TestMemoryTokenStore(TokenStoreContract):
    @pytest.fixture
    def tokens(self) -> MemoryTokenStore:
        return MemoryTokenStore()


class TestMemoryBudget(BudgetContract):
    @pytest.fixture
    def budget(self) -> MemoryBudget:
        return MemoryBudget()
