"""Sends alerts as e-mail by SMTP."""

import asyncio
import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import field
from datetime import datetime
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from app.alerting.failures import why_not_sent
from app.alerting.outlet import TIMEOUT_S, NotDelivered
from app.domain.alerts.message import Message, subject, text
from app.domain.units.frozen import frozen


@frozen
class EmailOutlet:
    """Sends plain text by SMTP: `smtps://` with TLS from the start, `smtp://` with STARTTLS.

    Without STARTTLS nothing is sent, except to loopback.
    """

    url: str = field(repr=False)
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
            raise NotDelivered(why_not_sent(error)) from None

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
