"""This room's tests share one database, emptied before each, and log as the service does."""

from collections.abc import Iterator

import pytest
import structlog

from app.telemetry import configure_logging
from tests.recycled import database_url, recycled

__all__ = ["database_url", "production_logs", "recycled"]


@pytest.fixture(autouse=True)
def production_logs(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Set up as in production, on the standard error that this test captures."""
    configure_logging(level="debug", as_json=True)
    yield
    structlog.reset_defaults()
