"""Signs and sends webhooks by Standard Webhooks. Never follows a redirect, never reads a long answer."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

import httpx
from standardwebhooks import Webhook

from app.alerting.failures import why_not_sent, why_refused
from app.alerting.outlet import TIMEOUT_S, NotDelivered
from app.domain.units.frozen import frozen

MOST_READ_BYTES = 16_384
"""Of an answer's body, which says nothing; a connection whose answer is longer is closed."""


def signed_headers(secrets: Sequence[str], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Returns the headers of a message. One signature for each secret (`whsec_` and base64), the newest first."""
    signatures = [Webhook(secret).sign(message_id, at, body.decode()) for secret in secrets]
    return {
        "content-type": "application/json",
        "user-agent": "Tapwatt",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


async def post_signed(
    http: httpx.AsyncClient,
    url: str,
    secrets: Sequence[str],
    *,
    message_id: str,
    at: datetime,
    body: bytes,
) -> None:
    """POSTs a message once, within TIMEOUT_S in all. Raises NotDelivered unless it was answered with 2xx."""
    headers = signed_headers(secrets, message_id, at, body)
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            http.stream(
                "POST", url, content=body, headers=headers, timeout=TIMEOUT_S, follow_redirects=False
            ) as answer,
        ):
            read = 0
            async for part in answer.aiter_raw():
                read += len(part)
                if read > MOST_READ_BYTES:
                    break
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotDelivered(why_not_sent(error)) from None
    if not answer.is_success:
        raise NotDelivered(why_refused(answer.status_code))


@frozen
class SignedOutlet:
    """Sends events to endpoints of terminal makers, all over one pool of connections."""

    http: httpx.AsyncClient

    async def send(self, url: str, secrets: Sequence[str], event_id: str, at: datetime, body: bytes) -> None:
        """POSTs one event once. Raises NotDelivered."""
        await post_signed(self.http, url, secrets, message_id=event_id, at=at, body=body)
