"""The toolbox that flows are given, and the one shape in which a session is changed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol, cast

from app.clock import Clock
from app.domain.change import Change
from app.domain.charge import ChargeReport
from app.domain.ids import OperatorId, SessionId
from app.domain.orphan import YOUNG, has_our_form
from app.domain.payment_session import PaymentSession
from app.domain.policy import Policy
from app.flows.access import MontaAccess
from app.monta.client import MontaClient
from app.monta.safe_json import JsonIn
from app.monta.webhook import CHARGE_POINT, PRICE_GROUP, Entry, read_entry
from app.monta.wire import PriceUnit
from app.store import duties, inbox, leases, operator_state, payment_sessions
from app.store.conflicts import again_after_conflict
from app.store.database import Connection, Database
from app.store.duties import Duty
from app.store.inbox import InboxEntry, News
from app.store.leases import Lease
from app.store.operators import Operators


class IdMaker(Protocol):
    """The only maker of identifiers, references and keys."""

    def session_id(self) -> SessionId: ...

    def display_reference(self) -> str:
        """Short and unambiguous: what the driver reads on the slip."""
        ...

    def new(self, prefix: str) -> str:
        """`prefix_...`: sortable by time, unique."""
        ...

    def secret(self, prefix: str) -> str:
        """`prefix_...` with 256 bits of chance."""
        ...


class Telemetry(Protocol):
    """Where flows leave the figures that operations watch; seconds, and minor units of money."""

    def webhook_kept(self, lag_s: float | None, entries: int) -> None:
        """A delivery was kept; `lag_s` is the age of its oldest event."""
        ...

    def webhook_refused(self, why: str) -> None: ...

    def key_refused(self, door: str) -> None:
        """Somebody came to this kind of door without a key that opens it."""
        ...

    def stop_confirmed(self, latency_s: float) -> None:
        """From our first stop call to Monta's word that no energy flows."""
        ...

    def settled(self, overshoot_minor: int, currency: str) -> None:
        """A session was settled; what it cost beyond the reservation."""
        ...

    def swept(self, *, lists: int, single: int, silent: int) -> None:
        """A sweep over `silent` charges asked for so many lists, and read so many charges singly."""
        ...

    def monta_called(self, call: str, outcome: str) -> None: ...

    def claimed(self, late_s: float) -> None:
        """A watcher claimed a due session so long after it had fallen due."""
        ...

    def turn_taken(self, took_s: float) -> None:
        """One claim of a session took so long, its calls included."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Everything a flow may touch."""

    database: Database
    clock: Clock
    ids: IdMaker
    policy: Policy
    operators: Operators
    monta: MontaAccess
    telemetry: Telemetry
    lease_s: float
    public_url: str | None = None
    inbox_days: int = 14
    """Webhook entries are kept so long."""
    clock_is_virtual: bool = False
    """The clock is not meant to agree with the database's: demo and tests."""


HOLD_STARTS = timedelta(seconds=60)
"""So long at most starts wait for the reconciliation that a watcher's beginning asks for: Monta may be down."""


class LeaseLost(Exception):
    """Somebody else works on the session by now: whatever was going to be written is theirs to find out."""


class OperatorMissing(Exception):
    """A session's operator is not in the database: it was restored from two different backups."""


@again_after_conflict
async def commit(tools: Tools, lease: Lease, edit: Callable[[Change], Change]) -> PaymentSession:
    """Lock the session, let the domain change it, save, write the journal, commit; keeps the lease alive.

    Raises LeaseLost when the lease's token is no longer the row's.
    """
    now = tools.clock.now()
    async with tools.database.transaction() as connection:
        before = await payment_sessions.lock(connection, lease.session_id, lease_token=lease.token)
        if before is None:
            raise LeaseLost(lease.session_id)
        saved = await payment_sessions.save(connection, before, edit(Change(before)), now)
        await leases.extend(connection, lease, now + timedelta(seconds=tools.lease_s))
    return saved


async def monta_of(tools: Tools, operator_id: OperatorId) -> MontaClient:
    """The client for an operator's account at Monta."""
    known = tools.monta.known(operator_id)
    if known is not None:
        return known
    async with tools.database.transaction() as connection:
        operator = await tools.operators.get(connection, operator_id)
    if operator is None:
        raise OperatorMissing(operator_id)
    return tools.monta.of(operator)


async def keep_entries(
    connection: Connection, operator_id: OperatorId, entries: Sequence[Entry], now: datetime
) -> int:
    """Keep what Monta says of its charges; returns how many entries were new.

    Sessions that it speaks of and that are not here may have been lost with a database: their charges are looked for as
    soon as they are old enough to be judged, not only within the hour.
    """
    kept = await inbox.keep(connection, operator_id, [_inbox_entry(entry) for entry in entries], now)
    lost, due_at = [reference for reference in kept.unknown if has_our_form(reference)], now + YOUNG
    if lost:
        await duties.lock(connection, Duty.RECONCILE, operator_id)
        if await operator_state.suspect_orphans(connection, operator_id, lost, due_at=due_at):
            await duties.make_due(connection, operator_id, Duty.RECONCILE, due_at)
    if kept.new and any(e.entity_type in (CHARGE_POINT, PRICE_GROUP) and e.problem is None for e in entries):
        await duties.make_due(connection, operator_id, Duty.PLACES, now)
    return kept.new


def _inbox_entry(entry: Entry) -> InboxEntry:
    """An entry of Monta's on its way into the inbox."""
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


def _is_deletion(entry: Entry) -> bool:
    return (entry.entity_type or "").lower() == "charge" and entry.event_type == "deleted"


def tells_deletion(item: News) -> bool:
    """Whether a webhook says that Monta has deleted the charge."""
    return item.raw is not None and item.raw.get("eventType") == "deleted"


def report_of(item: News, unit: PriceUnit) -> ChargeReport | None:
    """A webhook tells how things were when it happened, not when it came."""
    if item.raw is None:
        return None
    entry = read_entry(cast(JsonIn, item.raw), item.received_at, price_unit=unit)
    if entry.charge is None:
        return None
    happened_at = entry.event_time or entry.charge.updated_at or item.received_at
    seen_at = min(happened_at, item.received_at)
    return replace(entry.charge, seen_at=seen_at, arrived_at=item.received_at)
