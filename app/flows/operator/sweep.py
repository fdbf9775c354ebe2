"""Reads silent charges together. One list call covers a hundred, the rest are read one by one."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from app.domain.charging.charge import ChargeReport, ChargeState
from app.domain.limit.policy import Policy
from app.domain.session.limit import limit_at
from app.domain.session.payment_session import PaymentSession
from app.domain.session.reports import clock_ahead
from app.domain.session.states.running_reports import may_merge, merge_reports
from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargeId, OperatorId, SessionId
from app.flows.context import Context, monta_of
from app.monta.client import MontaClient
from app.monta.errors import MontaError, NotDone, Refused
from app.monta.ports import Purpose
from app.store.db.connection import Connection
from app.store.operators import jobs, operator_sessions
from app.store.operators.jobs import JobLease
from app.store.sessions import payment_sessions, polled_reports
from app.store.sessions.session_filter import SessionFilter

log = structlog.get_logger("sweep")

RETRY_S = 10
"""Retry delay after a sweep without an answer, while a session waits for it."""
LIST_FROM = 4
"""Number of silent charges from which a list call is worth it. Fewer are read one by one."""
REACH = timedelta(minutes=30)
"""Charges updated longer ago are requested by state: a list of all since then would be long."""
SOON = timedelta(seconds=20)
"""Charges that would be silent within this time are swept as well, so that soon all are read together."""
MAX_SILENT = 2000
MAX_PAGES = 40
"""Pages of one query: 4,000 charges. At one sweep in 72 s a third of Monta's usual quota at worst."""
MAX_SINGLE = 60
BATCH = 200
"""Polled reports saved in one transaction."""

LISTED = (
    ChargeState.CHARGING,
    ChargeState.PAUSED,
    ChargeState.STARTING,
    ChargeState.STOPPING,
    ChargeState.SCHEDULED,
    ChargeState.RESERVED,
)
"""States of a charge that has not ended and that Monta's list can filter by."""


@frozen
class _Silent:
    """A charge whose news is wanted. `asks`: it has been silent for too long; else it soon will be. One that Monta
    fails to show is read by its own session, less and less often."""

    charge_id: ChargeId
    state: ChargeState
    updated_at: datetime
    asks: bool
    limit_at: datetime | None
    ahead: timedelta
    """Monta's clock minus ours: its lists filter by its own."""


async def sweep(context: Context, lease: JobLease) -> None:
    """Sweeps one operator's silent charges. Never raises for a Monta failure: sessions without news read their charges
    themselves in the end."""
    due_at: datetime | None = None
    silent = await _silent(context, lease.operator_id)
    if silent:
        monta = await monta_of(context, lease.operator_id)
        try:
            await _Sweep(context, lease.operator_id, monta).read(silent)
        except MontaError as error:
            again = context.clock.now() + timedelta(seconds=RETRY_S)
            due_at = max(again, (error.retry_at if isinstance(error, NotDone) else None) or again)
            log.warning("sweep_failed", operator_id=lease.operator_id, error=str(error), silent=len(silent))
    async with context.database.transaction() as connection:
        if due_at is None:
            await jobs.release(connection, lease, None)
        else:
            await jobs.pause(connection, lease, due_at)


async def _silent(context: Context, operator_id: OperatorId) -> list[_Silent]:
    """Silent charges and those soon to be, the nearest limit first. None unless one is silent."""
    now, policy = context.clock.now(), context.policy
    before = now - timedelta(seconds=policy.silent_after_s) + SOON
    async with context.database.transaction() as connection:
        stale = await operator_sessions.stale(connection, operator_id, before)
        oldest = sorted(stale, key=lambda charge_id: stale[charge_id])[:MAX_SILENT]
        wanted = SessionFilter(operator_id=operator_id, charge_ids=oldest)
        sessions = await payment_sessions.find(connection, wanted, limit=MAX_SILENT)
    found = [s for session in sessions if (s := _silent_one(session, policy, now)) is not None]
    if not any(s.asks for s in found):
        return []
    return sorted(found, key=lambda s: (s.limit_at is None, s.limit_at or now, s.charge_id))


def _silent_one(session: PaymentSession, policy: Policy, now: datetime) -> _Silent | None:
    charge = session.charge
    if charge is None or charge.ended or session.lost is not None:
        return None
    asks = not session.reads.failures and charge.seen_at <= now - timedelta(seconds=policy.silent_after_s)
    return _Silent(
        charge.id,
        charge.state,
        charge.latest.updated_at or charge.latest.seen_at,
        asks,
        limit_at(session, charge, policy, now),
        clock_ahead(session),
    )


class _Sweep:
    """One sweep of one operator; counts its calls."""

    def __init__(self, context: Context, operator_id: OperatorId, monta: MontaClient) -> None:
        self._context = context
        self._operator_id = operator_id
        self._monta = monta
        self._lists = 0

    async def read(self, silent: Sequence[_Silent]) -> None:
        """Reads lists first, then the rest one by one. Lists of lately updated charges, then of long-lasting states."""
        left = list(silent)
        recent = [s.updated_at + s.ahead for s in left if s.updated_at >= self._context.clock.now() - REACH]
        if len(recent) >= LIST_FROM:
            left = await self._listed(left, since=min(recent))
        for state in LISTED:
            if sum(s.state is state for s in left) >= LIST_FROM:
                left = await self._listed(left, state=state)
        single = [s for s in left if s.asks][:MAX_SINGLE]
        for one in single:
            try:
                await self._keep([await self._monta.get_charge(one.charge_id)])
            except Refused:
                continue  # Its session reads it itself, and handles a refusal.
        self._context.telemetry.swept(lists=self._lists, single=len(single), silent=len(silent))

    async def _listed(
        self, left: Sequence[_Silent], *, since: datetime | None = None, state: ChargeState | None = None
    ) -> list[_Silent]:
        """Requests one list and saves reports of our charges. Returns those that were not in it."""
        listing = await self._monta.list_charges(
            since, state=state, purpose=Purpose.SWEEP, max_pages=MAX_PAGES
        )
        self._lists += 1
        await self._keep(await self._wanted(listing.charges))
        shown = {report.id for report in listing.charges}
        return [s for s in left if s.charge_id not in shown]

    async def _wanted(self, reports: Sequence[ChargeReport]) -> list[ChargeReport]:
        """Drops charges of others, and those with recent reports. Their sessions need none."""
        before = self._context.clock.now() - timedelta(seconds=self._context.policy.silence_s / 2)
        async with self._context.database.transaction() as connection:
            stale = await operator_sessions.stale(connection, self._operator_id, before)
        return [r for r in reports if r.id in stale]

    async def _keep(self, reports: Sequence[ChargeReport]) -> None:
        for first in range(0, len(reports), BATCH):
            batch, now = reports[first : first + BATCH], self._context.clock.now()
            async with self._context.database.transaction() as connection:
                stops = await self._crossing(connection, batch, now)
                await polled_reports.keep(connection, self._operator_id, batch, now, stops=stops)

    async def _crossing(
        self, connection: Connection, reports: Sequence[ChargeReport], now: datetime
    ) -> set[SessionId]:
        """Returns sessions whose stop falls due by these reports. They are claimed before all others."""
        by_charge = {report.id: report for report in reports}
        locked = await payment_sessions.lock_named(connection, self._operator_id, sorted(by_charge), [])
        found = set()
        for session in (known.session for known in locked):
            report = None if session.charge is None else by_charge.get(session.charge.id)
            if report is not None and may_merge(session, report):
                stop_at = merge_reports(session, [report], self._context.policy, now).due.stop_at
                if stop_at is not None and stop_at <= now:
                    found.add(session.id)
        return found
