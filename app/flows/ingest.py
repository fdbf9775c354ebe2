"""Saves Monta's webhook entries in the inbox, and decodes them as reports."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import cast

from app.domain.charging.charge import ChargeReport, PriceUnit
from app.domain.charging.orphan import YOUNG, has_our_form
from app.domain.units.ids import OperatorId
from app.flows.context import _is_deletion
from app.monta.webhook import CHARGE_POINT, PRICE_GROUP, Entry, read_entry
from app.store.db.connection import Connection
from app.store.operators import jobs, operator_state
from app.store.operators.jobs import Job
from app.store.sessions import inbox
from app.store.sessions.inbox import InboxEntry, PendingEntry
from app.strict_json import JsonIn


async def keep_entries(
    connection: Connection, operator_id: OperatorId, entries: Sequence[Entry], now: datetime
) -> int:
    """Saves webhook entries of charges; returns how many were new.

    Unknown sessions that they name may have been lost with a database: a search for their charges is scheduled as soon
    as they are old enough to be checked, not only within the hour.
    """
    kept = await inbox.keep(connection, operator_id, [_inbox_entry(entry) for entry in entries], now)
    lost, due_at = [reference for reference in kept.unknown if has_our_form(reference)], now + YOUNG
    if lost:
        await jobs.lock(connection, Job.RECONCILE, operator_id)
        if await operator_state.suspect_orphans(connection, operator_id, lost, due_at=due_at):
            await jobs.make_due(connection, operator_id, Job.RECONCILE, due_at)
    if kept.new and any(e.entity_type in (CHARGE_POINT, PRICE_GROUP) and e.problem is None for e in entries):
        await jobs.make_due(connection, operator_id, Job.CHARGE_POINTS, now)
    return kept.new


def _inbox_entry(entry: Entry) -> InboxEntry:
    """Converts an entry of Monta's for the inbox."""
    charge = entry.charge
    return InboxEntry(
        dedupe_key=entry.dedupe_key,
        raw=entry.raw,
        entity_type=entry.entity_type,
        entity_id=entry.entity_id,
        event_type=entry.event_type,
        event_time=entry.event_time,
        charge_id=charge.id if charge else entry.entity_id if _is_deletion(entry) else None,
        session_reference=charge.partner_external_id if charge else None,
        problem=entry.problem,
    )


def report_of(item: PendingEntry, unit: PriceUnit) -> ChargeReport | None:
    """Decodes a report as of the event's time, not its arrival; None: it is not readable as a charge."""
    if item.raw is None:
        return None
    entry = read_entry(cast(JsonIn, item.raw), item.received_at, price_unit=unit)
    if entry.charge is None:
        return None
    happened_at = entry.event_time or entry.charge.updated_at or item.received_at
    seen_at = min(happened_at, item.received_at)
    return replace(entry.charge, seen_at=seen_at, arrived_at=item.received_at)
