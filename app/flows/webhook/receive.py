"""Saves the entries of signed webhook deliveries, and applies those of running charges at once."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from app.domain.charging.charge import PriceUnit
from app.domain.units.ids import OperatorId
from app.flows.context import Context
from app.flows.ingest import apply_running, keep_entries
from app.monta.webhook import Delivery, read_delivery, signature_is_valid
from app.store.db.database import retry_on_serialization_failure
from app.store.operators.operators import Operator


class UnknownEndpoint(Exception):
    """No operator has this webhook endpoint."""


class BadSignature(Exception):
    """The body was not signed with the operator's present or previous webhook secret."""


async def receive(context: Context, endpoint_id: str, body: bytes, signature: str | None) -> None:
    """Saves every entry of a signed delivery durably, and applies what reports a running charge.

    Raises UnknownEndpoint, BadSignature, UnreadableDelivery, TooManyWaiting: then nothing was kept.
    """
    now = context.clock.now()
    operator = await _sender(context, endpoint_id, body, signature, now)
    delivery = read_delivery(body, now, price_unit=PriceUnit(operator.price_unit))
    await context.deliveries.group(operator.id, partial(_keep, context, operator.id)).put(delivery)
    context.telemetry.webhook_kept(_lag_s(delivery, now), len(delivery.entries))


async def _sender(
    context: Context, endpoint_id: str, body: bytes, signature: str | None, now: datetime
) -> Operator:
    """The operator whose webhook secret signs the body. A secret that was changed just now is read again."""
    endpoints, now_s = context.deliveries.endpoints, context.clock.monotonic()
    operator = endpoints.get(endpoint_id, now_s)
    if operator is None:
        operator = endpoints.put(endpoint_id, await _load(context, endpoint_id), now_s)
    if _is_signed(operator, body, signature, now):
        return operator
    again = endpoints.put(endpoint_id, await _load(context, endpoint_id), now_s)
    if again != operator and _is_signed(again, body, signature, now):
        return again
    context.telemetry.webhook_refused("bad_signature")
    raise BadSignature


async def _load(context: Context, endpoint_id: str) -> Operator:
    async with context.database.read() as connection:
        operator = await context.operators.by_endpoint(connection, endpoint_id)
    if operator is None:
        raise UnknownEndpoint
    return operator


def _is_signed(operator: Operator, body: bytes, signature: str | None, now: datetime) -> bool:
    return any(signature_is_valid(secret, body, signature) for secret in operator.webhook_secrets(now))


@retry_on_serialization_failure
async def _keep(context: Context, operator_id: OperatorId, deliveries: Sequence[Delivery]) -> None:
    """Saves deliveries in one transaction, whole or not at all."""
    entries = [entry for delivery in deliveries for entry in delivery.entries]
    now = context.clock.now()
    async with context.database.transaction() as connection:
        applied = await apply_running(connection, operator_id, entries, context.policy, now)
        await keep_entries(connection, operator_id, entries, now, applied=applied)


def _lag_s(delivery: Delivery, now: datetime) -> float | None:
    times = [entry.event_time for entry in delivery.entries if entry.event_time is not None]
    return max(0.0, (now - min(times)).total_seconds()) if times else None
