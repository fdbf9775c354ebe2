"""Alerts as they leave: a signed webhook, an e-mail."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from standardwebhooks import Webhook, WebhookVerificationError

from app.alerting.outlets import EmailOutlet, NotDelivered, WebhookOutlet
from app.domain.alerts.causes import AlertCode, Cause
from app.domain.alerts.message import Alert as DomainAlert
from app.domain.alerts.message import Message, message_due
from app.domain.session.attention import Severity
from app.domain.units.ids import OperatorId

pytestmark = pytest.mark.anyio

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = datetime.now(UTC)  # the receiver's library compares with the machine's clock


def message(detail: str = "401") -> Message:
    of = Cause(
        code=AlertCode.CREDENTIAL_REFUSED,
        severity=Severity.CRITICAL,
        detail=detail,
        operator_id=OperatorId("op_1"),
    )
    found = message_due([DomainAlert(id=1, cause=of, opened_at=NOW)], NOW, None)
    assert found is not None
    return found


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
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.decode() + " ", headers)


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_what_is_not_taken_is_not_delivered_and_no_redirect_is_followed(status: int) -> None:
    receiver = Receiver(status)
    async with receiver.outlet() as outlet:
        with pytest.raises(NotDelivered, match=f"answered {status}"):
            await outlet.send(message(), NOW)
    assert len(receiver.got) == 1


@asynccontextmanager
async def mail_server(*, takes_mail: bool = True) -> AsyncIterator[tuple[int, list[EmailMessage]]]:
    """An SMTP server on loopback with as much of RFC 5321 as one mail needs."""
    got: list[EmailMessage] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.test\r\n")
        while line := await reader.readline():
            verb = line.split(None, 1)[0].upper()
            if verb == b"DATA":
                writer.write(b"354 go on\r\n")
                data = await reader.readuntil(b"\r\n.\r\n")
                mail = message_from_bytes(data[:-5], policy=policy.default)
                assert isinstance(mail, EmailMessage)
                got.append(mail)
            elif verb == b"RCPT" and not takes_mail:
                writer.write(b"550 no such person\r\n")
                continue
            writer.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
            if verb == b"QUIT":
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], got
    finally:
        server.close()
        await server.wait_closed()


def email(port: int) -> EmailOutlet:
    return EmailOutlet(f"smtp://127.0.0.1:{port}", "tapwatt@ops.test", ["a@ops.test", "b@ops.test"])


async def test_the_mail_says_what_is_wrong_and_what_to_do() -> None:
    async with mail_server() as (port, got):
        await email(port).send(message("Ärger \r\nBcc: x@evil.test"), NOW)
    (mail,) = got
    assert mail["Subject"] == "[Tapwatt] critical: credential_refused"
    assert (mail["To"], mail["Bcc"]) == ("a@ops.test, b@ops.test", None)
    assert "What to do: Make a new credential" in mail.get_content()
    assert "Ärger" in mail.get_content()


async def test_a_mail_that_is_not_taken_is_not_delivered() -> None:
    async with mail_server(takes_mail=False) as (port, got):
        with pytest.raises(NotDelivered, match="SMTPRecipientsRefused"):
            await email(port).send(message(), NOW)
    assert got == []
    with pytest.raises(NotDelivered):
        await email(port).send(message(), NOW)


def test_a_body_is_plain_json() -> None:
    async def sent() -> bytes:
        receiver = Receiver()
        async with receiver.outlet() as outlet:
            await outlet.send(message(), NOW)
        return receiver.got[0][0]

    assert json.loads(asyncio.run(sent()))["data"]["not_listed"] == 0
