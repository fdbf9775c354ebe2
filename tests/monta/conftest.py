"""The rig that most tests of this folder ask for."""

import pytest

from app.monta.client import MontaClient
from tests.monta.rig import Rig, make_rig


@pytest.fixture
def rig() -> Rig:
    return make_rig()


@pytest.fixture
def client(rig: Rig) -> MontaClient:
    return rig.replica()
