"""Reads sessions, journals, charge points and totals, within the caller's view."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from app.domain.limit.policy import Policy
from app.domain.limit.usual_charge import suggested_amount
from app.domain.session.holds import most_minor
from app.domain.session.payment_session import PaymentSession
from app.domain.tariff.shown_price import ShownPrice, shown_price
from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargeId, ChargePointId, OperatorId, SessionId, TerminalId
from app.flows.context import Context, SessionUnknown
from app.store import health, session_states
from app.store.db import suitability
from app.store.db.connection import Connection
from app.store.db.database import wait_for_standby
from app.store.db.schema import schema_of, schema_problem
from app.store.db.scope import EVERY, limited_to
from app.store.health import Totals
from app.store.operators import charge_points, monta_access, operator_state, orphans, terminals
from app.store.operators.charge_points import KnownChargePoint, TariffFound
from app.store.operators.keys import OpsKey
from app.store.operators.names import Names, names_of
from app.store.operators.operator_state import OperatorFacts
from app.store.operators.orphans import Orphan
from app.store.operators.secret_keys import WrongSecretKey
from app.store.operators.terminals import Terminal, TerminalChargePoint
from app.store.session_states import Asked, Found, SessionState
from app.store.sessions import journal, leases, payment_sessions
from app.store.sessions.journal import JournalEntry
from app.store.sessions.session_filter import SessionFilter
from app.store.sessions.settlements import Capture, OpenSettlements, captures_of_session, count_open

MAX_PAGE = 200


@frozen
class SessionPage:
    """`next` is the (created_at, id) to go on after. None on the last page."""

    sessions: Sequence[PaymentSession]
    next: tuple[datetime, str] | None


@frozen
class PricedChargePoint:
    """A charge point as its terminal shows it. `suggested_minor`: a hold for a usual charge. None: not priced."""

    point: KnownChargePoint
    price: TariffFound | None
    prices: ShownPrice | None
    suggested_minor: int | None
    is_occupied: bool


@frozen(kw_only=True)
class Summary:
    """Counts, totals and health, for one operator or for all."""

    by_status: dict[str, int]
    needs_attention: int
    settlements: OpenSettlements
    last_day: Sequence[Totals]
    watcher_seen_at: datetime | None
    oldest_due_at: datetime | None
    operators: Sequence[OperatorFacts]
    open_orphans: dict[OperatorId, int]
    budget_left: dict[OperatorId, tuple[int, int]]


def visible_to(key: OpsKey) -> SessionFilter:
    """Returns the sessions that an operations key may see. Its operator's, or all for a key without one."""
    return SessionFilter(operator_id=key.operator_id)


async def session(context: Context, session_id: SessionId, owner: SessionFilter) -> PaymentSession:
    """Returns a session that its caller may see. Raises SessionUnknown."""
    async with context.database.read() as connection:
        found = await payment_sessions.get(connection, session_id, owner)
    if found is None:
        raise SessionUnknown
    return found


async def own_session(
    context: Context, terminal: Terminal, session_id: SessionId, known: SessionState | None
) -> tuple[SessionState, PaymentSession | None]:
    """Returns a terminal's session for its view, and its row's state. Where that is `known`, only the state. Calls that
    arrive together share a statement. Raises SessionUnknown."""
    read = partial(_read_together, context, terminal.operator_id)
    found = (await context.session_reads.find(terminal.operator_id, (session_id, known), read)).get(
        session_id
    )
    if found is None or found.state.terminal_id != terminal.id:
        raise SessionUnknown
    return found.state, found.shown(context.policy)


async def _read_together(
    context: Context, operator_id: OperatorId, take: Callable[[], Sequence[Asked]]
) -> dict[SessionId, Found]:
    async with context.database.read() as connection:
        return await session_states.find_asked(connection, operator_id, take())


async def session_exists(context: Context, session_id: str) -> bool:
    """Whether any operator has a session with this id. Whoever asks: to notice that others try it."""
    with limited_to(EVERY):
        async with context.database.read() as connection:
            return bool(await session_states.states_of(connection, SessionFilter(ids=[session_id])))


async def charge_point_is_used(context: Context, charge_point_id: ChargePointId) -> bool:
    """Whether any operator's terminal uses this charge point, whoever asks."""
    with limited_to(EVERY):
        async with context.database.read() as connection:
            return await terminals.is_used(connection, charge_point_id)


async def orphan_exists(context: Context, charge_id: ChargeId) -> bool:
    """Whether any operator has an orphan charge with this id, whoever asks."""
    with limited_to(EVERY):
        async with context.database.read() as connection:
            return await orphans.is_known(connection, charge_id)


async def sessions(
    context: Context,
    wanted: SessionFilter,
    *,
    limit: int,
    after: tuple[datetime, str] | None = None,
    for_good: bool = False,
) -> SessionPage:
    """Sessions, newest first; `limit` is cut to MAX_PAGE. `for_good`: waits for the standby, so that what is found
    survives a failover."""
    limit = max(1, min(limit, MAX_PAGE))
    async with context.database.transaction() as connection:
        if for_good:
            await wait_for_standby(connection)
        found = await payment_sessions.find(connection, wanted, limit=limit + 1, before=after)
    more = found[limit - 1] if len(found) > limit else None
    return SessionPage(found[:limit], (more.created_at, more.id) if more else None)


@frozen
class StatePage:
    """A page's sessions, newest first, each with its row's state. `next` as in SessionPage.

    `read`: those that the caller did not know in this state, with the state in which they were read.
    """

    states: Sequence[SessionState]
    read: Sequence[tuple[SessionState, PaymentSession]]
    next: tuple[datetime, str] | None


async def state_page(
    context: Context,
    wanted: SessionFilter,
    *,
    limit: int,
    after: tuple[datetime, str] | None,
    is_known: Callable[[SessionState], bool],
) -> StatePage:
    """Finds as `sessions` does, without loading sessions known to the caller. Those are most of a list that is
    polled."""
    limit = max(1, min(limit, MAX_PAGE))
    async with context.database.read() as connection:
        found = await session_states.find_states(connection, wanted, limit=limit + 1, before=after)
        states = found[:limit]
        missing = [state.id for state in states if not is_known(state)]
        read = await session_states.get_states(connection, missing) if missing else []
    more = states[-1] if len(found) > limit else None
    return StatePage(states, read, (more.created_at, more.id) if more else None)


async def session_versions(context: Context, ids: Sequence[str]) -> dict[str, int]:
    """Returns the versions of these sessions. Whoever owns them; unknown ones are left out."""
    with limited_to(EVERY):
        async with context.database.read() as connection:
            return await session_states.versions(connection, ids)


async def journal_of(
    context: Context, session_id: SessionId, *, after: int, limit: int
) -> list[JournalEntry]:
    async with context.database.read() as connection:
        return await journal.of_session(connection, session_id, after=after, limit=limit)


async def names_of_places(context: Context, of: Sequence[PaymentSession]) -> Names:
    """The names of these sessions' operators, terminals and charge points."""
    points = {(s.operator_id, s.charge_point_id) for s in of}
    async with context.database.read() as connection:
        return await names_of(connection, {s.terminal_id for s in of}, points)


async def captures_of(context: Context, session_id: SessionId) -> list[Capture]:
    async with context.database.read() as connection:
        return await captures_of_session(connection, session_id)


async def orphans_of(context: Context, operator_id: OperatorId | None, *, closed: bool) -> list[Orphan]:
    """Charges with our reference that no session knows, newest first; MAX_PAGE at most."""
    async with context.database.read() as connection:
        return await orphans.listed(connection, operator_id, closed=closed, limit=MAX_PAGE)


async def charge_points_of(context: Context, terminal_id: TerminalId) -> list[PricedChargePoint]:
    """A terminal's charge points with the price to show."""
    async with context.database.read() as connection:
        found = await terminals.charge_points_of(connection, terminal_id)
        now = context.clock.now()
        tariffs = [
            await charge_points.tariff_for(connection, p.point.operator_id, p.point.id, now) for p in found
        ]
    return [_priced(p, tariff, now, context.policy) for p, tariff in zip(found, tariffs, strict=True)]


def _priced(
    here: TerminalChargePoint, found: TariffFound | None, now: datetime, policy: Policy
) -> PricedChargePoint:
    if found is None:
        return PricedChargePoint(here.point, None, None, None, here.is_occupied)
    prices, seen = shown_price(found.tariff, now, ZoneInfo(here.time_zone)), here.point.seen
    wanted = suggested_amount(prices, seen.type if seen else None, seen.max_power_w if seen else None)
    most = most_minor(prices.currency, policy, here.hold_max_eur)
    return PricedChargePoint(here.point, found, prices, min(wanted, most), here.is_occupied)


async def charge_point_of(
    context: Context, terminal_id: TerminalId, charge_point_id: ChargePointId
) -> PricedChargePoint | None:
    async with context.database.read() as connection:
        if not await terminals.is_assigned(connection, terminal_id, charge_point_id):
            return None
    return next(
        (p for p in await charge_points_of(context, terminal_id) if p.point.id == charge_point_id), None
    )


async def summary(context: Context, operator_id: OperatorId | None) -> Summary:
    """Counts sessions, sums the last 24 hours and checks that watchers run."""
    now = context.clock.now()
    async with context.database.read() as connection:
        known = await operator_state.facts(connection)
        open_orphans = await orphans.count_open(connection)
        left = await monta_access.budget_left(connection)
        return Summary(
            by_status=await health.by_status(connection, operator_id),
            needs_attention=await health.need_attention(connection, operator_id),
            settlements=await count_open(connection, operator_id),
            last_day=await health.totals(connection, operator_id, start=now - timedelta(days=1), end=now),
            watcher_seen_at=await health.newest_beat(connection),
            oldest_due_at=await leases.oldest_due(connection, now, operator_id),
            operators=[o for o in known if operator_id in (None, o.id)],
            open_orphans={o: n for o, n in open_orphans.items() if operator_id in (None, o)},
            budget_left={o: n for o, n in left.items() if operator_id in (None, o)},
        )


@frozen(kw_only=True)
class Readiness:
    """Each readiness check with its problem, or None."""

    database: str | None
    """It must take writes: this finds a full disk and a standby that was not promoted (F83)."""
    schema: str | None
    clock: str | None
    watcher: str | None
    secrets: str | None = None

    @property
    def ready(self) -> bool:
        return not (self.database or self.schema or self.clock or self.watcher or self.secrets)


MAX_SKEW = timedelta(seconds=2)
MAX_WATCHER_AGE = timedelta(seconds=30)


async def readiness(context: Context) -> Readiness:
    """Checks whether this process can serve, and whether a watcher runs."""
    with limited_to(EVERY):
        return await _readiness(context, context.clock.now())


async def _readiness(context: Context, now: datetime) -> Readiness:
    async with context.database.transaction() as connection:
        writable = await health.takes_writes(connection)
        unbound = await suitability.missing_bounds(connection)
        schema = await schema_of(connection)
        theirs = await health.database_time(connection)
        beat = await health.newest_beat(connection) if schema.revision else None
        problem = schema_problem(schema)
        secrets = None if problem else await _wrong_key(context, connection)
    skew = abs(context.clock.now() - theirs)
    return Readiness(
        database=_database_problem(context, writable, unbound),
        schema=problem,
        clock=None
        if context.clock_is_virtual or skew <= MAX_SKEW
        else f"differs from the database's by {skew.total_seconds():.1f} s",
        watcher=None
        if beat and now - beat <= MAX_WATCHER_AGE
        else "no watcher is running: start `tapwatt watch`",
        secrets=secrets,
    )


def _database_problem(context: Context, writable: bool, unbound: Sequence[str]) -> str | None:
    if not writable:
        return "is read-only"
    if unbound:
        return f"keeps no bound of {', '.join(unbound)}: a pooler on the way drops what a transaction sets"
    return context.database.refusal


async def _wrong_key(context: Context, connection: Connection) -> str | None:
    try:
        await context.operators.check_key(connection)
    except WrongSecretKey as error:
        return str(error)
    return None
