"""Health: checks, operators, webhooks, stops, lateness, quota, watchers."""

from fastapi import APIRouter, Request, Response
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from app.api.http.auth import ContextHere
from app.api.routes.health import CHECKS
from app.console.http.pages import ConsoleRoute, page
from app.console.http.signed_in import Viewer
from app.console.views.troubles import held_words
from app.domain.alerts import causes
from app.domain.units.frozen import frozen
from app.flows.admin import queries
from app.flows.console.health import OVERDUE_AFTER, UNCONFIRMED_AFTER, pulse

router = APIRouter(prefix="/console", route_class=ConsoleRoute)

COUNTERS = {
    "tapwatt_webhooks_refused": "Webhooks refused",
    "tapwatt_keys_refused": "Calls with a wrong key",
    "tapwatt_webhook_entries": "Webhook entries kept",
    "tapwatt_sessions_overshot": "Sessions that cost more than authorized",
}
ADVICE = {
    "tapwatt_webhooks_refused": "With a wrong signature: compare the webhook's secret at Monta;"
    " `tapwatt operator change-webhook-secret` makes a new one.",
}
"""What to do when a counter is above 0."""
"""Counters of this process that the page shows, since its start."""
AVERAGES = {
    "tapwatt_stop_lateness_seconds": "Stops sent this late, on average",
    "tapwatt_watcher_lateness_seconds": "Due work claimed this late, on average",
    "tapwatt_stop_latency_seconds": "From a stop to Monta's confirmation, on average",
    "tapwatt_webhook_lag_seconds": "Age of webhooks on arrival, on average",
}


@frozen
class Figure:
    name: str
    value: str
    advice: str = ""


@router.get("/health")
async def health_page(request: Request, context: ContextHere, viewer: Viewer) -> Response:
    operator_id = viewer.key.operator_id
    ready = await queries.readiness(context)
    checks = {name: getattr(ready, name) for name in CHECKS}
    return page(
        request,
        "health.html",
        viewer,
        checks=checks,
        summary=await queries.summary(context, operator_id),
        pulse=await pulse(context, operator_id),
        unconfirmed_after=UNCONFIRMED_AFTER,
        overdue_after=OVERDUE_AFTER,
        silent_after=queries.MAX_WATCHER_AGE,
        tolerance=None if context.clock_is_virtual else causes.CLOCK_TOLERANCE,
        held=held_words,
        row_of=causes.words,
        figures=_figures(request.app.state.process_metrics()) if operator_id is None else [],
        connections=context.database.connections_in_use,
    )


def _figures(exposition: str) -> list[Figure]:
    """This process's counters and averages. They count all operators together, so only keys that see all get them."""
    found: list[Figure] = []
    for family in text_string_to_metric_families(exposition):
        if family.name in COUNTERS:
            total = sum(s.value for s in family.samples if s.name == f"{family.name}_total")
            why = [f"{s.labels['why'].replace('_', ' ')} {s.value:g}" for s in family.samples if _is_why(s)]
            value = f"{total:g}" + (f" ({', '.join(why)})" if why else "")
            found.append(Figure(COUNTERS[family.name], value, ADVICE.get(family.name, "") if total else ""))
        elif family.name in AVERAGES:
            count = sum(s.value for s in family.samples if s.name == f"{family.name}_count")
            total = sum(s.value for s in family.samples if s.name == f"{family.name}_sum")
            if count:
                found.append(Figure(AVERAGES[family.name], f"{total / count:.2f} s of {count:g}"))
    return found


def _is_why(sample: Sample) -> bool:
    """Whether it counts one reason, and there was any."""
    return sample.name.endswith("_total") and "why" in sample.labels and sample.value > 0
