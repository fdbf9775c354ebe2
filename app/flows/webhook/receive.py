"""Keeps signed webhook deliveries, and applies running charges' entries at once."""

import asyncio
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeAlias

from app.domain.charging.charge import PriceUnit
from app.domain.units.ids import OperatorId
from app.flows.context import Context
from app.flows.deliveries import Signed
from app.flows.ingest import apply_running, keep_beside, keep_entries
from app.monta.plain_readings import PlainReading, entry_texts, plain_reading, plain_readings
from app.monta.webhook import (
    MAX_ENTRIES,
    READ_KINDS,
    Entry,
    read_delivery,
    read_entry,
    read_rows,
    read_text,
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
    """No present or previous webhook secret signed the body. The secrets are the operator's."""


async def receive(context: Context, endpoint_id: str, body: bytes, signature: str | None) -> None:
    """Saves a signed delivery durably, and applies entries of running charges.

    Raises UnknownEndpoint, BadSignature, UnreadableDelivery, TooManyWaiting: then nothing was kept.
    """
    now = context.clock.now()
    operator = await _sender(context, endpoint_id, body, signature, now)
    narrow(operator.id)
    signed = await _read(body, signature, now, PriceUnit(operator.price_unit))
    await context.deliveries.group(operator.id, partial(_keep, context, operator.id)).put(signed)
    context.telemetry.webhook_kept(_lag_s(signed, now), len(signed.plain) + len(signed.others))


async def _read(body: bytes, signature: str | None, now: datetime, unit: PriceUnit) -> Signed:
    """Reads a delivery without keeping others waiting, usual entries the short way. Raises UnreadableDelivery."""
    usual = plain_readings(body, unit)
    if usual is not None:
        return Signed(usual, (), _to_keep(body, signature, usual, ()))
    texts = entry_texts(body)
    if texts is None or len(texts) > MAX_ENTRIES:
        entries = await _read_whole(body, now, unit)
        return Signed((), entries, _to_keep(body, signature, (), entries))
    plain: list[PlainReading] = []
    others: list[Entry] = []
    for number, text in enumerate(texts, 1):
        reading = plain_reading(text, unit)
        if reading is None:
            others.append(read_text(bytes(text), now, unit))
        else:
            plain.append(reading)
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
    return Signed(tuple(plain), tuple(others), _to_keep(body, signature, plain, others))


async def _read_whole(body: bytes, now: datetime, unit: PriceUnit) -> tuple[Entry, ...]:
    """Reads an unusual delivery in steps, or in a thread. In a thread what is nested too deeply."""
    try:
        rows = read_rows(body)
    except TooDeep:
        return (await asyncio.to_thread(read_delivery, body, now, price_unit=unit)).entries
    entries: list[Entry] = []
    for start in range(0, len(rows), AT_ONCE):
        if start:
            await asyncio.sleep(0)
        entries += [read_entry(row, now, price_unit=unit) for row in rows[start : start + AT_ONCE]]
    return tuple(entries)


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


def _to_keep(
    body: bytes, signature: str | None, plain: Sequence[PlainReading], others: Sequence[Entry]
) -> KeptDelivery:
    """Compresses the delivery at the quickest level. It is written once and hardly ever read.

    With entries that nothing reads (users, teams) only what is needed of it is kept, and no signature fits that.
    """
    charges = {each.told.charge_id for each in plain}
    charges |= {entry.charge.id for entry in others if entry.charge is not None}
    kept, whole = body, all((entry.entity_type or "").lower() in READ_KINDS for entry in others)
    if not whole:
        texts = [each.text for each in plain] + [json.dumps(entry.raw).encode() for entry in others]
        kept = b'{"entries": [%s]}' % b", ".join(texts)
    return KeptDelivery(
        digest=hashlib.sha256(body).digest(),
        signature=(signature or "")[:MOST_SIGNATURE_CHARS] if whole else "",
        body=zlib.compress(kept, level=1),
        charge_ids=tuple(sorted(charges)),
    )


@retry_on_serialization_failure
async def _keep(context: Context, operator_id: OperatorId, signed: Sequence[Signed]) -> None:
    """Saves deliveries, each whole or not at all. One that was kept before has no effect.

    Readings that decide nothing are kept beside their sessions; usually that is all. What must be applied has
    transactions of its own, since it locks sessions. A delivery counts as kept with the last of its entries: when that
    transaction fails, Monta sends it again, and what the first one did is found to be done.
    """
    now, lately = context.clock.now(), context.deliveries.lately
    each_once = {each.kept.digest: each for each in signed}
    new = [each for digest, each in each_once.items() if digest not in lately]
    left = await _keep_beside(context, operator_id, new, now)
    unfinished = [each for each in new if each.others or left.get(each.kept.digest)]
    for some in _bounded(unfinished, left):
        await _apply(context, operator_id, some, left, now)
    repeated = [each for digest, each in each_once.items() if digest in lately]
    for some in _bounded(repeated, {}):
        await _apply(context, operator_id, some, {each.kept.digest: each.plain for each in some}, now)
    for digest in each_once:
        lately.add(digest)


Left: TypeAlias = Mapping[bytes, Sequence[PlainReading]]
"""Plain readings that must be applied to their sessions, by the digest of their delivery."""


async def _keep_beside(
    context: Context, operator_id: OperatorId, new: Sequence[Signed], now: datetime
) -> Left:
    """Keeps plain readings beside their sessions, and the deliveries that have nothing else. Returns the others."""
    plain = [reading for each in new for reading in each.plain]
    if not plain and all(each.others for each in new):
        return {}
    async with context.database.transaction() as connection:
        left = set(map(id, await keep_beside(connection, operator_id, plain, now)))
        of_each = {each.kept.digest: [r for r in each.plain if id(r) in left] for each in new} if left else {}
        done = [each.kept for each in new if not each.others and not of_each.get(each.kept.digest)]
        await deliveries.keep(connection, operator_id, done, now)
    return of_each


def _bounded(signed: Sequence[Signed], left: Left) -> Iterator[list[Signed]]:
    """Groups deliveries so that no transaction is long. By AT_ONCE entries, or those of one delivery."""
    some: list[Signed] = []
    entries = 0
    for each in signed:
        more = len(each.others) + len(left.get(each.kept.digest, each.plain))
        if some and entries + more > AT_ONCE:
            yield some
            some, entries = [], 0
        some.append(each)
        entries += more
    if some:
        yield some


async def _apply(
    context: Context, operator_id: OperatorId, signed: Sequence[Signed], left: Left, now: datetime
) -> None:
    """Applies what must be applied of some deliveries, and keeps them. One that was kept before has no effect."""
    async with context.database.transaction() as connection:
        new = await deliveries.keep(connection, operator_id, [each.kept for each in signed], now)
        entries = [entry for each in signed if each.kept.digest in new for entry in each.others]
        readings = [r for digest in new for r in left.get(digest, ())]
        for number, reading in enumerate(readings, 1):
            entries.append(read_text(reading.text, now, reading.unit))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        if entries:
            applied = await apply_running(connection, operator_id, entries, context.policy, now)
            await keep_entries(connection, operator_id, entries, now, applied=applied)


def _lag_s(signed: Signed, now: datetime) -> float | None:
    times = [entry.event_time for entry in signed.others if entry.event_time is not None]
    times += [each.told.happened_at for each in signed.plain if each.told.happened_at is not None]
    return max(0.0, (now - min(times)).total_seconds()) if times else None
