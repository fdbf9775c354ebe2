"""This folder's tests share one database, emptied before each, and log as the service does."""

import sys
from collections.abc import Iterator

import pytest
import structlog

from app.telemetry import configure_logging
from tests.shared_database import database_url, kept_apart, kept_loop, no_task_left, recycled

__all__ = [
    "database_url",
    "kept_apart",
    "kept_loop",
    "no_task_left",
    "production_logs",
    "recycled",
]


@pytest.fixture(autouse=True)
def production_logs() -> Iterator[None]:
    """Set up as in production, but on whatever is the standard error at the time: pytest changes it within a test."""
    configure_logging(level="debug", as_json=True)
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    yield
    structlog.reset_defaults()
