"""Keeps signed webhook deliveries, and applies their entries of running charges at once."""

import asyncio
import hashlib
import json
import zlib
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from app.domain.charging.charge import PriceUnit
from app.domain.units.ids import OperatorId
from app.flows.context import Context
from app.flows.deliveries import Signed
from app.flows.ingest import apply_running, keep_entries
from app.monta.webhook import (
    READ_KINDS,
    Delivery,
    Entry,
    read_delivery,
    read_entry,
    read_rows,
    signature_is_valid,
)
from app.security_log import Act
from app.store.db.database import retry_on_serialization_failure
from app.store.db.scope import EVERY, limited_to, narrow
from app.store.operators.operators import Operator
from app.store.sessions import deliveries
from app.store.sessions.deliveries import KeptDelivery
from app.strict_json import TooDeep

MOST_SIGNATURE_CHARS = 200
AT_ONCE = 100
"""Entries of a delivery that are read in one step, about 5 ms."""


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
    narrow(operator.id)
    delivery = await _read(body, now, PriceUnit(operator.price_unit))
    signed = Signed(delivery, _to_keep(body, signature, delivery))
    await context.deliveries.group(operator.id, partial(_keep, context, operator.id)).put(signed)
    context.telemetry.webhook_kept(_lag_s(delivery, now), len(delivery.entries))


async def _read(body: bytes, now: datetime, unit: PriceUnit) -> Delivery:
    """Reads a delivery without keeping others waiting: in steps, or in a thread what is nested too deeply."""
    try:
        rows = read_rows(body)
    except TooDeep:
        return await asyncio.to_thread(read_delivery, body, now, price_unit=unit)
    entries: list[Entry] = []
    for start in range(0, len(rows), AT_ONCE):
        if start:
            await asyncio.sleep(0)
        entries += [read_entry(row, now, price_unit=unit) for row in rows[start : start + AT_ONCE]]
    return Delivery(tuple(entries))


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
    now_s = context.clock.monotonic()
    context.security.refused(Act.SIGNATURE_REFUSED, now_s, operator_id=operator.id)
    raise BadSignature


async def _load(context: Context, endpoint_id: str) -> Operator:
    with limited_to(EVERY):
        async with context.database.read() as connection:
            operator = await context.operators.by_endpoint(connection, endpoint_id)
    if operator is None:
        raise UnknownEndpoint
    return operator


def _is_signed(operator: Operator, body: bytes, signature: str | None, now: datetime) -> bool:
    return any(signature_is_valid(secret, body, signature) for secret in operator.webhook_secrets(now))


def _to_keep(body: bytes, signature: str | None, delivery: Delivery) -> KeptDelivery:
    """The delivery as it is kept: compressed at the quickest level, since it is written once and hardly ever read.

    With entries that nothing reads (users, teams) only what is needed of it is kept, and no signature fits that.
    """
    charges = {entry.charge.id for entry in delivery.entries if entry.charge is not None}
    whole = all((entry.entity_type or "").lower() in READ_KINDS for entry in delivery.entries)
    kept = body if whole else json.dumps({"entries": [entry.raw for entry in delivery.entries]}).encode()
    return KeptDelivery(
        digest=hashlib.sha256(body).digest(),
        signature=(signature or "")[:MOST_SIGNATURE_CHARS] if whole else "",
        body=zlib.compress(kept, level=1),
        charge_ids=tuple(sorted(charges)),
    )


@retry_on_serialization_failure
async def _keep(context: Context, operator_id: OperatorId, signed: Sequence[Signed]) -> None:
    """Applies and saves deliveries in one transaction, whole or not at all. One that was kept before has no effect."""
    now = context.clock.now()
    by_digest = {each.kept.digest: each for each in signed}
    async with context.database.transaction() as connection:
        known = await deliveries.known(connection, operator_id, list(by_digest))
        new = [each for digest, each in by_digest.items() if digest not in known]
        if not new:
            return
        entries = [entry for each in new for entry in each.delivery.entries]
        applied = await apply_running(connection, operator_id, entries, context.policy, now)
        await keep_entries(connection, operator_id, entries, now, applied=applied)
        await deliveries.keep(connection, operator_id, [each.kept for each in new], now)


def _lag_s(delivery: Delivery, now: datetime) -> float | None:
    times = [entry.event_time for entry in delivery.entries if entry.event_time is not None]
    return max(0.0, (now - min(times)).total_seconds()) if times else None
