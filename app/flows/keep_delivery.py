"""Keeps signed deliveries, and applies what their readings decide."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial

from app.domain.units.ids import OperatorId
from app.flows.context import Context
from app.flows.deliveries import Deliveries, Signed, let_others
from app.flows.ingest import apply_running, keep_beside, keep_entries
from app.monta.webhook import Entry, read_text
from app.store.db.database import is_locked, retry_on_serialization_failure
from app.store.db.group_commit import GroupCommit, Write
from app.store.sessions import deliveries

APPLIED_AT_ONCE = 20
"""Entries that are applied in one transaction, about 30 ms, unless one delivery has more."""
READ_AT_ONCE = 3
"""Entries that are read in one step, about half a millisecond, before what else the process does goes on."""
LOCK_MS = 250
"""The longest wait of deliveries that are written together for a row that another transaction has locked. What waits
for longer is written by itself, so that no other delivery waits for such a row, which may decide a stop."""


async def keep_delivery(context: Context, operator_id: OperatorId, signed: Signed) -> None:
    """Keeps a delivery whole, durably. One that was kept before has no effect. Raises TooManyWaiting.

    Readings that decide nothing are kept beside their sessions; usually that is all. What must be applied has a second
    transaction, since it locks sessions, for which what comes next does not wait. A delivery counts as kept with the
    last of its entries: when the second one fails, Monta sends it again, and what the first one did is found done.
    """
    known, began_s = context.deliveries, context.clock.monotonic()
    keep, apply = partial(_keep, context, operator_id), partial(_apply, context, operator_id)
    together = {"lock_ms": LOCK_MS}
    groups = known.groups(
        operator_id, partial(keep, **together), partial(apply, **together), context.database
    )
    await _written(known, groups.keep, keep, signed)
    now_s = context.clock.monotonic()
    known.took(now_s - began_s, now_s)
    if signed.left or signed.others:
        group = groups.urgent if signed.is_urgent or signed.others else groups.later
        await _written(known, group, apply, signed)
    known.lately.add(signed.kept.digest)


async def _written(
    known: Deliveries, group: GroupCommit[Signed], write: Write[Signed], signed: Signed
) -> None:
    """Writes a delivery with others. By itself where another transaction has locked a row of it."""
    try:
        await group.put(signed)
    except Exception as error:
        if not is_locked(error):
            raise
        with known.waiting_for_rows():
            await write([signed])


def digest_of(body: bytes) -> bytes:
    """What tells deliveries apart, 32 bytes."""
    return hashlib.sha256(body).digest()


async def was_kept(context: Context, operator_id: OperatorId, digest: bytes) -> bool:
    """Whether the database has a delivery that this process remembers."""
    if digest not in context.deliveries.lately:
        return False
    async with context.database.read() as connection:
        return await deliveries.is_kept(connection, operator_id, digest)


@retry_on_serialization_failure
async def _keep(
    context: Context, operator_id: OperatorId, signed: Sequence[Signed], *, lock_ms: int | None = None
) -> None:
    """Keeps plain readings beside their sessions, and the deliveries that have nothing else."""
    now, new = context.clock.now(), _new(context, signed)
    plain = [reading for each in new for reading in each.plain]
    if not plain and all(each.others for each in new):
        return
    async with context.database.transaction(lock_ms=lock_ms) as connection:
        left = await keep_beside(connection, operator_id, plain, now, context.deliveries.filling)
        for each in new if left else ():
            texts, must = each.texts(), [n for n, told in enumerate(each.plain) if id(told) in left]
            each.left, each.is_urgent = [texts[n] for n in must], any(left[id(each.plain[n])] for n in must)
        whole = [each.kept for each in new if not each.left and not each.others]
        await deliveries.keep(connection, operator_id, whole, now)


def _new(context: Context, signed: Sequence[Signed]) -> list[Signed]:
    """Deliveries that come for the first time, as far as is known here; all of the others is left for `_apply`, which
    finds out whether they were kept."""
    new: dict[bytes, Signed] = {}
    for each in signed:
        each.left, each.is_urgent = (), False
        if each.kept.digest in context.deliveries.lately or each.kept.digest in new:
            each.left = each.texts()
        else:
            new[each.kept.digest] = each
    return list(new.values())


async def _apply(
    context: Context, operator_id: OperatorId, signed: Sequence[Signed], *, lock_ms: int | None = None
) -> None:
    """Applies what must be applied of deliveries, and keeps them."""
    for some in _bounded(signed):
        await _apply_some(context, operator_id, some, lock_ms)


def _bounded(signed: Sequence[Signed]) -> Iterator[list[Signed]]:
    some: list[Signed] = []
    entries = 0
    for each in signed:
        more = len(each.others) + len(each.left)
        if some and entries + more > APPLIED_AT_ONCE:
            yield some
            some, entries = [], 0
        some.append(each)
        entries += more
    if some:
        yield some


@retry_on_serialization_failure
async def _apply_some(
    context: Context, operator_id: OperatorId, signed: Sequence[Signed], lock_ms: int | None
) -> None:
    now, once = context.clock.now(), {each.kept.digest: each for each in signed}
    async with context.database.transaction(lock_ms=lock_ms) as connection:
        new = await deliveries.keep(connection, operator_id, [each.kept for each in once.values()], now)
        entries: list[Entry] = []
        for each in (once[digest] for digest in sorted(new)):
            entries += each.others
            for text in each.left:
                entries.append(read_text(text, now, each.unit))
                if len(entries) % READ_AT_ONCE == 0:
                    await let_others(context.database)
        if entries:
            applied = await apply_running(context, connection, operator_id, entries, now)
            await keep_entries(connection, operator_id, entries, now, applied=applied)
