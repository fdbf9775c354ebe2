"""Applies Monta's webhook entries to running sessions, keeps the others, and decodes them as reports."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import cast

import structlog

from app.domain.charging.charge import ChargeReport, PriceUnit
from app.domain.charging.orphan import YOUNG, has_our_form
from app.domain.limit.policy import Policy
from app.domain.session.machine import Wait
from app.domain.session.payment_session import PaymentSession
from app.domain.session.states.allowed_readings import allowed_for
from app.domain.session.states.kept_readings import (
    ABSORBED_FROM,
    KeptReadings,
    Told,
    keep_reading,
    may_decide,
)
from app.domain.session.states.running_reports import Merged, may_merge, merge_reports, rescheduled
from app.domain.units.frozen import replace
from app.domain.units.ids import ChargeId, OperatorId, SessionId
from app.flows.context import Context
from app.flows.deliveries import Filling, let_others
from app.flows.saving import save_all
from app.monta.webhook import CHARGE_POINT, PRICE_GROUP, Entry, read_entry
from app.store import kept_readings
from app.store.db.connection import Connection
from app.store.kept_readings import Allowance, Beside
from app.store.operators import jobs, operator_state
from app.store.operators.jobs import Job
from app.store.sessions import inbox, leases, payment_sessions
from app.store.sessions.inbox import InboxEntry, PendingEntry
from app.store.sessions.payment_sessions import Locked
from app.strict_json import JsonIn

log = structlog.get_logger("webhook")

DECIDED_AT_ONCE = 10
"""Sessions that are decided in one step, about 5 ms, before what else the process does goes on."""


async def keep_entries(
    connection: Connection,
    operator_id: OperatorId,
    entries: Sequence[Entry],
    now: datetime,
    *,
    applied: Collection[str] = (),
) -> int:
    """Saves webhook entries for the watcher, except those that `apply_running` has applied (their keys). Returns how
    many were new.

    Unknown sessions that they name may have been lost with a database: a search for their charges is scheduled as soon
    as they are old enough to be checked, not only within the hour.
    """
    left_out = sorted({name for entry in entries for name in entry.dropped_fields})
    if left_out:
        log.warning("webhook_fields_left_out", operator_id=operator_id, fields=left_out)
    waiting = [_inbox_entry(entry) for entry in entries if entry.dedupe_key not in applied]
    kept = await inbox.keep(connection, operator_id, waiting, now)
    lost, due_at = [reference for reference in kept.unknown if has_our_form(reference)], now + YOUNG
    if lost:
        await jobs.lock(connection, Job.RECONCILE, operator_id)
        if await operator_state.suspect_orphans(connection, operator_id, lost, due_at=due_at):
            await jobs.make_due(connection, operator_id, Job.RECONCILE, due_at)
    if kept.new and any(e.entity_type in (CHARGE_POINT, PRICE_GROUP) and e.problem is None for e in entries):
        await jobs.make_due(connection, operator_id, Job.CHARGE_POINTS, now)
    return kept.new


async def keep_beside(
    connection: Connection,
    operator_id: OperatorId,
    readings: Sequence[Told],
    now: datetime,
    filling: Filling,
) -> dict[int, bool]:
    """Keeps the readings that decide nothing beside their sessions.

    Returns the `id` of each one that must be applied, and whether it may decide something. `filling`: gets the
    sessions with many kept readings.
    """
    by_charge: dict[ChargeId, list[Told]] = {}
    for told in readings:
        by_charge.setdefault(told.charge_id, []).append(told)
    if not by_charge:
        return {}
    left: dict[int, bool] = {}
    kept: list[tuple[Beside, KeptReadings]] = []
    for beside in await kept_readings.lock(connection, operator_id, by_charge):
        known, found = beside.kept, by_charge.pop(beside.charge_id)
        if len(found) > 1:
            found.sort(key=lambda told: told.updated_at)
        for told in found:
            more = keep_reading(beside.allowed, known, told, now)
            if more is None or known.is_full:
                left[id(told)] = more is None and may_decide(beside.allowed, known.newest, told, now)
            else:
                known = more
        if known is not beside.kept:
            kept.append((beside, known))
    await kept_readings.keep(connection, kept)
    filling.add(operator_id, [beside.session_id for beside, known in kept if known.readings >= ABSORBED_FROM])
    return left | {id(told): True for unknown in by_charge.values() for told in unknown}


def allowance_of(
    session: PaymentSession, wait: Wait, policy: Policy, now: datetime
) -> tuple[Allowance | None, Wait]:
    """Returns what readings may show without a decision, and until when. Of a saved session; until when it waits
    then."""
    charge = session.charge
    allowed = None if charge is None else allowed_for(session, policy, now)
    if allowed is None or charge is None or wait.until is None:
        return None, wait
    stop_at = allowed.stop_at if wait.stop_at is None else min(wait.stop_at, allowed.stop_at)
    return Allowance(session, charge, allowed), Wait(
        min(wait.until, allowed.due_at), stop_at, for_silence=True
    )


async def apply_running(
    context: Context, connection: Connection, operator_id: OperatorId, entries: Sequence[Entry], now: datetime
) -> frozenset[str]:
    """Applies entries about running charges to their sessions. Returns the keys of the applied ones.

    An entry that was applied before changes nothing, since merging is idempotent.
    """
    by_charge = _of_charges(entries)
    if not by_charge:
        return frozenset()
    references = {e.charge.partner_external_id for e in entries if e.charge is not None}
    locked = await payment_sessions.lock_named(
        connection, operator_id, sorted(by_charge), sorted(filter(None, references))
    )
    keys: set[str] = set()
    merged: list[tuple[Locked, Merged]] = []
    for number, known in enumerate(locked):
        if number % DECIDED_AT_ONCE == 0:
            await let_others(context.database)
        reports = dict(_mergeable(known.session, by_charge, now))
        keys.update(reports)
        newest = sorted(reports.values(), key=lambda report: report.seen_at)[-inbox.READ_OF_EACH :]
        if reports:
            merged.append((known, merge_reports(known.session, newest, context.policy, now)))
    await _save(context, connection, merged, now)
    return frozenset(keys)


async def apply_kept(
    context: Context,
    connection: Connection,
    operator_id: OperatorId,
    session_ids: Collection[SessionId],
    now: datetime,
) -> None:
    """Applies kept readings to their sessions where they are many. Unless a watcher works on the session."""
    merged = [
        (known, merge_reports(known.session, (), context.policy, now))
        for known in await payment_sessions.lock_named(connection, operator_id, (), sorted(session_ids))
        if (known.session.beside or 0) >= ABSORBED_FROM and not _is_leased(known, now)
    ]
    await _save(context, connection, merged, now)


async def _save(
    context: Context, connection: Connection, merged: Sequence[tuple[Locked, Merged]], now: datetime
) -> None:
    """Saves locked sessions. Says when they are due, and what their readings may show from now on."""
    edits = [(known.session, after.change) for known, after in merged]
    saved = await save_all(context, connection, edits, now)
    due: dict[str, Wait] = {}
    allowances: list[Allowance] = []
    for session, (known, after) in zip(saved, merged, strict=True):
        leased = _is_leased(known, now)
        allowance, wait = (
            (None, after.due) if leased else allowance_of(session, after.due, context.policy, now)
        )
        allowances += [allowance] if allowance is not None else []
        moved = rescheduled(known.due_at, wait, now, leased=leased)
        if moved is not None:
            due[session.id] = moved
    await kept_readings.allow(connection, allowances)
    await leases.reschedule(connection, due, now)


def _is_leased(known: Locked, now: datetime) -> bool:
    """Whether a watcher works on the session."""
    return known.lease_until is not None and known.lease_until > now


def _of_charges(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Readable entries about charges that were not deleted, by charge."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.charge is not None and entry.problem is None and not _is_deletion(entry):
            found.setdefault(entry.charge.id, []).append(entry)
    return found


def _mergeable(
    session: PaymentSession, by_charge: Mapping[str, Sequence[Entry]], now: datetime
) -> list[tuple[str, ChargeReport]]:
    """Keys and reports of a session's entries that need no watcher's turn."""
    entries = () if session.charge is None else by_charge.get(session.charge.id, ())
    return [
        (entry.dedupe_key, replace(entry.charge, arrived_at=now))
        for entry in entries
        if entry.charge is not None and may_merge(session, entry.charge)
    ]


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
    """Decodes a report as of the event's time, not its arrival. None: it is not readable as a charge."""
    if item.raw is None:
        return None
    entry = read_entry(cast(JsonIn, item.raw), item.received_at, price_unit=unit)
    if entry.charge is None:
        return None
    happened_at = entry.event_time or entry.charge.updated_at or item.received_at
    seen_at = min(happened_at, item.received_at)
    return replace(entry.charge, seen_at=seen_at, arrived_at=item.received_at)


def _is_deletion(entry: Entry) -> bool:
    return (entry.entity_type or "").lower() == "charge" and entry.event_type == "deleted"


def reports_deletion(item: PendingEntry) -> bool:
    """Whether a webhook says that Monta has deleted the charge."""
    return item.raw is not None and item.raw.get("eventType") == "deleted"
