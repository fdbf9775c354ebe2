"""Sets whose rows a task's statements may see. PostgreSQL's row level security compares this setting.

A request sees no operator's rows until its key or its webhook endpoint has named one. Other work of a process (the
watcher's claims, commands, metrics) sees all of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from app.domain.units.ids import OperatorId

SETTING = "tapwatt.operator_id"
"""PostgreSQL's setting. Unset or empty, no row of any operator is visible."""
EVERY = "*"
NONE = ""

_scope: ContextVar[str] = ContextVar("operator_scope", default=EVERY)


def current() -> str:
    """The operator whose rows this task's transactions see, EVERY or NONE."""
    return _scope.get()


def narrow(operator_id: OperatorId | None) -> None:
    """Limits the rest of this task to an operator's rows. None: the key is for every operator."""
    _scope.set(operator_id or EVERY)


@contextmanager
def limited_to(scope: str) -> Iterator[None]:
    """Limits the block to an operator's rows, to EVERY or to NONE."""
    token = _scope.set(scope)
    try:
        yield
    finally:
        # A task that is thrown away half-way is closed in another context, which has nothing to restore.
        with suppress(ValueError):
            _scope.reset(token)
