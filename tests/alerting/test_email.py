"""Alerts as e-mail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from app.alerting.email import EmailOutlet
from app.alerting.outlet import NotDelivered
from app.domain.units.control_chars import CONTROLS
from tests.alerting.messages import NOW, message

pytestmark = pytest.mark.anyio


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


SIGNS = "\r\nBcc: x@evil.test\r\n\r\n.\r\nQUIT\r\n\0\x1b[2J\x85\x9b\u2028\u202e"


async def test_no_text_of_others_makes_a_header_a_line_or_a_command_of_its_own() -> None:
    told = message(f"before{SIGNS}after")
    async with mail_server() as (port, got):
        await email(port).send(told, NOW)
    (mail,) = got
    names = {"Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted"}
    assert set(mail.keys()) == names | {"Content-Type", "Content-Transfer-Encoding", "MIME-Version"}
    assert all(value.isprintable() for value in mail.values())
    content = mail.get_content().replace("\r\n", "\n")
    assert [found for found in CONTROLS.findall(content) if found != "\n"] == []
    (line,) = [line for line in content.splitlines() if "before" in line]
    assert line.endswith("after"), "all of it is one line"


async def test_a_mail_that_is_not_taken_is_not_delivered() -> None:
    async with mail_server(takes_mail=False) as (port, got):
        with pytest.raises(NotDelivered, match="refuses every receiver: check TAPWATT_ALERT_EMAIL_TO"):
            await email(port).send(message(), NOW)
    assert got == []
    with pytest.raises(NotDelivered):
        await email(port).send(message(), NOW)
