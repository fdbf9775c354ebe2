"""Looking without changing: sessions, journals, charge points and sums, each within what the caller may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.ids import ChargePointId, OperatorId, SessionId, TerminalId
from app.domain.payment_session import PaymentSession
from app.flows.tools import Tools
from app.store import (
    captures,
    charge_points,
    health,
    journal,
    leases,
    monta_access,
    operator_state,
    orphans,
    payment_sessions,
    settlement_rows,
    suitability,
    terminals,
)
from app.store.captures import Capture
from app.store.charge_points import KnownChargePoint, TariffFound
from app.store.database import Connection, outlive_the_primary
from app.store.health import Totals
from app.store.journal import JournalEntry
from app.store.operator_state import OperatorFacts
from app.store.orphans import Orphan
from app.store.payment_sessions import Condition
from app.store.secret_box import SecretUnreadable
from app.store.settlement_rows import OpenSettlements

MAX_PAGE = 200


@dataclass(frozen=True, slots=True)
class SessionPage:
    """`next` is the (created_at, id) to go on after; None on the last page."""

    sessions: Sequence[PaymentSession]
    next: tuple[datetime, str] | None


@dataclass(frozen=True, slots=True)
class PricedChargePoint:
    point: KnownChargePoint
    price: TariffFound | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How things stand, for one operator or for all."""

    by_status: dict[str, int]
    needs_attention: int
    settlements: OpenSettlements
    last_day: Sequence[Totals]
    watcher_seen_at: datetime | None
    oldest_due_at: datetime | None
    operators: Sequence[OperatorFacts]
    open_orphans: dict[OperatorId, int]
    budget_left: dict[OperatorId, tuple[int, int]]


async def session(tools: Tools, session_id: SessionId, owner: Condition) -> PaymentSession | None:
    async with tools.database.transaction() as connection:
        return await payment_sessions.get(connection, session_id, owner)


async def sessions(
    tools: Tools,
    *conditions: Condition,
    limit: int,
    after: tuple[datetime, str] | None = None,
    for_good: bool = False,
) -> SessionPage:
    """Newest first; `limit` is cut to MAX_PAGE. `for_good`: what is found will survive the primary too."""
    limit = max(1, min(limit, MAX_PAGE))
    async with tools.database.transaction() as connection:
        if for_good:
            await outlive_the_primary(connection)
        found = await payment_sessions.find(connection, *conditions, limit=limit + 1, before=after)
    more = found[limit - 1] if len(found) > limit else None
    return SessionPage(found[:limit], (more.created_at, more.id) if more else None)


async def journal_of(tools: Tools, session_id: SessionId, *, after: int, limit: int) -> list[JournalEntry]:
    async with tools.database.transaction() as connection:
        return await journal.of_session(connection, session_id, after=after, limit=limit)


async def captures_of(tools: Tools, session_id: SessionId) -> list[Capture]:
    async with tools.database.transaction() as connection:
        return await captures.of_session(connection, session_id)


async def orphans_of(tools: Tools, operator_id: OperatorId | None, *, closed: bool) -> list[Orphan]:
    """Charges with our reference that no session knows, newest first; MAX_PAGE at most."""
    async with tools.database.transaction() as connection:
        return await orphans.listed(connection, operator_id, closed=closed, limit=MAX_PAGE)


async def charge_points_of(tools: Tools, terminal_id: TerminalId) -> list[PricedChargePoint]:
    """A terminal's charge points with the price to show."""
    async with tools.database.transaction() as connection:
        points = await charge_points.of_terminal(connection, terminal_id)
        now = tools.clock.now()
        prices = [await charge_points.tariff_for(connection, p.operator_id, p.id, now) for p in points]
    return [PricedChargePoint(p, found) for p, found in zip(points, prices, strict=True)]


async def charge_point_of(
    tools: Tools, terminal_id: TerminalId, charge_point_id: ChargePointId
) -> PricedChargePoint | None:
    async with tools.database.transaction() as connection:
        if not await terminals.is_assigned(connection, terminal_id, charge_point_id):
            return None
    return next(
        (p for p in await charge_points_of(tools, terminal_id) if p.point.id == charge_point_id), None
    )


async def summary(tools: Tools, operator_id: OperatorId | None) -> Summary:
    """Counts, sums of the last 24 hours, and whether the machinery runs."""
    now = tools.clock.now()
    async with tools.database.transaction() as connection:
        known = await operator_state.facts(connection)
        open_orphans = await orphans.count_open(connection)
        left = await monta_access.budget_left(connection)
        return Summary(
            by_status=await health.by_status(connection, operator_id),
            needs_attention=await health.need_attention(connection, operator_id),
            settlements=await settlement_rows.count_open(connection, operator_id),
            last_day=await health.totals(connection, operator_id, start=now - timedelta(days=1), end=now),
            watcher_seen_at=await health.newest_beat(connection),
            oldest_due_at=await leases.oldest_due(connection, now),
            operators=[o for o in known if operator_id in (None, o.id)],
            open_orphans={o: n for o, n in open_orphans.items() if operator_id in (None, o)},
            budget_left={o: n for o, n in left.items() if operator_id in (None, o)},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Each check with what is wrong, or None."""

    database: str | None
    """It must take writes: a disk that is full and a standby that nobody promoted are found out here (F83)."""
    schema: str | None
    clock: str | None
    watcher: str | None
    secrets: str | None = None

    @property
    def ready(self) -> bool:
        return not (self.database or self.schema or self.clock or self.watcher or self.secrets)


MAX_SKEW = timedelta(seconds=2)
MAX_WATCHER_AGE = timedelta(seconds=30)


async def readiness(tools: Tools) -> Readiness:
    """Whether this process can serve, and whether any watcher does the work behind it."""
    now = tools.clock.now()
    async with tools.database.transaction() as connection:
        writable = await health.takes_writes(connection)
        unbound = await suitability.missing_bounds(connection)
        version = await health.schema_version(connection)
        theirs = await health.database_time(connection)
        beat = await health.newest_beat(connection) if version else None
        secrets = await _wrong_key(tools, connection) if version == health.newest_schema() else None
    schema = health.newest_schema()
    skew = abs(tools.clock.now() - theirs)
    return Readiness(
        database=_database_problem(tools, writable, unbound),
        schema=None
        if version == schema
        else f"is at {version}, this code needs {schema}: run `tapwatt migrate`",
        clock=None
        if tools.clock_is_virtual or skew <= MAX_SKEW
        else f"differs from the database's by {skew.total_seconds():.1f} s",
        watcher=None
        if beat and now - beat <= MAX_WATCHER_AGE
        else "no watcher is running: start `tapwatt watch`",
        secrets=secrets,
    )


def _database_problem(tools: Tools, writable: bool, unbound: Sequence[str]) -> str | None:
    if not writable:
        return "is read-only"
    if unbound:
        return f"keeps no bound of {', '.join(unbound)}: a pooler on the way drops what a transaction sets"
    return tools.database.refusal


async def _wrong_key(tools: Tools, connection: Connection) -> str | None:
    try:
        await tools.operators.check_key(connection)
    except SecretUnreadable:
        return "TAPWATT_SECRET_KEY is not the key that the operators' secrets were sealed with"
    return None
