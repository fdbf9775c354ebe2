"""What every flow is given, and the one shape in which a session is changed."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from app.clock import Clock
from app.domain.limit.policy import Policy
from app.domain.session.machine import Change
from app.domain.session.payment_session import PaymentSession
from app.domain.units.ids import OperatorId, SessionId
from app.monta.client import MontaClient
from app.monta.webhook import Entry
from app.monta_access import MontaAccess
from app.store.db.database import Database, retry_on_serialization_failure
from app.store.operators.operators import Operators
from app.store.sessions import leases, payment_sessions
from app.store.sessions.inbox import PendingEntry
from app.store.sessions.leases import Lease


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

    def key_refused(self, kind: str) -> None:
        """Somebody came to this kind of key without a key that opens it."""
        ...

    def stop_confirmed(self, latency_s: float) -> None:
        """From our first stop call to Monta's word that no energy flows."""
        ...

    def settled(self, overshoot_minor: int, currency: str) -> None:
        """A session was settled; what it cost beyond the authorization."""
        ...

    def swept(self, *, lists: int, single: int, silent: int) -> None:
        """A sweep over `silent` charges asked for so many lists, and read so many charges singly."""
        ...

    def monta_called(self, call: str, outcome: str) -> None: ...

    def claimed(self, late_s: float) -> None:
        """A watcher claimed a due session so long after it had fallen due."""
        ...

    def claim_ended(self, took_s: float) -> None:
        """One claim of a session took so long, its calls included."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
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


@retry_on_serialization_failure
async def commit(context: Context, lease: Lease, edit: Callable[[Change], Change]) -> PaymentSession:
    """Lock the session, let the domain change it, save, write the journal, commit; keeps the lease alive.

    Raises LeaseLost when the lease's token is no longer the row's.
    """
    now = context.clock.now()
    async with context.database.transaction() as connection:
        before = await payment_sessions.lock(connection, lease.session_id, lease_token=lease.token)
        if before is None:
            raise LeaseLost(lease.session_id)
        saved = await payment_sessions.save(connection, before, edit(Change(before)), now)
        await leases.extend(connection, lease, now + timedelta(seconds=context.lease_s))
    return saved


async def monta_of(context: Context, operator_id: OperatorId) -> MontaClient:
    """The client for an operator's account at Monta."""
    known = context.monta.known(operator_id)
    if known is not None:
        return known
    async with context.database.transaction() as connection:
        operator = await context.operators.get(connection, operator_id)
    if operator is None:
        raise OperatorMissing(operator_id)
    return context.monta.of(operator)


def _is_deletion(entry: Entry) -> bool:
    return (entry.entity_type or "").lower() == "charge" and entry.event_type == "deleted"


def tells_deletion(item: PendingEntry) -> bool:
    """Whether a webhook says that Monta has deleted the charge."""
    return item.raw is not None and item.raw.get("eventType") == "deleted"


class SessionUnknown(Exception):
    """There is no such session, or it is not the caller's."""
