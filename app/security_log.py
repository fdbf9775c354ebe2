"""Writes the security log. Refused keys and signatures, foreign access, keys that act, changes by command.

Its lines are structured log lines with `stream: security`, so that they can be kept apart from the others.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from app.domain.units.frozen import frozen

_log = structlog.get_logger("security")
_address: ContextVar[str | None] = ContextVar("caller's address", default=None)

WINDOW_S = 60.0
MOST_REFUSED = 60
"""Lines about one kind of refusal in a window; the next window's first line says how many were left out."""


class Act(StrEnum):
    KEY_REFUSED = "key_refused"
    SIGNATURE_REFUSED = "signature_refused"
    FOREIGN_ACCESS = "foreign_access"
    """A valid key asked for a session, charge point or orphan charge that exists and is not its own."""
    KEY_ACTS = "key_acts"
    """An operations key calls what changes something; refused: its role only reads."""
    SIGNED_IN = "signed_in"
    """An operations key opened a session of the console; refused: the key is not valid."""
    SIGNED_OUT = "signed_out"
    SESSION_REFUSED = "session_refused"
    """A page of the console with a session that is not valid, or a form without one."""
    FORM_REFUSED = "form_refused"
    """A form of the console that another site sent, or that lacks its session's token."""
    TOO_MANY_CALLS = "too_many_calls"
    """A valid key is beyond one of its limits of calls."""
    COMMAND = "command"
    """A command that changes something was run on this machine."""


class Result(StrEnum):
    ALLOWED = "allowed"
    REFUSED = "refused"
    DONE = "done"
    FAILED = "failed"


@contextmanager
def calling_from(address: str | None, request_id: str) -> Iterator[None]:
    """Names the caller's address and the request's id in the block's lines."""
    token, bound = _address.set(address), structlog.contextvars.bind_contextvars(request_id=request_id)
    try:
        yield
    finally:
        structlog.contextvars.reset_contextvars(**bound)
        _address.reset(token)


@dataclass(slots=True)
class _Window:
    began_s: float = float("-inf")
    refused: int = 0


@frozen
class SecurityLog:
    """The security log of one process. Refusals are bounded, since strangers cause them."""

    _windows: dict[Act, _Window] = field(default_factory=lambda: defaultdict(_Window))

    def refused(
        self,
        act: Act,
        now_s: float,
        *,
        who: str | None = None,
        key_id: str | None = None,
        **about: str | None,
    ) -> None:
        """Records a refusal; `now_s` is monotonic time. Never what was sent."""
        window, left_out = self._windows[act], 0
        if now_s - window.began_s >= WINDOW_S:
            left_out = max(0, window.refused - MOST_REFUSED)
            window.began_s, window.refused = now_s, 0
        window.refused += 1
        if window.refused <= MOST_REFUSED:
            more = about | ({"left_out": str(left_out)} if left_out else {})
            write(act, Result.REFUSED, who=who, key_id=key_id, **more)


def write(
    act: Act, result: Result, *, who: str | None, key_id: str | None = None, **about: str | None
) -> None:
    """Writes a line. Who, by which key, from where, what, and the result."""
    line = _log.warning if result in (Result.REFUSED, Result.FAILED) else _log.info
    line(
        act.value,
        stream="security",
        result=result.value,
        who=who,
        key_id=key_id,
        address=_address.get(),
        **about,
    )
