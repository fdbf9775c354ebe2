"""Reports liveness, readiness and metrics for Prometheus."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from app.api.docs import examples
from app.api.http.auth import ContextHere
from app.domain.session.payment_session import Status
from app.flows.admin import queries
from app.flows.context import Context
from app.store.db.scope import EVERY, limited_to
from app.store.db.suitability import explain

router = APIRouter(tags=["health"])

CHECKS = ("database", "schema", "clock", "watcher", "secrets")

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


@router.get(
    "/health/live", summary="Liveness of the process", operation_id="getLiveness", responses=examples.LIVE
)
async def live() -> dict[str, str]:
    return {"status": "ok"}


@router.get(
    "/health/ready",
    summary="Readiness: the service and a watcher work",
    operation_id="getReadiness",
    responses=examples.READY,
)
async def ready(context: ContextHere, response: Response) -> dict[str, object]:
    """503 with the reason when the database, its schema, the clock or the watcher is not in order."""
    try:
        found = await queries.readiness(context)
    except Exception as error:
        found = queries.Readiness(
            database=f"cannot be reached ({type(error).__name__}): {explain(error)}",
            schema=None,
            clock=None,
            watcher=None,
        )
    if not found.ready:
        response.status_code = 503
    checks = {name: getattr(found, name) or "ok" for name in CHECKS}
    return {"status": "ok" if found.ready else "not_ready", "checks": checks}


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    operation_id="getMetrics",
    response_class=Response,
    responses=examples.METRICS,
)
async def metrics(request: Request, context: ContextHere) -> Response:
    """The state of all sessions from the database, and this process's own counters."""
    with limited_to(EVERY):
        text = await _database_figures(context)
    text += request.app.state.process_metrics()
    return Response(text, media_type=PROMETHEUS)


async def _database_figures(context: Context) -> str:
    registry = CollectorRegistry()
    found = await queries.summary(context, None)
    now = context.clock.now()
    sessions = Gauge("tapwatt_sessions", "Payment sessions by status.", ["status"], registry=registry)
    for status in Status:
        sessions.labels(status).set(found.by_status.get(status, 0))
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
    connections = Gauge(
        "tapwatt_database_connections_in_use", "By this process' open transactions.", registry=registry
    )
    connections.set(context.database.connections_in_use)
    watcher = Gauge(
        "tapwatt_watcher_heartbeat_age_seconds",
        "Since any watcher was last seen; -1: never.",
        registry=registry,
    )
    watcher.set((now - found.watcher_seen_at).total_seconds() if found.watcher_seen_at else -1)
    _operator_figures(registry, found)
    return generate_latest(registry).decode()


def _operator_figures(registry: CollectorRegistry, found: queries.Summary) -> None:
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
