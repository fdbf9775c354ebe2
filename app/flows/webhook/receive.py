"""Keeps signed webhook deliveries, and applies running charges' entries at once."""

import asyncio
import json
import zlib
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from app.domain.charging.charge import PriceUnit
from app.domain.session.states.kept_readings import Told
from app.flows.context import Context
from app.flows.deliveries import Signed, turns_between
from app.flows.keep_delivery import digest_of, keep_delivery, was_kept
from app.monta.plain_readings import entry_texts, plain_reading, plain_readings, plain_texts
from app.monta.webhook import (
    MAX_ENTRIES,
    READ_KINDS,
    SPOILED_BY_ONE,
    Entry,
    needed_text,
    read_delivery,
    read_entry,
    read_rows,
    read_text,
    signature_is_valid,
)
from app.security_log import Act
from app.store.db.scope import EVERY, limited_to, narrow
from app.store.operators.operators import Operator
from app.store.sessions.deliveries import KeptDelivery

MOST_SIGNATURE_CHARS = 200
AT_ONCE = 25
"""Entries of a delivery that are read in one step, about a millisecond."""
WINDOW_BITS, MEMORY_LEVEL = 13, 6
"""64 kB for compressing, as far back as five entries, instead of 256 kB, which would be cleared for each delivery."""
LARGE_BYTES = 64 * 1024
"""A larger delivery is compressed in a thread, since each megabyte takes some 20 ms."""


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
    await context.deliveries.next_to_read(operator.id, turns_between(context.database))
    digest = digest_of(body)
    if await was_kept(context, operator.id, digest):
        return
    unit = PriceUnit(operator.price_unit)
    read = await _read(body, now, unit)
    signed = Signed(*read, unit, await _to_keep(body, digest, signature, read))
    await keep_delivery(context, operator.id, signed)
    context.telemetry.webhook_kept(_lag_s(read, now), len(signed))


class _Read(NamedTuple):
    """What a delivery says. As in Signed."""

    plain: Sequence[Told]
    others: Sequence[Entry]
    texts: Callable[[], Sequence[bytes]]


async def _read(body: bytes, now: datetime, unit: PriceUnit) -> _Read:
    """Reads a delivery without keeping others waiting, usual entries the short way. Raises UnreadableDelivery."""
    usual = plain_readings(body, unit)
    if usual is not None:
        return _Read(usual, (), partial(plain_texts, body))
    texts = entry_texts(body)
    if texts is None or len(texts) > MAX_ENTRIES:
        return _Read((), await _read_whole(body, now, unit), tuple)
    plain: list[Told] = []
    plain_ones: list[bytes] = []
    others: list[Entry] = []
    for number, text in enumerate(map(bytes, texts), 1):
        told = plain_reading(text, unit)
        if told is None:
            others.append(read_text(text, now, unit))
        else:
            plain.append(told)
            plain_ones.append(text)
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
    return _Read(plain, others, lambda: plain_ones)


async def _read_whole(body: bytes, now: datetime, unit: PriceUnit) -> tuple[Entry, ...]:
    """Reads an unusual delivery in steps, or in a thread. In a thread what one entry spoils for the parser."""
    try:
        rows = read_rows(body)
    except SPOILED_BY_ONE:
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


async def _to_keep(body: bytes, digest: bytes, signature: str | None, read: _Read) -> KeptDelivery:
    """Compresses the delivery at the quickest level. It is written once and hardly ever read.

    With entries that nothing reads (users, teams) only what is needed of it is kept, and no signature fits that.
    """
    charges = {told.charge_id for told in read.plain}
    kept, whole = body, True
    if read.others:
        charges |= {entry.charge.id for entry in read.others if entry.charge is not None}
        whole = all((entry.entity_type or "").lower() in READ_KINDS for entry in read.others)
    if not whole:
        texts = [needed_text(text) for text in read.texts()]
        texts += [json.dumps(entry.raw).encode() for entry in read.others]
        kept = b'{"entries": [%s]}' % b", ".join(texts)
    compressed = await asyncio.to_thread(_packed, kept) if len(kept) > LARGE_BYTES else _packed(kept)
    return KeptDelivery(
        digest=digest,
        signature=(signature or "")[:MOST_SIGNATURE_CHARS] if whole else "",
        body=compressed,
        charge_ids=tuple(sorted(charges)),
    )


def _packed(kept: bytes) -> bytes:
    packing = zlib.compressobj(1, zlib.DEFLATED, WINDOW_BITS, MEMORY_LEVEL)
    return packing.compress(kept) + packing.flush()


def _lag_s(read: _Read, now: datetime) -> float | None:
    times = [entry.event_time for entry in read.others if entry.event_time is not None]
    times += [told.happened_at for told in read.plain if told.happened_at is not None]
    return max(0.0, (now - min(times)).total_seconds()) if times else None
