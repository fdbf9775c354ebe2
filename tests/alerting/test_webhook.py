"""Alerts as they leave: a signed webhook, an e-mail."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from standardwebhooks import Webhook, WebhookVerificationError

from app.alerting.outlet import NotDelivered
from app.alerting.webhook import WebhookOutlet
from tests.alerting.messages import NOW, message

pytestmark = pytest.mark.anyio

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    """Operations' own endpoint: keeps what comes, answers as it is told to."""

    def __init__(self, status: int = 204) -> None:
        self.status = status
        self.got: list[tuple[bytes, dict[str, str]]] = []
        self.app = FastAPI()
        self.app.post("/alerts")(self._take)

    async def _take(self, request: Request) -> Response:
        self.got.append((await request.body(), dict(request.headers)))
        return Response(status_code=self.status, headers={"location": "https://elsewhere.test/"})

    @asynccontextmanager
    async def outlet(self) -> AsyncIterator[WebhookOutlet]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app)) as http:
            yield WebhookOutlet(http, "https://ops.test/alerts", SECRET)


async def test_the_webhook_is_signed_so_that_the_standard_library_takes_it() -> None:
    receiver = Receiver()
    async with receiver.outlet() as outlet:
        await outlet.send(message(), NOW)
    ((body, headers),) = receiver.got
    told = Webhook(SECRET).verify(body.decode(), headers)
    assert told["type"] == "operations.alert"
    assert [a["code"] for a in told["data"]["opened"]] == ["credential_refused"]
    assert headers["webhook-id"] == message().id
    hostile = "\r\nx-injected: 1\r\n\r\n{}\0\x1b[2J\u202e"
    async with receiver.outlet() as outlet:
        await outlet.send(message(hostile), NOW)
    body, changed = receiver.got.pop()
    assert changed.keys() == headers.keys(), "no text becomes a header"
    assert json.loads(body)["data"]["opened"][0]["detail"] == hostile
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.decode() + " ", headers)


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_what_is_not_taken_is_not_delivered_and_no_redirect_is_followed(status: int) -> None:
    receiver = Receiver(status)
    async with receiver.outlet() as outlet:
        with pytest.raises(NotDelivered, match=f"answered {status}"):
            await outlet.send(message(), NOW)
    assert len(receiver.got) == 1


def test_a_body_is_plain_json() -> None:
    async def sent() -> bytes:
        receiver = Receiver()
        async with receiver.outlet() as outlet:
            await outlet.send(message(), NOW)
        return receiver.got[0][0]

    assert json.loads(asyncio.run(sent()))["data"]["not_listed"] == 0
