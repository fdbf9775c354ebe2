"""What is checked before a request reaches its endpoint: version, bearer, quota, scope."""

from app.simulator.answers import Answer, Call, Refusal, bad_request, not_found, refused, too_many
from app.simulator.quota import Quota
from app.simulator.routes import Routes
from app.simulator.tokens import Tokens

_STABLE, _DATED = frozenset({"v1", "v2"}), {"2024-01-18": "v1", "2024-07-01": "v2"}


class Gate:
    """Everything that is checked before a request reaches its endpoint."""

    def __init__(self, routes: Routes, tokens: Tokens, quota: Quota) -> None:
        self._routes = routes
        self._tokens = tokens
        self._quota = quota

    def check(self, call: Call) -> tuple[Answer | None, dict[str, str]]:
        """(the answer that ends it here, headers that every answer to this call carries)."""
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
    """`Monta-Version`: v1 when absent; the old date names still work and say that they will end."""
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
