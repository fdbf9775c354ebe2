"""Tests of app/console/routes.

Generated requests at every address that the OpenAPI document leaves out: console, pages of the API, metrics port. Never
a 5xx, a status that no page has, or what was sent as anything but text.

`--times 20` makes the long run: 10,000 requests to each address.
"""

import re
from collections import Counter
from urllib.parse import quote, urlencode

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from prometheus_client import CollectorRegistry
from prometheus_client import Counter as Figure

from app.api.http.metrics_port import metrics_app, probes
from app.api.http.rate_limits import Quotas, RateLimits
from app.console.http.pages import csrf_of
from app.console.http.signed_in import COOKIE
from app.flows.console.sign_in import sign_in
from tests.api.addresses import addresses, operations
from tests.api.mangler import CANARY, Mangler, in_bytes, sendable
from tests.api.service import LOOK, Service, open_service
from tests.conftest import Sized
from tests.console.browser import FORM
from tests.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

STREAM = "/console/live/stream"
"""It never ends for who is signed in: only others call it here."""
OF_SESSION = "/console/sessions/{id}/stream"
"""It ends at once when the session has ended."""
MARK = f"<i title='{CANARY}'>\"{CANARY}"
"""Must never be in an answer as it is: it would be markup."""
STATUSES = {200, 204, 303, 304, 308, 400, 401, 403, 404, 405, 409, 413, 422, 429}
TYPES = {"text/html", "text/csv", "text/plain", "text/css", "text/javascript", "image/svg+xml", "application/json",
         "application/problem+json", "text/event-stream", ""}  # fmt: skip
PARAMETERS = ("q", "status", "settlement_status", "needs_attention", "terminal_id", "charge_point_id", "last4",
              "from", "to", "cursor", "date", "month", "done", "next", "before", "after")  # fmt: skip
FIELDS = ("csrf", "reason", "amount", "code", "key", "next")


class Hostile:
    """Sends generated requests as someone who is signed in, mostly, and judges the answers."""

    def __init__(self, service: Service, seed: int) -> None:
        self.service = service
        self.mangler = Mangler(seed)
        self.chance = self.mangler.chance
        self.known_ids: list[str] = []
        self.ended_id = ""
        self.token = ""
        self.seen: Counter[int] = Counter()

    async def sign_in(self) -> None:
        found = await sign_in(self.service.context, self.service.one.ops.api_key)
        assert found is not None
        self.token = found.token

    async def send(self, method: str, path: str) -> None:
        clock = self.service.context.clock
        assert isinstance(clock, VirtualClock)
        await clock.advance(1)  # else the limits of calls a minute would answer soon
        headers, content = in_bytes(self._headers(method, path)), self._form(method)
        url = httpx.URL("https://tapwatt.test").copy_with(raw_path=self._target(path))
        client = self.service.clients[0]
        answer = await client.request(method, url, headers=headers, content=content)
        if answer.status_code == 503:  # the database was too slow, on a busy machine
            answer = await client.request(method, url, headers=headers, content=content)
        self._judge(method, path, answer)
        if path.endswith("/sign-out") and answer.status_code == 303:
            await self.sign_in()

    def _text(self) -> str:
        return MARK if self.chance.random() < 0.2 else self.mangler.text()

    def _target(self, path: str) -> bytes:
        def part(_: re.Match[str]) -> str:
            ids = [self.ended_id] if path == OF_SESSION else self.known_ids
            text = self.chance.choice(ids) if self.chance.random() < 0.7 else self._text()
            return quote(sendable(text), safe="") or "%20"

        target = re.sub(r"\{[\w:]+\}", part, path)
        query = [(name, sendable(self._text())) for name in PARAMETERS if self.chance.random() < 0.15]
        if self.chance.random() < 0.1:
            query.append((sendable(self.mangler.name()), sendable(self._text())))
        return (target + (f"?{urlencode(query)}" if query else "")).encode("ascii")

    def _form(self, method: str) -> bytes:
        if method == "GET" and self.chance.random() < 0.95:
            return b""
        kind = self.chance.random()
        if kind < 0.1:
            return self.chance.randbytes(self.chance.randrange(300))
        if kind < 0.13:
            return b"a=1&" * self.chance.choice([30, 3000])
        right = {"csrf": csrf_of(self.token), "reason": "because", "amount": "1", "code": "other"}
        fields = [
            (name, right[name] if name in right and self.chance.random() < 0.7 else sendable(self._text()))
            for name in FIELDS
            if self.chance.random() < 0.9
        ]
        return urlencode(fields).encode("ascii")

    def _headers(self, method: str, path: str) -> dict[str, bytes]:
        headers = {name.lower(): value.encode() for name, value in FORM.items()}
        if method == "GET" or self.chance.random() < 0.1:
            del headers["sec-fetch-site"]
        token = self.token.encode()
        if path == STREAM or self.chance.random() < 0.1:
            token = self.mangler.header().encode("latin-1")
        headers["cookie"] = b"__Host-" + COOKIE.encode() + b"=" + token
        for name in ("accept", "origin", "if-none-match", "content-type", "host", "authorization", "range"):
            if self.chance.random() < 0.05:
                headers[name] = self.mangler.header().encode("latin-1")
        return headers

    def _judge(self, method: str, path: str, answer: httpx.Response) -> None:
        status, where = answer.status_code, f"{method} {path} {answer.request.url}"
        self.seen[status] += 1
        assert status in STATUSES, f"{where}: {status} {answer.text[:500]}"
        assert answer.headers.get("content-type", "").partition(";")[0] in TYPES, where
        assert "x-injected" not in answer.headers
        assert MARK not in answer.text, where
        assert answer.headers["x-content-type-options"] == "nosniff"
        if status >= 400 and "/search" not in path:
            assert CANARY not in answer.text, f"{where} echoes"
        if status in (303, 308):
            assert answer.headers["location"].startswith("/console"), where


async def over(service: Service, session_id: str) -> None:
    """Settles a session and reports its release, after which its page no longer changes."""
    await service.settle(session_id, 0)
    report = {"outcome": "released", "amount": 5000, "reference": "P-1"}
    answer = await service.call("POST", f"/v1/payment-sessions/{session_id}/captures", report)
    assert answer.status_code == 200, answer.text


def check_lists(app: FastAPI) -> None:
    """Fails for a route that neither this test nor that of the API calls. Their lists are made from the routes."""
    routes = {
        (method, route.path) for route in iter_route_contexts(app.routes) for method in route.methods or ()
    }
    documented = {(method, path) for method, path, _ in operations(app.openapi())}
    called = documented | set(addresses(app)) | {("POST", "/v1/webhooks/monta/{endpoint_id}")}
    assert {(method, path) for method, path in routes if method != "HEAD"} == called
    assert {("GET", "/v1/events"), ("GET", OF_SESSION), ("GET", STREAM)} <= called


async def test_every_page_and_form_answers_hostile_requests_as_a_page(
    database_url: str, sized: Sized
) -> None:
    each = sized(6, 10_000)
    async with open_service(database_url) as service:
        service.apps[0].state.limits = RateLimits(Quotas(), hold_back_s=0)
        hostile = Hostile(service, seed=each)
        session = await service.authorize(reference="A-known")
        await service.change(session["id"], attention=LOOK)
        hostile.known_ids += [session["id"], "101"]
        hostile.ended_id = (await service.authorize("102", "A-ended"))["id"]
        await over(service, hostile.ended_id)
        check_lists(service.apps[0])
        for number in range(each):
            if number % 500 == 0:  # a session of the console ends after half a day of the test's clock
                await hostile.sign_in()
                print(number, "requests to each address:", hostile.seen)  # noqa: T201
            for method, path in addresses(service.apps[0]):
                await hostile.send(method, path)
    assert {200, 303, 400, 403, 404, 422} <= set(hostile.seen), hostile.seen
    print(dict(hostile.seen))  # noqa: T201


def test_a_watchers_port_answers_hostile_requests_with_figures_or_a_probe(sized: Sized) -> None:
    registry, mangler = CollectorRegistry(), Mangler(3)
    Figure("tapwatt_hostile", "of this test", registry=registry).inc()
    app = metrics_app(registry, probes(live=lambda: True, ready=lambda: False))
    begun: list[str] = []
    for _ in range(sized(100, 10_000)):
        environ = {
            "REQUEST_METHOD": mangler.chance.choice(["GET", "POST", "OPTIONS", mangler.header()]),
            "PATH_INFO": mangler.chance.choice(
                ["/health/live", "/health/ready", "/metrics", mangler.header()]
            ),
            "QUERY_STRING": f"name[]={quote(sendable(mangler.text()))}"
            if mangler.chance.random() < 0.5
            else "",
            "HTTP_ACCEPT": mangler.header(),
            "HTTP_ACCEPT_ENCODING": mangler.chance.choice(["gzip", mangler.header()]),
        }
        body = b"".join(app(environ, lambda status, headers: begun.append(status)))
        assert CANARY.encode() not in body, environ
    assert {status[:3] for status in begun} <= {"200", "405", "503"}
