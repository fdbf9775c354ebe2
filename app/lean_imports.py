"""Keeps modules out of a process that does not use them. Others load them where they find them.

Neither rich nor pygments is used by a process that serves or watches, and together they take 6 MB and a tenth of the
time until it is ready. Commands import rich themselves. Must be imported before whatever imports structlog or httpx.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Hides modules within the block, as if they were not installed. Those that are loaded stay."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with without("pygments", "rich"):
    import httpx
    import structlog

__all__ = ["httpx", "structlog", "without"]
