"""Keeps modules out of a process that does not use them. Others load them where they find them.

No process that serves or watches uses rich and pygments, which draw tables and tracebacks, or click and greenlet; they
take 8 MB together. Commands import rich themselves. Must be imported before whatever imports structlog or httpx.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


def hide(*names: str) -> list[str]:
    """Hides modules from now on, as if they were not installed. Those that are loaded stay. Returns the others."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    return hidden


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Hides modules within the block."""
    hidden = hide(*names)
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with without("click", "greenlet", "pygments", "rich"):
    import httpx
    import structlog

__all__ = ["hide", "httpx", "structlog", "without"]
