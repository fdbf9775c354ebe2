"""This folder's tests share one database, emptied before each, and log as the service does."""

import sys
from collections.abc import Callable, Iterator

import pytest
import structlog

from app.telemetry import configure_logging
from tests.postgres import as_service, as_superuser
from tests.shared_database import database_url, recycled

__all__ = ["database_url", "production_logs", "recycled"]


@pytest.fixture(autouse=True)
def production_logs() -> Iterator[None]:
    """Set up as in production, but on whatever is the standard error at the time: pytest changes it within a test."""
    configure_logging(level="debug", as_json=True)
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    yield
    structlog.reset_defaults()


@pytest.fixture(params=[as_service, as_superuser])
def kept_apart(request: pytest.FixtureRequest, database_url: str) -> str:
    """The database with row level security and without: it would hide that a query of ours has lost a condition."""
    as_user: Callable[[str], str] = request.param
    return as_user(database_url)
