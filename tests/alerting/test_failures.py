"""Tests of app/alerting/failures: what failed over real sockets is said in words, with what to do."""

import asyncio
import smtplib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from app.alerting import failures
from app.alerting.failures import why_not_sent, why_refused
from app.alerting.outlet import NotDelivered
from app.alerting.signed_webhook import SignedOutlet
from app.domain.units.egress import Egress
from app.monta.egress import CheckedTransport
from tests.certificates import for_localhost

pytestmark = pytest.mark.anyio

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None, says: bytes | None = b"") -> AsyncIterator[int]:
    """A server that says this and closes the connection. None: it says nothing until the caller hangs up."""
    calls: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        calls.append(task)
        with suppress(OSError):
            await reader.read(1 if says is not None else -1)
            writer.write(says or b"")
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "localhost", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(server.wait_closed(), *calls)


async def told(url: str) -> str:
    """Why an event was not taken at this address."""
    async with httpx.AsyncClient(transport=CheckedTransport(Egress(), 1)) as http:
        with pytest.raises(NotDelivered) as failed:
            await SignedOutlet(http).send(url, [SECRET], "evt_1", datetime.now(UTC), b"{}")
    return str(failed.value)


async def test_each_failure_of_a_connection_has_its_own_words(tmp_path: Path) -> None:
    _, tls = for_localhost(tmp_path)
    async with listening() as closed:
        pass
    assert "nothing listens at this host and port" in await told(f"http://localhost:{closed}/")
    assert "name cannot be resolved" in await told("https://nowhere.invalid/")
    async with listening(tls) as port:
        assert "self-signed certificate): it must be valid" in await told(f"https://localhost:{port}/")
    async with listening(says=b"HTTP/1.1 400 no TLS here\r\n\r\n") as port:
        assert "see that the port speaks TLS" in await told(f"https://localhost:{port}/")
        assert (await told(f"http://localhost:{port}/")).startswith("answered 400")
    async with listening() as port:
        assert "closed without an HTTP answer" in await told(f"http://localhost:{port}/")
    assert "must lead to a public address" in await told("https://169.254.169.254/latest")
    assert "only in development" in await told("http://example.test/")


async def test_a_host_that_never_answers_is_said_to_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.alerting.signed_webhook.TIMEOUT_S", 0.05)
    async with listening(says=None) as port:
        assert await told(f"http://localhost:{port}/") == failures.SLOW


STATUSES = {301: "set the URL that it leads to", 401: "signature", 404: "check the URL", 503: "its own log"}


@pytest.mark.parametrize("status", [*STATUSES, 403, 405, 410, 413, 418, 429, 500])
def test_each_answer_says_what_to_do(status: int) -> None:
    words = why_refused(status)
    assert words.startswith(f"answered {status}: ")
    assert STATUSES.get(status, "") in words


RECEIVER = b"5.7.8 whatever the receiver wrote \r\n\x1b[2J"
MAIL: list[tuple[Callable[[], Exception], str]] = [
    (lambda: smtplib.SMTPAuthenticationError(535, RECEIVER), "check TAPWATT_SMTP_URL"),
    (lambda: smtplib.SMTPRecipientsRefused({"a@b": (550, RECEIVER)}), "check TAPWATT_ALERT_EMAIL_TO"),
    (lambda: smtplib.SMTPSenderRefused(550, RECEIVER, "a@b"), "check TAPWATT_ALERT_EMAIL_FROM"),
    (lambda: smtplib.SMTPNotSupportedError("STARTTLS"), "use smtps://"),
    (lambda: smtplib.SMTPServerDisconnected("x"), "closed the connection"),
    (lambda: smtplib.SMTPDataError(554, RECEIVER), "answered 554"),
    (lambda: smtplib.SMTPException("x"), "SMTPException"),
    (lambda: OSError(113, "No route to host"), "cannot be reached: No route to host"),
]


@pytest.mark.parametrize(("made", "words"), MAIL)
def test_each_failure_of_mail_says_what_to_do_and_repeats_nothing_of_the_server(
    made: Callable[[], Exception], words: str
) -> None:
    said = why_not_sent(made())
    assert words in said
    assert "whatever" not in said
    assert said.isprintable()
