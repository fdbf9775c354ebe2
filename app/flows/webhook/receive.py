"""Saves the entries of a signed webhook delivery; the watcher applies them later."""

from datetime import datetime

from app.domain.charging.charge import PriceUnit
from app.flows.context import Context
from app.flows.ingest import keep_entries
from app.monta.webhook import Delivery, read_delivery, signature_is_valid
from app.store.db.database import retry_on_serialization_failure


class UnknownEndpoint(Exception):
    """No operator has this webhook endpoint."""


class BadSignature(Exception):
    """The body was not signed with the operator's present or previous webhook secret."""


async def receive(context: Context, endpoint_id: str, body: bytes, signature: str | None) -> int:
    """Saves every entry of a signed delivery durably; returns how many were new. The watcher applies them.

    Raises UnknownEndpoint, BadSignature, UnreadableDelivery: then nothing was kept.
    """
    now = context.clock.now()
    try:
        delivery, new = await _keep(context, endpoint_id, body, signature, now=now)
    except BadSignature:
        context.telemetry.webhook_refused("bad_signature")
        raise
    context.telemetry.webhook_kept(_lag_s(delivery, now), len(delivery.entries))
    return new


@retry_on_serialization_failure
async def _keep(
    context: Context, endpoint_id: str, body: bytes, signature: str | None, *, now: datetime
) -> tuple[Delivery, int]:
    """Saves a delivery in one transaction, whole or not at all."""
    async with context.database.transaction() as connection:
        operator = await context.operators.by_endpoint(connection, endpoint_id)
        if operator is None:
            raise UnknownEndpoint
        secrets = operator.webhook_secrets(now)
        if not any(signature_is_valid(secret, body, signature) for secret in secrets):
            raise BadSignature
        delivery = read_delivery(body, now, price_unit=PriceUnit(operator.price_unit))
        return delivery, await keep_entries(connection, operator.id, delivery.entries, now)


def _lag_s(delivery: Delivery, now: datetime) -> float | None:
    times = [entry.event_time for entry in delivery.entries if entry.event_time is not None]
    return max(0.0, (now - min(times)).total_seconds()) if times else None
