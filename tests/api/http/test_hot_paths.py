"""Tests of app/api/http/hot_paths: a call is answered alike, whether its usual form is answered at once or not."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.http.hot_paths import HotPaths
from app.api.http.responses import AT_ONCE
from app.api.routes import ops, terminal
from tests.api.service import Service, open_service, payment

pytestmark = pytest.mark.anyio

PATH, LIST = "/v1/payment-sessions", "/v1/ops/payment-sessions"
VARYING = ("x-request-id", "retry-after")


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Service]:
    async with open_service(database_url) as opened:
        yield opened


def usual(method: str, url: str) -> bool:
    """Whether a call is answered without the framework's route."""
    called = url if "?" in url else f"{url}?"
    return any(path.method == method and path.form.fullmatch(called) for path in (*terminal.HOT, ops.HOT))


def shown(answer: httpx.Response) -> object:
    body = answer.json()
    body.pop("request_id", None)
    headers = sorted((name, value) for name, value in answer.headers.items() if name not in VARYING)
    return answer.status_code, body, headers


async def both(service: Service, url: str, key: str | None = None) -> object:
    """The answer, after making sure that the framework's route gives the same; `Prefer` of no meaning leads there."""
    assert usual("GET", url)
    quick = await service.call("GET", url, key=key)
    slow = await service.call("GET", url, key=key, headers={"Prefer": "nothing"})
    assert shown(quick) == shown(slow)
    return quick.status_code


async def test_a_read_is_the_same_both_ways(service: Service) -> None:
    session = await service.authorize()
    own, foreign, ops_key = f"{PATH}/{session['id']}", service.other.terminal.api_key, service.all_ops.api_key
    assert await both(service, own) == 200
    assert await both(service, f"{PATH}/ps_{'0' * 26}") == 404
    assert await both(service, own, key=foreign) == 404
    for key in ("", "wrong", ops_key, "x" * 500):
        assert await both(service, own, key=key) == 401


async def test_a_list_is_the_same_both_ways_page_by_page(service: Service) -> None:
    for number in range(5):
        await service.authorize(str(101 + number), f"A-{number}")
    key = service.one.ops.api_key
    for query in ("", "?limit=2", "?limit=5", "?limit=0", "?limit=999", "?cursor=AAAA"):
        await both(service, f"{LIST}{query}", key=key)
    url, seen = f"{LIST}?limit=2", 0
    while url:
        await both(service, url, key=key)
        page = (await service.call("GET", url, key=key)).json()
        seen += len(page["data"])
        url = f"{LIST}?limit=2&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    assert seen == 5
    assert (await service.call("GET", LIST, key=service.other.ops.api_key)).json()["data"] == []
    assert await both(service, LIST, key=service.one.terminal.api_key) == 401


@pytest.mark.parametrize(
    ("status", "changed"),
    [
        (200, {}),
        (409, {"metadata": {"lane": "2"}}),
        (404, {"charge_point_id": "999", "authorization": {"reference": "A-2"}}),
        (422, {"authorization": {"amount": -1}}),
        (422, {"authorization": {"amount": "x"}, "lane": 3, "energy_limit_wh": 0}),
        (422, {"metadata": {"lane": "4111 1111 1111 1111"}}),
        (422, {"tariff": {"currency": "EUR", "elements": []}}),
    ],
)
async def test_a_payment_is_answered_the_same_both_ways(
    service: Service, status: int, changed: dict[str, Any]
) -> None:
    assert usual("POST", PATH)
    await service.authorize()
    body = payment(**changed)
    quick = await service.call("POST", PATH, body)
    slow = await service.call("POST", PATH, body, headers={"Prefer": "nothing"})
    assert shown(quick) == shown(slow)
    assert quick.status_code == status


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b'{"a": NaN}', b"\xff", b"[" * 9_000])
async def test_a_body_that_is_no_payment_is_answered_the_same_both_ways(
    service: Service, body: bytes
) -> None:
    own = {"Authorization": f"Bearer {service.one.terminal.api_key}", "Content-Type": "application/json"}
    for headers in (own, own | {"Content-Type": "text/plain"}, own | {"Content-Length": "99999999"}):
        quick = await service.clients[0].post(PATH, content=body, headers=headers)
        slow = await service.clients[0].post(PATH, content=body, headers=headers | {"Prefer": "nothing"})
        assert shown(quick) == shown(slow)
        assert quick.status_code in (400, 413, 415, 422)


def sends_at_once(app: ASGIApp, sent: list[int]) -> ASGIApp:
    """Offers the app what our server offers, and notes the status of each answer that it sends so."""

    async def offered(scope: Scope, receive: Receive, send: Send) -> None:
        async def whole(status: int, head: bytes, body: bytes) -> None:
            sent.append(status)
            headers = [tuple(line.split(b": ", 1)) for line in head.split(b"\r\n")[:-1]]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

        await app({**scope, "extensions": {AT_ONCE: whole}}, receive, send)

    return offered


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_an_answer_at_once_has_the_headers_of_all_others(service: Service, scheme: str) -> None:
    sent: list[int] = []
    key = {"Authorization": f"Bearer {service.one.terminal.api_key}"}
    transports = [httpx.ASGITransport(app) for app in (sends_at_once(service.apps[0], sent), service.apps[0])]
    quick, slow = [httpx.AsyncClient(transport=t, base_url=f"{scheme}://t", headers=key) for t in transports]
    async with quick, slow:
        made = await quick.post(PATH, json=payment())
        assert shown(await quick.post(PATH, json=payment())) == shown(await slow.post(PATH, json=payment()))
        assert shown(await quick.get(made.headers["location"])) == shown(
            await slow.get(made.headers["location"])
        )
        missing = [await client.get(f"{PATH}/ps_{'0' * 26}") for client in (quick, slow)]
        assert shown(missing[0]) == shown(missing[1])
    assert (made.status_code, sent) == (201, [201, 200, 200])
    assert "x-request-id" in made.headers


async def test_a_wrong_key_is_refused_before_the_body_is_read(service: Service) -> None:
    answer = await service.call("POST", PATH, {"no": "payment"}, key="wrong")
    assert answer.status_code == 401


async def test_what_is_out_of_the_ordinary_goes_to_the_frameworks_route() -> None:
    for url in (
        f"{PATH}/101",
        f"{PATH}/ps_{'0' * 26}/stop",
        f"{LIST}?limit=5&limit=6",
        f"{LIST}?from=4111111111111111",
    ):
        assert not usual("GET", url)
    assert not usual("POST", f"{PATH}/ps_{'0' * 26}")


async def test_both_ways_are_there(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the tests above would compare a way with itself."""
    found: list[bool] = []
    find = HotPaths._find

    def noted(self: HotPaths, scope: Scope) -> object:
        found.append((answer := find(self, scope)) is not None)
        return answer

    monkeypatch.setattr(HotPaths, "_find", noted)
    await both(service, LIST, key=service.all_ops.api_key)
    assert found == [True, False]
