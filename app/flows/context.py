"""The context that every flow gets, and Monta's clients. One client an operator."""

from collections.abc import Mapping
from dataclasses import field
from datetime import timedelta
from typing import Protocol

from app.clock import Clock
from app.domain.evidence.seal import Sealer
from app.domain.limit.policy import Policy
from app.domain.session.payment_session import PaymentSession
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId, SessionId
from app.flows.deliveries import Deliveries
from app.flows.events.known_endpoints import KnownEndpoints
from app.flows.key_uses import KeyUses
from app.flows.known_keys import KnownKeys
from app.flows.payments import Payments
from app.monta.client import MontaClient
from app.monta_access import MontaAccess
from app.security_log import SecurityLog
from app.store.db.connection import Connection
from app.store.db.database import Database
from app.store.db.shared_reads import SharedReads
from app.store.operators.charge_points import KnownChargePoint, TariffFound
from app.store.operators.keys import PresentedKey
from app.store.operators.operators import Operator, Operators
from app.store.session_states import Asked, Found
from app.store.sessions import payment_sessions
from app.store.sessions.session_filter import SessionFilter
from app.tracing import Tracing


class IdMaker(Protocol):
    """Makes identifiers, references and keys."""

    def session_id(self) -> SessionId: ...

    def display_reference(self) -> str:
        """A short reference without ambiguous characters, for the driver's receipt."""
        ...

    def new(self, prefix: str) -> str:
        """`prefix_...`: unique, sortable by time."""
        ...

    def secret(self, prefix: str) -> str:
        """`prefix_...` with 256 random bits."""
        ...


class Telemetry(Protocol):
    """Metrics that flows report; in seconds, and minor units of money."""

    def webhook_kept(self, lag_s: float | None, entries: int) -> None:
        """A delivery was kept; `lag_s` is the age of its oldest event."""
        ...

    def webhook_refused(self, why: str) -> None: ...

    def foreign_access(self, kind: str) -> None:
        """A valid key asked for a session of others. `kind` is the key's."""
        ...

    def key_refused(self, kind: str) -> None:
        """A request of this kind came without a valid key."""
        ...

    def stop_sent(self, late_s: float) -> None:
        """A stop is sent, this long after it fell due."""
        ...

    def stop_confirmed(self, latency_s: float) -> None:
        """Reports seconds from our first stop call to its confirmation. Confirmed by Monta's report that no energy
        flows."""
        ...

    def settled(self, overshoot_minor: int, currency: str) -> None:
        """A session was settled; `overshoot_minor` is its cost beyond the authorization."""
        ...

    def swept(self, *, lists: int, single: int, silent: int) -> None:
        """A sweep made this many list calls and single reads. Over `silent` charges."""
        ...

    def claimed(self, late_s: float) -> None:
        """A watcher claimed a session this late after its due time."""
        ...

    def event_sent(self, outcome: str) -> None:
        """An event was sent to a terminal maker's endpoint once: `taken` or `failed`."""
        ...

    def claim_ended(self, took_s: float) -> None:
        """Duration of one claim of a session, its calls included."""
        ...


class TerminalViews(Protocol):
    """What terminals are shown, as JSON: events have the same as the answer to their GET."""

    def session(self, session: PaymentSession, policy: Policy) -> bytes: ...

    def charge_point(self, point: KnownChargePoint, price: TariffFound | None) -> bytes: ...


@frozen(kw_only=True)
class Context:
    """Everything that a flow may use: database, Monta, clock, policy, telemetry."""

    database: Database
    clock: Clock
    ids: IdMaker
    policy: Policy
    operators: Operators
    monta: MontaAccess
    telemetry: Telemetry
    views: TerminalViews
    lease_s: float
    public_url: str | None = None
    inbox_days: int = 14
    """Retention of webhook entries in days."""
    card_days: int = 540
    """Retention of sessions' cards and metadata in days."""
    delivery_days: int = 14
    """Retention of webhook deliveries as they were sent, in days."""
    event_days: int = 14
    """Retention of events for terminal makers in days."""
    clock_is_virtual: bool = False
    """The clock is not meant to agree with the database's: demo and tests."""
    tracing: Tracing = field(default_factory=Tracing)
    security: SecurityLog = field(default_factory=SecurityLog)
    deliveries: Deliveries = field(default_factory=Deliveries)
    payments: Payments = field(default_factory=Payments)
    session_reads: SharedReads[Asked, Mapping[SessionId, Found]] = field(default_factory=SharedReads)
    known_keys: KnownKeys[PresentedKey] = field(default_factory=KnownKeys)
    key_uses: KeyUses = field(default_factory=KeyUses)
    known_endpoints: KnownEndpoints = field(default_factory=KnownEndpoints)

    @property
    def sealer(self) -> Sealer:
        """Seals settled sessions and signs evidence."""
        return self.operators.box.sealer


HOLD_STARTS = timedelta(seconds=60)
"""The longest that starts wait for the reconciliation at a watcher's start: Monta may be down."""


class LeaseLost(Exception):
    """Another worker has the session's lease now; nothing was written."""


class OperatorMissing(Exception):
    """A session's operator is not in the database. It was restored from two different backups."""


async def operator_of(context: Context, operator_id: OperatorId, *, urgent: bool = False) -> Operator:
    """An operator as it was some seconds ago at most (`monta_access.CHECKED_S`). `urgent`: for a stop."""
    known = context.monta.known(operator_id)
    if known is not None:
        return known
    async with context.database.read(urgent=urgent) as connection:
        operator = await context.operators.get(connection, operator_id)
    if operator is None:
        raise OperatorMissing(operator_id)
    context.monta.remember(operator)
    return operator


async def monta_of(context: Context, operator_id: OperatorId, *, urgent: bool = False) -> MontaClient:
    """The client for an operator's account at Monta; `urgent`: for a stop."""
    return context.monta.of(await operator_of(context, operator_id, urgent=urgent))


class OperatorUnknown(Exception):
    def __init__(self, operator_id: str) -> None:
        super().__init__(f"there is no operator {operator_id!r}; `tapwatt operator list` shows them")


class SessionUnknown(Exception):
    """There is no such session, or it is not the caller's."""


async def locked_session(
    connection: Connection, session_id: SessionId, owner: SessionFilter
) -> PaymentSession:
    """Locks a session that its caller may see. Raises SessionUnknown."""
    if await payment_sessions.get(connection, session_id, owner) is not None:
        session = await payment_sessions.lock(connection, session_id)
        if session is not None:
            return session
    raise SessionUnknown
