"""What the worlds of one test process stand on."""

from collections.abc import Iterator

import pytest

from tests.postgres import TEMPLATE, TestCluster
from tests.world.run import Worlds


@pytest.fixture(scope="session")
def worlds(migrated_cluster: TestCluster) -> Iterator[Worlds]:
    """One database for all of them: each world begins by forgetting the one before."""
    with migrated_cluster.database(TEMPLATE) as url, Worlds(url) as worlds:
        yield worlds
