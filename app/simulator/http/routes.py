"""Maps requests to endpoints: one table of method, path, scope and purpose."""

import re
from collections.abc import Callable
from enum import StrEnum

from app.domain.units.frozen import frozen
from app.simulator.http.answers import Answer, Call, Refusal, bad_request, not_found, refused
from app.simulator.http.charge_points import ChargePointEndpoints
from app.simulator.http.charges import ChargeEndpoints
from app.simulator.http.tokens import Tokens
from app.simulator.site.lifecycle import NotPossible
from app.simulator.site.site import UnknownId
from app.simulator.webhooks.endpoints import WebhookEndpoints

Endpoint = Callable[[Call, str], Answer]


class Purpose(StrEnum):
    """What a request is for, in the log of requests."""

    TOKEN = "token"  # noqa: S105 - a purpose
    ABOUT_ME = "about_me"
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    PATCH = "patch"
    SEARCH = "search"
    READ_CHARGE = "read_charge"
    READ_DETAIL = "read_detail"
    READ_PLACE = "read_place"
    WEBHOOKS = "webhooks"
    UNKNOWN = "unknown"


@frozen
class Route:
    """One route. `scopes`: one of them is needed; empty: any bearer; None: no bearer."""

    method: str
    pattern: re.Pattern[str]
    endpoint: Endpoint
    scopes: tuple[str, ...] | None
    purpose: Purpose


CONTROL = ("control-charging:write", "control-public-charging:write")


class Routes:
    """Finds the endpoint of a call and performs it."""

    def __init__(
        self,
        tokens: Tokens,
        charges: ChargeEndpoints,
        places: ChargePointEndpoints,
        webhooks: WebhookEndpoints,
    ) -> None:
        self._routes: list[Route] = []
        self._add("POST /auth/token", lambda call, _id: tokens.grant(call), None, Purpose.TOKEN)
        self._add("POST /auth/refresh", lambda call, _id: tokens.refresh(call), None, Purpose.TOKEN)
        for path in ("GET /consumers/me", "GET /auth/me"):
            self._add(path, lambda call, _id: tokens.me(call), (), Purpose.ABOUT_ME)
        self._add_charges(charges)
        self._add_places(places)
        self._add_webhooks(webhooks)

    def _add_charges(self, charges: ChargeEndpoints) -> None:
        read, detail = ("charge-transactions:read",), ("charges:read",)
        self._add("GET /charges", charges.list, read, Purpose.SEARCH)
        self._add("POST /charges", charges.start, CONTROL, Purpose.START)
        self._add("GET /charges/*", charges.read, read, Purpose.READ_CHARGE)
        self._add("PATCH /charges/*", charges.patch, ("charges:write",), Purpose.PATCH)
        self._add("GET /charges/*/stop", charges.stop, CONTROL, Purpose.STOP)
        self._add("GET /charges/*/restart", charges.restart, CONTROL[:1], Purpose.RESTART)
        self._add("GET /charges/*/breakdown", charges.breakdown, detail, Purpose.READ_DETAIL)
        self._add("GET /charges/*/kwh-consumption", charges.consumption, detail, Purpose.READ_DETAIL)
        self._add("GET /receipts/by-charge/*", charges.receipt, ("receipts:read",), Purpose.READ_DETAIL)

    def _add_places(self, places: ChargePointEndpoints) -> None:
        points, groups = ("charge-points:read",), ("price-groups:read",)
        self._add("GET /charge-points", places.list_points, points, Purpose.READ_PLACE)
        self._add("GET /charge-points/*", places.read_point, points, Purpose.READ_PLACE)
        self._add("GET /price-groups", places.list_groups, groups, Purpose.READ_PLACE)
        self._add("GET /price-groups/*", places.read_group, groups, Purpose.READ_PLACE)
        self._add("GET /prices/forecast", places.forecast, ("prices-forecast:read",), Purpose.READ_PLACE)

    def _add_webhooks(self, webhooks: WebhookEndpoints) -> None:
        read, log = ("manage-webhooks:read",), ("webhooks:read",)
        write, delete = ("manage-webhooks:write",), ("manage-webhooks:delete",)
        self._add("GET /webhooks/config", webhooks.read_config, read, Purpose.WEBHOOKS)
        self._add("PUT /webhooks/config", webhooks.put_config, write, Purpose.WEBHOOKS)
        self._add("DELETE /webhooks/config", webhooks.delete_config, delete, Purpose.WEBHOOKS)
        self._add("GET /webhooks/entries", webhooks.list_entries, log, Purpose.WEBHOOKS)
        self._add("GET /webhooks/entries/*", webhooks.read_entry, log, Purpose.WEBHOOKS)
        explain = "POST /webhooks/get-signature-detail"
        self._add(explain, webhooks.explain_signature, read, Purpose.WEBHOOKS)

    def _add(self, where: str, endpoint: Endpoint, scopes: tuple[str, ...] | None, purpose: Purpose) -> None:
        method, path = where.split(" ")
        pattern = re.compile(re.escape(path).replace(r"\*", "([^/]+)"))
        self._routes.append(Route(method, pattern, endpoint, scopes, purpose))

    def find(self, call: Call) -> tuple[Route, str] | None:
        """Returns the route and the id in its path. Empty when there is none."""
        for route in self._routes:
            match = route.pattern.fullmatch(call.path)
            if match and route.method == call.method:
                return route, match.group(1) if match.groups() else ""
        return None

    def perform(self, call: Call) -> Answer:
        """Performs the call; every refusal becomes an answer."""
        found = self.find(call)
        try:
            if found is None:
                raise not_found(f"{call.method} {call.path}")
            route, path_value = found
            return route.endpoint(call, path_value)
        except Refusal as refusal:
            return refused(refusal)
        except UnknownId as unknown:
            return refused(not_found(str(unknown)))
        except NotPossible as impossible:
            return refused(bad_request(str(impossible)))
