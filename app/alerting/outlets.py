"""Where alerts are sent: a webhook signed by Standard Webhooks, and e-mail by SMTP."""

import asyncio
import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from typing import Protocol
from urllib.parse import unquote, urlsplit

import httpx
import msgspec
from standardwebhooks import Webhook

from app.domain.alerts.message import Message, data, subject, text

TIMEOUT_S = 10.0
"""Of each connection, answer and SMTP command."""
EVENT_TYPE = "operations.alert"


class NotDelivered(Exception):
    """The receiver did not take the message; it is sent again later. Without the receiver's words."""


class Outlet(Protocol):
    """One way to operations."""

    @property
    def name(self) -> str: ...

    async def send(self, message: Message, now: datetime) -> None:
        """Delivers a message. Raises NotDelivered."""
        ...


@dataclass(frozen=True, slots=True)
class WebhookOutlet:
    """POSTs `{type, timestamp, data}` with the headers of Standard Webhooks. Never follows a redirect."""

    http: httpx.AsyncClient
    url: str
    secret: str
    """`whsec_` and base64."""
    name: str = "webhook"

    async def send(self, message: Message, now: datetime) -> None:
        body = msgspec.json.encode({"type": EVENT_TYPE, "timestamp": now, "data": data(message)}).decode()
        headers = {
            "content-type": "application/json",
            "webhook-id": message.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(self.secret).sign(message.id, now, body),
        }
        try:
            answer = await self.http.post(
                self.url, content=body, headers=headers, timeout=TIMEOUT_S, follow_redirects=False
            )
        except httpx.HTTPError as error:
            raise NotDelivered(type(error).__name__) from None
        if not answer.is_success:
            raise NotDelivered(f"answered {answer.status_code}")


@dataclass(frozen=True, slots=True)
class EmailOutlet:
    """Sends plain text by SMTP: `smtps://` with TLS from the start, `smtp://` with STARTTLS.

    Without STARTTLS nothing is sent, except to loopback.
    """

    url: str
    """smtp[s]://[user:password@]host[:port]."""
    sender: str
    receivers: Sequence[str]
    console_url: str | None = None
    name: str = "e-mail"

    async def send(self, message: Message, now: datetime) -> None:
        mail = EmailMessage()
        mail["Subject"] = subject(message)
        mail["From"] = self.sender
        mail["To"] = ", ".join(self.receivers)
        mail["Date"] = now
        mail["Message-ID"] = f"<{message.id}@{self.sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(text(message, console_url=self.console_url))
        try:
            await asyncio.to_thread(self._deliver, mail)
        except (OSError, smtplib.SMTPException) as error:
            raise NotDelivered(type(error).__name__) from None

    def _deliver(self, mail: EmailMessage) -> None:
        parts = urlsplit(self.url)
        host, secure = parts.hostname or "", ssl.create_default_context()
        if parts.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, parts.port or 465, timeout=TIMEOUT_S, context=secure
            )
        else:
            server = smtplib.SMTP(host, parts.port or 587, timeout=TIMEOUT_S)
        with server:
            if parts.scheme == "smtp" and not _is_loopback(host):
                server.starttls(context=secure)
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            server.send_message(mail)


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "127.0.0.1", "::1")
