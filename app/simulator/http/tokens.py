"""Issues tokens and checks scopes. Access tokens last an hour, refresh tokens a day and for one use."""

from datetime import datetime, timedelta

from app.simulator.config import SimulatorConfig
from app.simulator.http.answers import Answer, Call, ErrorCode, Refusal, json_answer
from app.simulator.http.fields import body_object, required, text
from app.simulator.site.random_streams import RandomStreams
from app.simulator.wire import when

MAX_TOKENS = 10_000
_RANKS = {"read": 1, "write": 2, "delete": 3}
_SHORT_SCOPES = frozenset(
    {"all", "charge-points", "map", "charge-transactions", "wallet-transactions", "control-charging"}
)
"""The closed list of GET /consumers/me in Monta's reference: entities without a permission."""


class Tokens:
    """The issued token pairs; several may be valid at once."""

    def __init__(self, config: SimulatorConfig, streams: RandomStreams, opened_at: datetime) -> None:
        self._config = config
        self._streams = streams
        self._opened_at = opened_at
        self._accesses: dict[str, datetime] = {}
        self._refreshes: dict[str, datetime] = {}
        self.revoked = False
        """While True every credential and token is refused: the operator has deleted the credential."""
        self.scopes = config.scopes
        self.team_ids = config.credential_team_ids
        """The credential's present scopes; an operator can remove one."""
        self.lists_permissions = False
        """GET /consumers/me names scopes as newer credentials do (`charge-points:read`)."""

    def grant(self, call: Call) -> Answer:
        """POST /auth/token."""
        body = body_object(call)
        for name in ("clientId", "clientSecret"):
            required(body, name)
        asked = (text(body, "clientId"), text(body, "clientSecret"))
        if self.revoked or asked != (self._config.client_id, self._config.client_secret):
            raise Refusal(401, ErrorCode.CONSUMER_NOT_FOUND, "Consumer with these credentials not found")
        return self._new_pair(call.at)

    def refresh(self, call: Call) -> Answer:
        """POST /auth/refresh: a whole new pair; the refresh token is used up."""
        body = body_object(call)
        required(body, "refreshToken")
        valid_until = self._refreshes.pop(text(body, "refreshToken") or "", None)
        if self.revoked or valid_until is None or valid_until <= call.at:
            raise Refusal(401, ErrorCode.INVALID_ACCESS_TOKEN, "Invalid or expired refresh token")
        return self._new_pair(call.at)

    def check(self, call: Call) -> None:
        """Checks the bearer token of `call`; 401 when invalid."""
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        valid_until = self._accesses.get(token.strip())
        if self.revoked or scheme.lower() != "bearer" or valid_until is None or valid_until <= call.at:
            raise Refusal(401, ErrorCode.INVALID_ACCESS_TOKEN, "Invalid or expired access token")

    def check_scope(self, scopes: tuple[str, ...]) -> None:
        """One of `scopes` is enough; 403 otherwise."""
        if scopes and not any(self._holds(scope) for scope in scopes):
            raise Refusal(403, ErrorCode.ACCESS_FORBIDDEN, f"Missing scope {' or '.join(scopes)}")

    def expire_access(self) -> None:
        """Invalidates every access token at once. Refresh tokens stay valid (a token expiring in flight)."""
        self._accesses.clear()

    def me(self, _call: Call) -> Answer:
        """GET /consumers/me."""
        config = self._config
        return json_answer(
            {
                "name": config.consumer_name,
                "operatorId": config.operator_id,
                "operatorIds": [config.operator_id],
                "teamIds": list(self.team_ids),
                "clientId": config.client_id,
                "rateLimit": config.rate_limit,
                "rateLimitIntervalInSeconds": config.rate_window_s,
                "scopes": sorted(self.scopes) if self.lists_permissions else _in_short(self.scopes),
                "createdAt": when(self._opened_at),
                "updatedAt": None,
            }
        )

    def _holds(self, scope: str) -> bool:
        entity, _, permission = scope.partition(":")
        for held in self.scopes:
            name, _, rank = held.partition(":")
            if name in {entity, "all"} and _RANKS.get(rank or "delete", 0) >= _RANKS[permission]:
                return True
        return False

    def _new_pair(self, at: datetime) -> Answer:
        self._prune(at)
        access, refresh = self._streams.token(), self._streams.token()
        access_until = at + timedelta(seconds=self._config.access_token_life_s)
        refresh_until = at + timedelta(seconds=self._config.refresh_token_life_s)
        self._accesses[access] = access_until
        self._refreshes[refresh] = refresh_until
        return json_answer(
            {
                "accessToken": access,
                "refreshToken": refresh,
                "accessTokenExpirationDate": self._streams.nanoseconds(access_until),
                "refreshTokenExpirationDate": self._streams.nanoseconds(refresh_until),
            }
        )

    def _prune(self, at: datetime) -> None:
        if len(self._accesses) >= MAX_TOKENS or len(self._refreshes) >= MAX_TOKENS:
            self._accesses = {key: until for key, until in self._accesses.items() if until > at}
            self._refreshes = {key: until for key, until in self._refreshes.items() if until > at}


def _in_short(scopes: frozenset[str]) -> list[str]:
    """Returns those of `scopes` that are on the closed list. It has no names for the rest."""
    return sorted(_SHORT_SCOPES & {scope.partition(":")[0] for scope in scopes})
