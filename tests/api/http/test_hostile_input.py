"""Tests of app/api/routes.

Generated requests at every endpoint: never a 5xx, never an answer that is not documented, and nothing is echoed.

`--times 20` makes the long run: 10,000 requests to each operation, 20,000 webhooks.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest

from tests.api.addresses import operations
from tests.api.mangler import CANARY, Mangler, in_bytes, sendable, was_too_slow
from tests.api.service import LOOK, Json, Service, charge_entry, delivery, documented, open_service, sign
from tests.conftest import Sized
from tests.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


def example(operation: Json) -> Any:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return next((each["value"] for each in content.get("examples", {}).values()), content.get("example"))


class Hostile:
    """Sends generated requests, and judges their answers by the OpenAPI document."""

    def __init__(self, service: Service, seed: int) -> None:
        self.service = service
        self.mangler = Mangler(seed)
        self.document = service.apps[0].openapi()
        self.codes = documented(self.document)
        self.known_ids: list[str] = []
        self.seen: Counter[int] = Counter()

    async def send(self, method: str, path: str, operation: Json) -> None:
        mangler, chance = self.mangler, self.mangler.chance
        url = httpx.URL("http://tapwatt.test").copy_with(raw_path=self._target(path, operation))
        headers = self._headers(operation)
        body = b""
        if "requestBody" in operation or chance.random() < 0.1:
            body = mangler.body(example(operation))
            if chance.random() < 0.95:
                headers["content-type"] = b"application/json"
            elif chance.random() < 0.5:
                headers["content-type"] = mangler.header().encode("latin-1")
        clock = self.service.context.clock
        assert isinstance(clock, VirtualClock)
        await clock.advance(1)  # else the limits of calls a minute would answer soon
        client = self.service.clients[0]
        answer = await client.request(method, url, content=body, headers=in_bytes(headers))
        if was_too_slow(answer):
            self.seen[503] += 1
            answer = await client.request(method, url, content=body, headers=in_bytes(headers))
        self.judge(method, path, operation, answer)

    def _target(self, path: str, operation: Json) -> bytes:
        mangler, chance = self.mangler, self.mangler.chance
        known = [*self.known_ids, "101", "shortfall"]

        def part(_: re.Match[str]) -> str:
            text = chance.choice(known) if chance.random() < 0.7 else mangler.text()
            return quote(sendable(text), safe="") or "%20"

        target = re.sub(r"\{\w+\}", part, path)
        names = [p["name"] for p in operation.get("parameters", []) if p["in"] == "query"]
        query = [
            (name if chance.random() < 0.9 else mangler.name(), mangler.text())
            for name in names
            if chance.random() < 0.4 and name != "wait"
        ]
        clean = [(sendable(name), sendable(value)) for name, value in query]
        return (target + (f"?{urlencode(clean)}" if clean else "")).encode("ascii")

    def _headers(self, operation: Json) -> dict[str, bytes]:
        mangler, chance = self.mangler, self.mangler.chance
        security = next(iter(operation.get("security", [{}])[0]), None)
        own = {
            "terminal_key": self.service.one.terminal.api_key,
            "operations_key": self.service.all_ops.api_key,
        }
        headers: dict[str, bytes] = {}
        if security is not None and chance.random() < 0.95:
            headers["authorization"] = f"Bearer {own[security]}".encode()
        elif chance.random() < 0.5:
            headers["authorization"] = mangler.header().encode("latin-1")
        for name in ("idempotency-key", "x-request-id", "accept-language", "accept"):
            if chance.random() < 0.1:
                headers[name] = mangler.header().encode("latin-1")
        return headers

    def judge(self, method: str, path: str, operation: Json, answer: httpx.Response) -> None:
        status = answer.status_code
        self.seen[status] += 1
        assert status < 500 or (path == "/health/ready" and status == 503), f"{method} {path}: {answer.text}"
        if status == 405 or (status == 404 and answer.json().get("code") == "not_found"):
            return  # another path after all
        assert str(status) in operation["responses"], f"{method} {path} never told of {status}: {answer.text}"
        if status >= 400 and path != "/health/ready":
            assert answer.headers["content-type"] == "application/problem+json"
            problem = answer.json()
            assert problem["code"] in self.codes[method, path], f"{method} {path}: {problem}"
            assert CANARY not in answer.text, f"{method} {path} echoes: {answer.text}"
        assert "x-injected" not in answer.headers


async def test_every_operation_answers_hostile_requests_as_documented(
    database_url: str, sized: Sized
) -> None:
    each = sized(12, 10_000)
    async with open_service(database_url) as service:
        hostile = Hostile(service, seed=each)
        session = await service.authorize(reference="A-known", authorization={"card": {"last4": "4242"}})
        hostile.known_ids.append(session["id"])
        for number in range(each):
            for method, path, operation in operations(hostile.document):
                await hostile.send(method, path, operation)
            if number % 500 == 499:
                print(number + 1, "requests to each operation:", hostile.seen)  # noqa: T201
    assert {200, 400, 401, 404, 415, 422} <= set(hostile.seen), hostile.seen
    print(dict(hostile.seen))  # noqa: T201


SIGNS = ("\r\nX-Injected: 1", "\0", "\x1b[2J", "\x7f")


def texts(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where a body has texts. A tariff is a document of its own."""
    if isinstance(value, str):
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        if name != "tariff":
            yield from texts(each, (*path, name))


def with_sign(body: Any, path: tuple[str | int, ...], sign: str) -> Any:
    changed = json.loads(json.dumps(body))
    at = changed
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] += sign
    return changed


async def test_no_text_of_a_body_takes_a_line_break_or_an_escape(database_url: str) -> None:
    async with open_service(database_url) as service:
        clock = service.context.clock
        assert isinstance(clock, VirtualClock)
        hostile = Hostile(service, seed=0)
        session = await service.authorize()
        await service.change(session["id"], attention=LOOK)
        keys = {"terminal_key": service.one.terminal.api_key, "operations_key": service.all_ops.api_key}
        tried = 0
        for method, path, operation in operations(hostile.document):
            body = example(operation)
            address = re.sub(r"\{\w+\}", session["id"], path)
            key = keys.get(next(iter(operation.get("security", [{}])[0]), ""), "")
            for where in texts(body):
                for sign in SIGNS:
                    await clock.advance(1)  # else the limits of calls a minute would answer
                    answer = await service.call(method, address, with_sign(body, where, sign), key=key)
                    assert answer.status_code in (404, 422), (
                        f"{method} {path} {where} {sign!r}: {answer.text}"
                    )
                    tried += 1
            for sign in SIGNS if body and "metadata" in body else ():
                answer = await service.call(method, address, body | {"metadata": {f"a{sign}": "b"}}, key=key)
                assert answer.status_code == 422, answer.text
    assert tried >= 80, tried


async def test_hostile_webhooks_are_kept_or_refused_and_never_fail(database_url: str, sized: Sized) -> None:
    mangler, seen = Mangler(7), Counter[int]()
    valid = json.loads(delivery(charge_entry(77, consumedKwh=1.5, price=2), charge_entry(78, "stopped")))
    async with open_service(database_url) as service:
        session = await service.authorize()
        await service.charging(session["id"], "77")
        for number in range(sized(400, 20_000)):
            body = mangler.body(valid)
            signed = sign(service.one.operator.webhook_secret, body)
            kind = mangler.chance.random()
            signature = signed if kind < 0.9 else mangler.header() if kind < 0.95 else signed.upper()
            headers = {"x-monta-signature": signature.encode("latin-1")}
            if mangler.chance.random() < 0.2:
                headers["content-type"] = mangler.header().encode("latin-1")
            path, client = service.one.operator.webhook_path, service.clients[0]
            answer = await client.post(path, content=body, headers=in_bytes(headers))
            if was_too_slow(answer):
                seen[503] += 1
                answer = await client.post(path, content=body, headers=in_bytes(headers))
            seen[answer.status_code] += 1
            if number % 1000 == 999:
                print(number + 1, "webhooks:", seen)  # noqa: T201
            assert answer.status_code in (200, 400, 401), f"{number}: {answer.text}"
            assert CANARY not in answer.text, f"{number}: {answer.text}"
        shown = await service.call("GET", f"/v1/payment-sessions/{session['id']}")
        assert shown.status_code == 200
    assert {200, 400, 401} <= set(seen), seen
    print(dict(seen))  # noqa: T201
