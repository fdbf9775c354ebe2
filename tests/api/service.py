"""The HTTP endpoints on a real database, with two operators and two terminals; Monta is unreachable on purpose."""

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import text

from app.api.http.live import SessionChanges
from app.domain.charging.charge import ChargeReport, ChargeState, merge
from app.domain.charging.charge_point import ChargePoint, ChargePointState
from app.domain.session.attention import Attention
from app.domain.session.machine import Change
from app.domain.session.payment_session import PaymentSession, Status
from app.domain.session.settlement import settle
from app.domain.tariff import parse_tariff
from app.domain.units.ids import ChargeId, ChargePointId, OperatorId, SessionId
from app.flows.admin import provision
from app.flows.admin.manage_keys import add_ops_key
from app.flows.admin.provision import AddedOperator, NewOperator
from app.flows.context import Context
from app.flows.make_key import AddedKey
from app.flows.saving import save
from app.monta.transport import open_http
from app.store.db.database import KEYS_CHANNEL, SESSIONS_CHANNEL, Database
from app.store.db.listener import Listener
from app.store.operators import charge_points
from app.store.sessions import payment_sessions
from tests.build_context import build_context
from tests.shared_objects import lent_app, lent_database
from tests.virtual_clock import VirtualClock

Json = dict[str, Any]

CLIENT_SECRET = "canary-client-secret"
LOOK = (Attention(code="other", detail="look"),)
POINTS = [str(n) for n in range(101, 111)]
TARIFF: Json = {
    "id": "T1",
    "currency": "EUR",
    "tax_included": "YES",
    "elements": [{"price_components": [{"type": "ENERGY", "price": "0.49", "step_size": 1}]}],
}


@dataclass
class Tenant:
    """One operator with a terminal, an operations key and a webhook."""

    operator: AddedOperator
    terminal: AddedKey
    ops: AddedKey


class Service:
    """Calls go to `endpoints[0]`; the others are further replicas on the same database."""

    def __init__(
        self, replicas: list[FastAPI], context: list[Context], clients: list[httpx.AsyncClient]
    ) -> None:
        self.apps = replicas
        self.context = context[0]
        self.all_contexts = context
        self.clients = clients
        self.one: Tenant
        self.other: Tenant
        self.all_ops: AddedKey

    async def provision(self) -> None:
        self.one, self.other = [await self._tenant(n) for n in ("one", "other")]
        self.all_ops = await add_ops_key(self.context, None)

    async def _tenant(self, name: str) -> Tenant:
        new = NewOperator(
            name=name,
            monta_url="https://monta.test/api/v1",
            client_id="client",
            client_secret=CLIENT_SECRET,
            paying_team_id="11",
        )
        operator = await provision.add_operator(self.context, new)
        terminal = await self.add_terminal(operator.operator_id)
        return Tenant(operator, terminal, await add_ops_key(self.context, OperatorId(operator.operator_id)))

    async def add_terminal(self, operator_id: OperatorId, *points: str) -> AddedKey:
        ids = [ChargePointId(p) for p in points or POINTS]
        return await provision.add_terminal(
            self.context, operator_id, provider="tapwatt", name="lane", charge_point_ids=ids
        )

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        client: int = 0,
        **more: Any,
    ) -> httpx.Response:
        """As the first terminal, unless another key (or "" for none) is given."""
        key = self.one.terminal.api_key if key is None else key
        bearer = {"Authorization": f"Bearer {key}"} if key else {}
        if body is not None:
            more["content"] = json.dumps(body)
            bearer["Content-Type"] = "application/json"
        answer = await self.clients[client].request(
            method, path, headers=bearer | dict(headers or {}), **more
        )
        assert_documented(self.apps[0], method, answer)
        return answer

    async def authorize(self, point: str = "101", reference: str = "A-1", **more: Any) -> Json:
        answer = await self.call("POST", "/v1/payment-sessions", payment(point, reference, **more))
        assert answer.status_code == 201, answer.text
        recorded: Json = answer.json()
        return recorded

    async def webhook(
        self, body: bytes, *, signature: str | None = None, path: str | None = None
    ) -> httpx.Response:
        """A delivery, signed as Monta does unless a signature is given ("" for none)."""
        signature = sign(self.one.operator.webhook_secret, body) if signature is None else signature
        headers = {"X-Monta-Signature": signature} if signature else {}
        return await self.clients[0].post(
            path or self.one.operator.webhook_path, content=body, headers=headers
        )

    # What the watcher would have done

    async def change(self, session_id: str, **fields: Any) -> PaymentSession:
        async with self.context.database.transaction() as connection:
            before = await payment_sessions.lock(connection, SessionId(session_id))
            assert before is not None
            change = Change(replace(before, **fields))
            now = self.context.clock.now()
            return await save(self.context, connection, before, change, now)

    async def charging(self, session_id: str, charge_id: str, energy_wh: int = 1000) -> PaymentSession:
        now = self.context.clock.now()
        report = ChargeReport(
            id=ChargeId(charge_id),
            state=ChargeState.CHARGING,
            seen_at=now,
            updated_at=now,
            energy_wh=energy_wh,
        )
        charge = merge(None, report, by_rest=True)
        return await self.change(session_id, status=Status.CHARGING, charge=charge)

    async def settle(self, session_id: str, price_minor: int, authorized_minor: int = 5000) -> PaymentSession:
        now = self.context.clock.now()
        decided = settle(
            authorized_minor,
            price_minor,
            energy_wh=2500,
            at=now,
            deadline=now + timedelta(days=2),
            session_date=now,
        )
        return await self.change(session_id, status=Status.COMPLETED, settlement=decided)

    async def price(self, source: Json = TARIFF) -> None:
        await provision.set_tariff(self.context, self.one.operator.operator_id, None, parse_tariff(source))

    async def show(self, point: str) -> None:
        seen = ChargePoint(
            id=ChargePointId(point),
            state=ChargePointState.AVAILABLE,
            seen_at=self.context.clock.now(),
            updated_at=None,
            name="Bay 1",
            max_power_w=22000,
            connectors=("type2",),
            evse_id=f"DK*TAP*E{point}",
            site_id="9",
            address="1 Test Street, 1000 Boxville",
        )
        async with self.context.database.transaction() as connection:
            await charge_points.put(connection, self.one.operator.operator_id, [seen])

    async def count(self) -> int:
        async with self.context.database.transaction() as connection:
            counted = await connection.execute(text("SELECT count(*) FROM payment_sessions"))
            return int(counted.scalar_one())


def payment(point: str = "101", reference: str = "A-1", **more: Any) -> Json:
    """The body of POST /v1/payment-sessions."""
    held = {"reference": reference, "amount": 5000, "currency": "EUR"} | more.pop("authorization", {})
    return {"charge_point_id": point, "authorization": held} | more


def sign(secret: str, body: bytes) -> str:
    return "sha1=" + hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()


def delivery(*entries: Json, **more: Any) -> bytes:
    return json.dumps({"entries": list(entries), "pending": 0} | more).encode()


def charge_entry(charge_id: int, state: str = "charging", **payload: Any) -> Json:
    return {
        "entityType": "charge",
        "entityId": str(charge_id),
        "eventType": "updated",
        "eventTime": "2026-11-22T10:00:01Z",
        "payload": {"id": charge_id, "state": state} | payload,
    }


def assert_problem(answer: httpx.Response, status: int, code: str) -> Json:
    """Problem details with every field of the contract, and nothing else than it promises."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: Json = answer.json()
    expected = {"type", "title", "status", "detail", "code", "retryable", "display_message", "request_id"}
    if status == 422:
        expected.add("errors")
        for error in problem["errors"]:
            assert set(error) == {"field", "message"}
            assert error["field"]
            assert error["message"]
    assert set(problem) - {"errors", "session_id", "sessions", "display"} == expected - {"errors"}
    shown = problem.get("display", {"text": ""})
    assert shown["text"] == problem["display_message"], "no other language was asked for"
    assert expected <= set(problem)
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"].endswith(code)
    assert isinstance(problem["retryable"], bool)
    assert isinstance(problem["display_message"], str)
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    return problem


_DOCUMENTED: dict[tuple[str, str], set[str]] = {}
"""The error codes of each operation in the OpenAPI document."""


def documented(document: Json) -> dict[tuple[str, str], set[str]]:
    """By method and path: the codes of all examples of its errors."""
    return {
        (method.upper(), path): {
            code
            for status, response in operation["responses"].items()
            if status[0] in "45"
            for content in response["content"].values()
            for code in content.get("examples", {})
        }
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }


def assert_documented(app: FastAPI, method: str, answer: httpx.Response) -> None:
    """An error of an operation is one that the document names at this operation (F117)."""
    if answer.headers.get("content-type") != "application/problem+json":
        return
    if not _DOCUMENTED:
        _DOCUMENTED.update(documented(app.openapi()))
    path, code = answer.request.url.path, answer.json()["code"]
    found = [
        template
        for known, template in _DOCUMENTED
        if known == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
    ]
    for template in found[:1]:
        assert code in _DOCUMENTED[method, template], f"{method} {template} never told of {code}"


def fields_of(problem: Json) -> list[str]:
    return [error["field"] for error in problem["errors"]]


def make_context(database: Database, clock: Any, *, virtual: bool = True) -> Context:
    def unreachable(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    return build_context(database, clock, open_http(httpx.MockTransport(unreachable)), virtual=virtual)


@asynccontextmanager
async def open_service(
    database_url: str, *, replicas: int = 1, pool_size: int = 10, listening: bool = False
) -> AsyncIterator[Service]:
    """The service, provisioned and open; with `listening`, long polls are woken by notifications as in production."""
    clock = VirtualClock()
    async with AsyncExitStack() as stack:
        apps, all_contexts, clients = [], [], []
        for _ in range(replicas):
            database = await stack.enter_async_context(lent_database(database_url, pool_size=pool_size))
            context, news = make_context(database, clock), SessionChanges()
            app = stack.enter_context(lent_app(context, news))
            transport = httpx.ASGITransport(app)
            client = await stack.enter_async_context(
                httpx.AsyncClient(transport=transport, base_url="http://tapwatt.test")
            )
            if listening:
                ear = Listener(
                    database.host, {SESSIONS_CHANNEL: news.notify, KEYS_CHANNEL: _forgets(context)}
                )
                stack.push_async_callback(_ended, asyncio.create_task(ear.run()))
            apps.append(app)
            all_contexts.append(context)
            clients.append(client)
        service = Service(apps, all_contexts, clients)
        await service.provision()
        yield service


def _forgets(context: Context) -> Callable[[str], None]:
    return lambda _: context.known_keys.forget()


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def wait(service: Service, passed: timedelta) -> None:
    clock = service.context.clock
    assert isinstance(clock, VirtualClock)
    await clock.advance(passed.total_seconds())
