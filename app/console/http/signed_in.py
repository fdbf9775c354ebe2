"""Identifies who is at the browser by a cookie. Limits failed sign-ins."""

from dataclasses import field
from typing import Annotated

from fastapi import Depends, Request, Response

from app.api.http.auth import (
    CALLER,
    ContextHere,
    address_of,
    count_call,
    limits_of,
    note_act,
    note_refused_act,
    route_of,
)
from app.api.http.rate_limits import too_many
from app.console.http.forms import form_of
from app.console.http.pages import Refused, SignInNeeded, csrf_of, may_act
from app.domain.units.frozen import frozen
from app.flows.console.sign_in import SignedIn, signed_in
from app.flows.context import Context
from app.security_log import Act as SecurityAct
from app.store.db import scope

COOKIE = "tapwatt_console"
SIGN_IN_COOKIE = "tapwatt_sign_in"
MAX_COOKIE_CHARS = 200
LOOPBACK = ("localhost", "127.0.0.1", "::1")

MOST_FAILURES = 10
FAILURES_WITHIN_S = 300.0
MOST_ADDRESSES = 1000
"""Addresses whose failures are counted; the longest known is forgotten first."""


@frozen
class FailedSignIns:
    """Counts failed sign-ins of this process by address. A key has 256 random bits; this protects the database."""

    _failures: dict[str, list[float]] = field(default_factory=dict)

    def wait_s(self, address: str, now_s: float) -> int:
        """Seconds until this address may try again; 0: now."""
        recent = [at for at in self._failures.get(address, ()) if now_s - at < FAILURES_WITHIN_S]
        if len(recent) < MOST_FAILURES:
            return 0
        return int(FAILURES_WITHIN_S - (now_s - recent[0])) + 1

    def count(self, address: str, now_s: float) -> None:
        earlier = self._failures.pop(address, [])
        self._failures[address] = [*earlier, now_s][-MOST_FAILURES:]
        if len(self._failures) > MOST_ADDRESSES:
            del self._failures[next(iter(self._failures))]

    def forget(self, address: str) -> None:
        self._failures.pop(address, None)


def set_cookie(request: Request, response: Response, name: str, value: str) -> None:
    """Sets a cookie that no script reads and no other site sends; Secure except on plain http in development."""
    secure = not _in_development(request)
    response.set_cookie(_called(request, name), value, httponly=True, samesite="strict", secure=secure)


def drop_cookie(request: Request, response: Response, name: str) -> None:
    secure = not _in_development(request)
    response.delete_cookie(_called(request, name), httponly=True, samesite="strict", secure=secure)


def cookie_of(request: Request, name: str) -> str:
    """The value of a cookie that `set_cookie` set, or an empty string."""
    return request.cookies.get(_called(request, name), "")


def _called(request: Request, name: str) -> str:
    """Returns the cookie's name, with the browsers' prefix `__Host-`. By which they take the cookie over TLS only, and
    from this very host only."""
    return name if _in_development(request) else f"__Host-{name}"


def _in_development(request: Request) -> bool:
    """Plain http to this very machine, or where the settings allow it. Behind a proxy the host is the public one."""
    plain = request.url.scheme == "http"
    return plain and (bool(request.app.state.allow_plain_http) or request.url.hostname in LOOPBACK)


async def viewer_if_any(request: Request, context: ContextHere) -> SignedIn | None:
    """Who is signed in. A cookie of no valid session counts as a failed key of its address, a moment later."""
    found, _ = await _presented(request, context)
    return found


async def _presented(request: Request, context: Context) -> tuple[SignedIn | None, float]:
    """The viewer, or the seconds for which this address has to wait."""
    token = cookie_of(request, COOKIE)
    found = await signed_in(context, token) if 0 < len(token) <= MAX_COOKIE_CHARS else None
    now_s = context.clock.monotonic()
    if found is None and (token or request.method != "GET"):
        context.security.refused(SecurityAct.SESSION_REFUSED, now_s, route=route_of(request))
    if found is None and token:
        return None, await limits_of(request).failure(address_of(request), now_s)
    return found, 0.0


async def _viewer(request: Request, context: ContextHere) -> SignedIn:
    found, wait_s = await _presented(request, context)
    if wait_s:
        raise too_many(wait_s)
    if found is None:
        raise SignInNeeded
    await count_call(request, context, found.key.id, found.key.operator_id)
    request.scope[CALLER] = found.key
    scope.narrow(found.key.operator_id)
    return found


Viewer = Annotated[SignedIn, Depends(_viewer)]


@frozen(kw_only=True)
class Act:
    """A form of a person who may act, and their session."""

    viewer: SignedIn
    fields: dict[str, str]


async def _act(request: Request, viewer: Viewer) -> Act:
    fields = await form_of(request, csrf_of(viewer.token))
    if not may_act(viewer):
        note_refused_act(request, viewer.key)
        raise Refused(
            403, "This key may only read", "Nothing was changed. Sign in with a key of the role `operate`."
        )
    note_act(request, viewer.key)
    return Act(viewer=viewer, fields=dict(fields))


Acting = Annotated[Act, Depends(_act)]
