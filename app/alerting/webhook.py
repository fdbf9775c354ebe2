"""Sends alerts as a webhook that is signed by Standard Webhooks."""

from dataclasses import dataclass, field
from datetime import datetime

import httpx
import msgspec
from standardwebhooks import Webhook

from app.alerting.outlet import TIMEOUT_S, NotDelivered
from app.domain.alerts.message import Message, data

EVENT_TYPE = "operations.alert"


@dataclass(frozen=True, slots=True)
class WebhookOutlet:
    """POSTs `{type, timestamp, data}` with the headers of Standard Webhooks. Never follows a redirect."""

    http: httpx.AsyncClient
    url: str = field(repr=False)
    secret: str = field(repr=False)
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
