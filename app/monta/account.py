"""Reads objects about a credential. Its owner, its webhook configuration, its delivery log."""

from dataclasses import field
from datetime import datetime
from enum import StrEnum

from app.domain.charging.charge import PriceUnit
from app.domain.units.frozen import frozen
from app.monta.fields import Fields
from app.monta.webhook import Entry, read_entry
from app.strict_json import JsonIn


class DeliveryStatus(StrEnum):
    """Filters Monta's log of webhook entries of the past 24 hours."""

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"


@frozen(kw_only=True)
class Consumer:
    """GET /consumers/me. An empty `team_ids` means all of them."""

    name: str | None
    client_id: str | None
    operator_id: str | None
    team_ids: tuple[str, ...]
    rate_limit: int | None
    """Requests for each window of `rate_window_s`, as agreed with Monta."""
    rate_window_s: int | None
    scopes: tuple[str, ...]


@frozen(kw_only=True)
class WebhookConfig:
    """GET or PUT /webhooks/config; secret and address, which has a secret part, stay out of the repr."""

    url: str | None = field(repr=False)
    event_types: tuple[str, ...]
    secret: str | None = field(default=None, repr=False)


@frozen(kw_only=True)
class LoggedDelivery:
    """One row of GET /webhooks/entries: delivered, pending or failed."""

    id: str | None
    status: str | None
    created_at: datetime | None
    error: str | None
    entry: Entry


def read_consumer(value: JsonIn) -> Consumer:
    """Reads the credential's owner leniently. An object without any known field gives a Consumer of Nones."""
    source = value if isinstance(value, dict) else {}
    f = Fields(source)
    limit, window_s = f.decimal("rateLimit", high=10**9), f.decimal("rateLimitIntervalInSeconds", high=10**9)
    return Consumer(
        name=f.text("name"),
        client_id=f.text("clientId"),
        operator_id=f.id("operatorId"),
        team_ids=_texts(source.get("teamIds")),
        rate_limit=None if limit is None else int(limit),
        rate_window_s=None if window_s is None else int(window_s),
        scopes=_texts(source.get("scopes")),
    )


def read_webhook_config(value: JsonIn) -> WebhookConfig:
    """Reads leniently."""
    source = value if isinstance(value, dict) else {}
    f = Fields(source)
    return WebhookConfig(
        url=f.text("webhookUrl"), event_types=_texts(source.get("eventTypes")), secret=f.text("webhookSecret")
    )


def read_logged_delivery(value: JsonIn, seen_at: datetime, price_unit: PriceUnit) -> LoggedDelivery:
    """Reads leniently; `payload` is the entry as it was, or would have been, delivered."""
    source = value if isinstance(value, dict) else {}
    f = Fields(source)
    error = source.get("error")
    return LoggedDelivery(
        id=f.id("id") or f.text("id", max_chars=100),
        status=f.text("status", max_chars=100),
        created_at=f.date("createdAt"),
        error=Fields(error).text("errorMessage") if isinstance(error, dict) else f.text("error"),
        entry=read_entry(source.get("payload"), seen_at, price_unit=price_unit),
    )


def _texts(value: JsonIn) -> tuple[str, ...]:
    """Returns the strings and numbers of a list, as strings."""
    rows = value if isinstance(value, list) else []
    return tuple(str(row)[:200] for row in rows if isinstance(row, str | int) and not isinstance(row, bool))
