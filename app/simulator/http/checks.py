"""Checks each request before its endpoint: version, bearer, quota, scope."""

from datetime import datetime

from app.simulator.http.answers import Answer, Call, Refusal, bad_request, not_found, refused, too_many
from app.simulator.http.routes import Routes
from app.simulator.http.tokens import Tokens


class Quota:
    """Allows `limit` requests for each window of `window_s`. Counted until the next window starts."""

    def __init__(self, limit: int, window_s: int) -> None:
        self.limit = limit
        self.window_s = window_s
        self._window = -1
        self._used = 0

    def take(self, at: datetime) -> bool:
        """Counts one request; False: over the limit."""
        window = int(at.timestamp()) // self.window_s
        if window != self._window:
            self._window, self._used = window, 0
        self._used += 1
        return self._used <= self.limit

    def headers(self, at: datetime, resets_in_s: float | None = None) -> dict[str, str]:
        """Returns the five headers; `resets_in_s` overrides the window's end for an injected 429, unless the quota is
        used up: no request would be answered before its window ends."""
        left_s = self.window_s - int(at.timestamp()) % self.window_s
        if self._used >= self.limit:
            resets_in_s = None
        remaining = max(0, self.limit - self._used) if resets_in_s is None else 0
        return {
            "ratelimit-policy": "Quota",
            "ratelimit-quota": str(self.limit),
            "ratelimit-timewindow": str(self.window_s),
            "ratelimit-remaining": str(remaining),
            "ratelimit-resetsin": str(left_s if resets_in_s is None else max(1, round(resets_in_s))),
        }


_STABLE, _DATED = frozenset({"v1", "v2"}), {"2024-01-18": "v1", "2024-07-01": "v2"}


class RequestChecks:
    """All checks before a request reaches its endpoint."""

    def __init__(self, routes: Routes, tokens: Tokens, quota: Quota) -> None:
        self._routes = routes
        self._tokens = tokens
        self._quota = quota

    def check(self, call: Call) -> tuple[Answer | None, dict[str, str]]:
        """Returns an early answer or None, and headers for every answer."""
        headers: dict[str, str] = {}
        found = self._routes.find(call)
        try:
            headers |= version_headers(call)
            if found is not None and found[0].scopes is None:
                return None, headers
            self._tokens.check(call)
            granted = self._quota.take(call.at)
            headers |= self._quota.headers(call.at)
            if not granted:
                return too_many(), headers
            if found is None:
                raise not_found(f"{call.method} {call.path}")
            self._tokens.check_scope(found[0].scopes or ())
        except Refusal as refusal:
            return refused(refusal), headers
        return None, headers


def version_headers(call: Call) -> dict[str, str]:
    """Returns `Monta-Version`: v1 when absent. The old date names still work and announce their end."""
    version = call.headers.get("monta-version", "v1")
    if version in _STABLE:
        return {}
    if version not in _DATED:
        raise bad_request(f"Unknown Monta-Version {version[:20]}")
    return {
        "deprecation": "true",
        "sunset": "Sat, 01 Jan 2028 00:00:00 GMT",
        "x-api-version-hint": _DATED[version],
    }
