"""Reads the database's figures for Prometheus at an interval. So scrapes cost the database nothing."""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, Gauge, Metric, generate_latest

from app.domain.session.payment_session import ENDED_STATUSES, Status
from app.flows.admin.figures import FiguresRead, read_figures
from app.flows.context import Context
from app.store.db.database import DATABASE_ERRORS
from app.store.db.scope import EVERY, limited_to
from app.store.events.endpoints import STATES as ENDPOINT_STATES

READ_EVERY_S = 10.0


class Figures:
    """What was read last. Prometheus' registry in form, for a port of its own."""

    def __init__(self) -> None:
        self._context: Context | None = None
        self._read: CollectorRegistry | None = None
        self._read_at_s = 0.0

    async def text(self, context: Context) -> str:
        """The figures in Prometheus' text format. The first call reads them, if nothing has yet."""
        if self._read is None:
            await self.read(context)
        return generate_latest(self).decode()

    async def read(self, context: Context) -> None:
        """Reads the figures of every operator anew."""
        with limited_to(EVERY):
            found = await read_figures(context)
        registry = CollectorRegistry()
        _sessions(registry, found, context.clock.now())
        _operators(registry, found)
        _events(registry, found)
        self._read = registry
        self._age_from_now(context)

    def _age_from_now(self, context: Context) -> None:
        self._context, self._read_at_s = context, context.clock.monotonic()

    async def keep_reading(self, context: Context) -> None:
        """Reads until it is cancelled. What was read before stays while the database is away, and ages."""
        self._age_from_now(context)
        while True:
            with contextlib.suppress(*DATABASE_ERRORS):
                await self.read(context)
            await asyncio.sleep(READ_EVERY_S)

    def collect(self) -> Iterator[Metric]:
        if self._read is not None:
            yield from self._read.collect()
        if self._context is not None:
            yield from _at_present(self._context, self._read_at_s).collect()


class Together:
    """Several registries as one."""

    def __init__(self, *registries: Figures | CollectorRegistry) -> None:
        self._registries = registries

    def collect(self) -> Iterator[Metric]:
        for registry in self._registries:
            yield from registry.collect()


def _at_present(context: Context, read_at_s: float) -> CollectorRegistry:
    """What this process knows without the database; `read_at_s`: when the rest was read, on its monotonic clock."""
    registry = CollectorRegistry()
    age = Gauge("tapwatt_figures_age_seconds", "Since the database was last read.", registry=registry)
    age.set(context.clock.monotonic() - read_at_s)
    connections = Gauge(
        "tapwatt_database_connections_in_use", "By this process' open transactions.", registry=registry
    )
    connections.set(context.database.connections_in_use)
    return registry


def _sessions(registry: CollectorRegistry, found: FiguresRead, now: datetime) -> None:
    """Adds what concerns all operators together."""
    sessions = Gauge("tapwatt_sessions", "Running sessions by status.", ["status"], registry=registry)
    for status in Status:
        if status not in ENDED_STATUSES:
            sessions.labels(status).set(found.running.get(status, 0))
    attention = Gauge(
        "tapwatt_sessions_needing_attention", "Sessions with an open attention item.", registry=registry
    )
    attention.set(found.needs_attention)
    due = Gauge(
        "tapwatt_settlements_due", "Settlements whose capture is not reported yet.", registry=registry
    )
    due.set(found.settlements.due)
    overdue = Gauge(
        "tapwatt_captures_overdue", "Settlements whose capture report is overdue.", registry=registry
    )
    overdue.set(found.settlements.overdue)
    left = Gauge(
        "tapwatt_monta_budget_remaining", "Requests left in Monta's window.", ["operator"], registry=registry
    )
    for operator_id, (remaining, _) in found.budget_left.items():
        left.labels(operator_id).set(remaining)
    oldest = Gauge(
        "tapwatt_oldest_due_seconds", "How overdue the most overdue session is.", registry=registry
    )
    oldest.set(max(0.0, (now - found.oldest_due_at).total_seconds()) if found.oldest_due_at else 0)
    out = Gauge(
        "tapwatt_out_of_service",
        "Charge points and terminals that are out of service now.",
        ["what"],
        registry=registry,
    )
    out.labels("charge_point").set(found.points_out)
    out.labels("terminal").set(found.terminals_out)
    watcher = Gauge(
        "tapwatt_watcher_heartbeat_age_seconds",
        "Since any watcher was last seen; -1: never.",
        registry=registry,
    )
    watcher.set((now - found.watcher_seen_at).total_seconds() if found.watcher_seen_at else -1)


def _events(registry: CollectorRegistry, found: FiguresRead) -> None:
    """Adds endpoints of terminal makers, and what they have not taken."""
    by_state = Gauge(
        "tapwatt_event_endpoints", "Endpoints of terminal makers by state.", ["state"], registry=registry
    )
    for state in ENDPOINT_STATES:
        by_state.labels(state).set(found.endpoints.get(state, 0))
    waiting = Gauge(
        "tapwatt_events_waiting", "Deliveries of events that were not taken yet.", registry=registry
    )
    waiting.set(found.events_waiting)


def _operators(registry: CollectorRegistry, found: FiguresRead) -> None:
    """Adds the problems of each operator, and charges without a payment session."""
    problem = Gauge(
        "tapwatt_operator_problem",
        "1: the operator's webhook, sync, setup, access or reconcile has a problem.",
        ["operator", "what"],
        registry=registry,
    )
    orphans = Gauge(
        "tapwatt_orphan_charges", "Charges of ours that no session knows.", ["operator"], registry=registry
    )
    compared = Gauge(
        "tapwatt_reconciled_timestamp_seconds",
        "When Monta's list was last compared with ours.",
        ["operator"],
        registry=registry,
    )
    clock = Gauge(
        "tapwatt_monta_clock_ahead_seconds",
        "Monta's clock minus ours, as its last charges showed; 0: they agree.",
        ["operator"],
        registry=registry,
    )
    for operator in found.operators:
        clock.labels(operator.id).set(operator.monta_clock_ahead_s or 0)
        for what in ("webhook", "sync", "setup", "access", "reconcile"):
            wrong = getattr(operator, f"{what}_problem") is not None
            problem.labels(operator.id, what).set(int(wrong))
        orphans.labels(operator.id).set(found.open_orphans.get(operator.id, 0))
        if operator.reconciled_at is not None:
            compared.labels(operator.id).set(operator.reconciled_at.timestamp())
