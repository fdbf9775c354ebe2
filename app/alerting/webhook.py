"""Sends alerts as a webhook that is signed by Standard Webhooks."""

from dataclasses import field
from datetime import datetime

import httpx
import msgspec

from app.alerting.signed_webhook import post_signed
from app.domain.alerts.message import Message, data
from app.domain.units.frozen import frozen

EVENT_TYPE = "operations.alert"


@frozen
class WebhookOutlet:
    """POSTs `{type, timestamp, data}` with the headers of Standard Webhooks. Never follows a redirect."""

    http: httpx.AsyncClient
    url: str = field(repr=False)
    secret: str = field(repr=False)
    """`whsec_` and base64."""
    name: str = "webhook"

    async def send(self, message: Message, now: datetime) -> None:
        body = msgspec.json.encode({"type": EVENT_TYPE, "timestamp": now, "data": data(message)})
        await post_signed(self.http, self.url, [self.secret], message_id=message.id, at=now, body=body)
