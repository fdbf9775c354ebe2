"""Authenticates terminals and operations by their keys, and counts refused keys."""

from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, TypeVar

import structlog
from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.http.problems import Problem
from app.api.http.rate_limits import RateLimits, too_many
from app.domain.units.frozen import frozen
from app.flows.admin import authenticate
from app.flows.context import Context
from app.security_log import Act, Result, write
from app.store.db import scope
from app.store.operators.keys import OpsKey, Role
from app.store.operators.terminals import Terminal

log = structlog.get_logger("api")

T = TypeVar("T")
CallerT = TypeVar("CallerT", Terminal, OpsKey)

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


@frozen
class Refusals:
    """Counts refused keys of this process. RateLimits slows callers down; a valid key is never refused for others."""

    _windows: dict[KeyKind, _Window] = field(default_factory=lambda: {kind: _Window() for kind in KeyKind})

    def count(self, context: Context, kind: KeyKind) -> None:
        """Logs one line at most per window and key kind. Without anything that was sent."""
        context.telemetry.key_refused(kind)
        now_s, window = context.clock.monotonic(), self._windows[kind]
        if now_s - window.began_s >= WINDOW_S:
            window.began_s, window.refused = now_s, 0
        window.refused += 1
        if window.refused == MANY:
            log.error("many_keys_refused", kind=kind.value, refused=MANY, within_s=WINDOW_S)


MAX_KEY_CHARS = 200
HOLD_PATHS = ("/payment-sessions", "/authorizations")
CALLER = "tapwatt.caller"
"""Where a request's scope keeps who was authenticated."""
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
    known = request.scope.get(CALLER)
    if isinstance(known, Terminal):
        return known
    return await _accepted(request, context, bearer, authenticate.terminal_by_key, KeyKind.TERMINAL)


async def ops_key_of(
    request: Request,
    context: ContextHere,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(ops_bearer)],
) -> OpsKey:
    """Returns the calling operations key. Raises Problem `unauthorized`."""
    known = request.scope.get(CALLER)
    if isinstance(known, OpsKey):
        return known
    return await _accepted(request, context, bearer, authenticate.ops_key_by_key, KeyKind.OPERATIONS)


async def _accepted(
    request: Request,
    context: Context,
    bearer: HTTPAuthorizationCredentials | None,
    owner_of: Callable[..., Awaitable[CallerT | None]],
    kind: KeyKind,
) -> CallerT:
    """Returns the key's owner, counted and with its scope set. Raises Problem `unauthorized`."""
    key = _key(bearer)
    caller = None
    if key is not None:
        caller = await owner_of(context, key, address_of(request), urgent=_stops(request))
    if caller is None:
        raise await _refused(request, context, kind)
    await count_call(request, context, caller.id, caller.operator_id)
    request.scope[CALLER] = caller
    scope.narrow(caller.operator_id)
    return caller


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


def address_of(request: Request) -> str | None:
    return None if request.client is None else request.client.host


def route_of(request: Request) -> str:
    """Returns the method and the route's template. An address without the identifiers in it, nor a webhook's secret
    part."""
    route = request.scope.get("route")
    before, webhooks, _ = str(getattr(route, "path_format", "...")).partition("/webhooks/")
    return f"{request.method} {before}{webhooks}{'...' if webhooks else ''}"


def _stops(request: Request) -> bool:
    """Whether the call stops a charge, which must not wait behind others."""
    return str(request.scope["path"]).endswith(STOP_PATHS)


def _key(bearer: HTTPAuthorizationCredentials | None) -> str | None:
    if bearer is None or not bearer.credentials or len(bearer.credentials) > MAX_KEY_CHARS:
        return None
    return bearer.credentials


def limits_of(request: Request) -> RateLimits:
    limits: RateLimits = request.app.state.limits
    return limits


async def count_failures(request: Request, work: Awaitable[T], *failures: type[Exception]) -> T:
    """Awaits what checks the caller itself. Each of `failures` counts as a failed key of the address."""
    try:
        return await work
    except failures:
        context: Context = request.app.state.context
        await limits_of(request).failure(address_of(request), context.clock.monotonic())
        raise


async def count_call(request: Request, context: Context, caller: str, operator_id: str | None) -> None:
    """Counts a call of a valid key. Raises Problem `too_many_requests`."""
    holds = request.method == "POST" and request.scope["path"].endswith(HOLD_PATHS)
    now_s = context.clock.monotonic()
    try:
        await limits_of(request).call(caller, operator_id, now_s, stops=_stops(request), holds=holds)
    except Problem:
        context.security.refused(Act.TOO_MANY_CALLS, now_s, who=caller, route=route_of(request))
        raise


async def _refused(request: Request, context: Context, kind: KeyKind) -> Problem:
    refusals: Refusals = request.app.state.refusals
    refusals.count(context, kind)
    context.security.refused(
        Act.KEY_REFUSED, context.clock.monotonic(), kind=kind.value, route=route_of(request)
    )
    wait_s = await limits_of(request).failure(address_of(request), context.clock.monotonic())
    if wait_s:
        return too_many(wait_s)
    return Problem(
        "unauthorized",
        "Send a valid key as `Authorization: Bearer <key>`.",
        headers={"WWW-Authenticate": "Bearer"},
    )


async def authenticate_first(request: Request, calls: Collection[object]) -> None:
    """Authenticates as the route will do, before anything else. Before anything else of the request is looked at.

    Raises Problem `unauthorized` or `read_only_key`.
    """
    context = request.app.state.context
    if terminal_of in calls:
        await terminal_of(request, context, await terminal_bearer(request))
    elif ops_key_of in calls:
        key = await ops_key_of(request, context, await ops_bearer(request))
        if _acting_ops_key in calls:
            if key.role is not Role.OPERATE:
                note_refused_act(request, key)
            await _acting_ops_key(key)
            note_act(request, key)


def note_act(request: Request, key: OpsKey) -> None:
    """Records a changing call of an operations key. In the security log."""
    write(Act.KEY_ACTS, Result.ALLOWED, who=key.name, key_id=key.id, route=route_of(request))


def note_refused_act(request: Request, key: OpsKey) -> None:
    """Records that a key which may only read tried to change something."""
    context: Context = request.app.state.context
    context.security.refused(
        Act.KEY_ACTS, context.clock.monotonic(), who=key.name, key_id=key.id, route=route_of(request)
    )


def calls_of(dependant: Dependant) -> Iterator[object]:
    """The functions that a route depends on, directly or not."""
    for needed in dependant.dependencies:
        yield needed.call
        yield from calls_of(needed)


CallingTerminal = Annotated[Terminal, Depends(terminal_of)]
