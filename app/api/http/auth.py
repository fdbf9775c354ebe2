"""Authenticates terminals and operations by their keys, and counts refused keys."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.http.problems import Problem
from app.flows.admin import authenticate
from app.flows.context import Context
from app.store.db import scope
from app.store.operators.keys import OpsKey, Role
from app.store.operators.terminals import Terminal

log = structlog.get_logger("api")

WINDOW_S = 60.0
MANY = 60
"""More refusals in a window than one wrongly configured terminal causes: logged as a warning."""


class KeyKind(StrEnum):
    TERMINAL = "terminal"
    OPERATIONS = "operations"


@dataclass(slots=True)
class _Window:
    began_s: float = float("-inf")
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Refusals:
    """Counts refused keys of this process. It blocks no caller: a key has 256 random bits, and the proxy, which
    sees the callers at all replicas, limits them."""

    _windows: dict[KeyKind, _Window] = field(default_factory=lambda: {kind: _Window() for kind in KeyKind})

    def count(self, context: Context, kind: KeyKind) -> None:
        """Logs at most one line per window and kind of key, without anything that was sent."""
        context.telemetry.key_refused(kind)
        now_s, window = context.clock.monotonic(), self._windows[kind]
        if now_s - window.began_s >= WINDOW_S:
            window.began_s, window.refused = now_s, 0
        window.refused += 1
        if window.refused == MANY:
            log.error("many_keys_refused", kind=kind.value, refused=MANY, within_s=WINDOW_S)


MAX_KEY_CHARS = 200
STOP_PATHS = ("/stop", "/stop-requests")

terminal_bearer = HTTPBearer(
    scheme_name="terminal_key", auto_error=False, description="`tapwatt terminal add` prints it."
)
ops_bearer = HTTPBearer(
    scheme_name="operations_key", auto_error=False, description="`tapwatt ops-key add` prints it."
)


async def context_of(request: Request) -> Context:
    """Returns the process's context. A coroutine, since FastAPI runs plain functions in a thread."""
    context: Context = request.app.state.context
    return context


ContextHere = Annotated[Context, Depends(context_of)]


async def terminal_of(
    request: Request,
    context: ContextHere,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(terminal_bearer)],
) -> Terminal:
    """Returns the calling terminal. Raises Problem `unauthorized`."""
    terminal, key = None, _key(bearer)
    if key is not None:
        terminal = await authenticate.terminal_by_key(context, key, _address(request), urgent=_stops(request))
    if terminal is None:
        raise _refused(request, context, KeyKind.TERMINAL)
    scope.narrow(terminal.operator_id)
    return terminal


async def ops_key_of(
    request: Request,
    context: ContextHere,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(ops_bearer)],
) -> OpsKey:
    """Returns the calling operations key. Raises Problem `unauthorized`."""
    ops_key, key = None, _key(bearer)
    if key is not None:
        ops_key = await authenticate.ops_key_by_key(context, key, _address(request), urgent=_stops(request))
    if ops_key is None:
        raise _refused(request, context, KeyKind.OPERATIONS)
    scope.narrow(ops_key.operator_id)
    return ops_key


CallingOps = Annotated[OpsKey, Depends(ops_key_of)]
"""An operations key of any role: for what only reads."""


async def _acting_ops_key(key: CallingOps) -> OpsKey:
    if key.role is not Role.OPERATE:
        raise Problem(
            "read_only_key", "This operations key may only read; an act needs a key with the role `operate`."
        )
    return key


ActingOps = Annotated[OpsKey, Depends(_acting_ops_key)]
"""An operations key that may act: for every call that changes something."""


def _address(request: Request) -> str | None:
    return None if request.client is None else request.client.host


def _stops(request: Request) -> bool:
    """Whether the call stops a charge, which must not wait behind others."""
    return request.url.path.endswith(STOP_PATHS)


def _key(bearer: HTTPAuthorizationCredentials | None) -> str | None:
    if bearer is None or not bearer.credentials or len(bearer.credentials) > MAX_KEY_CHARS:
        return None
    return bearer.credentials


def _refused(request: Request, context: Context, kind: KeyKind) -> Problem:
    refusals: Refusals = request.app.state.refusals
    refusals.count(context, kind)
    return Problem(
        "unauthorized",
        "Send a valid key as `Authorization: Bearer <key>`.",
        headers={"WWW-Authenticate": "Bearer"},
    )


CallingTerminal = Annotated[Terminal, Depends(terminal_of)]
