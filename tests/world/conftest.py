"""The environment shared by the worlds of one test process."""

from collections.abc import Iterator

import pytest

from tests.postgres import TEMPLATE, TestCluster
from tests.world.run import Worlds


@pytest.fixture(scope="session")
def worlds(migrated_cluster: TestCluster) -> Iterator[Worlds]:
    """One database for all of them: each world begins by clearing the previous one's rows."""
    with migrated_cluster.database(TEMPLATE) as url, Worlds(url) as worlds:
        yield worlds
