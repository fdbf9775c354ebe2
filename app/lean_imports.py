"""Imports structlog and httpx without libraries for terminals. Both load these where they find them.

Neither rich nor pygments is used by a process that serves or watches, and together they take 6 MB and a tenth of the
time until it is ready. Commands import rich themselves. Must be imported before whatever imports structlog or httpx.
"""

import sys

_FOR_TERMINALS = ("pygments", "rich")

_hidden = [name for name in _FOR_TERMINALS if name not in sys.modules]
for _name in _hidden:
    sys.modules[_name] = None  # type: ignore[assignment]  # an import of it fails now, as if it were not installed
try:
    import httpx
    import structlog
finally:
    for _name in _hidden:
        del sys.modules[_name]

__all__ = ["httpx", "structlog"]
