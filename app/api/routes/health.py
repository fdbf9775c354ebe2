"""Reports liveness, readiness and metrics for Prometheus."""

from fastapi import APIRouter, Request, Response

from app.api.docs import examples
from app.api.figures import Figures
from app.api.http.auth import CallingOps, ContextHere
from app.api.http.problems import Problem
from app.flows.admin import queries
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
    """503 with the reason when this process is not ready. Then the database, its schema, the clock or the watcher is
    not in order."""
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
async def metrics(request: Request, context: ContextHere, key: CallingOps) -> Response:
    """The state of all sessions, and this process's own counters. At most some seconds old.

    The key must be for every operator.
    """
    if key.operator_id is not None:
        raise Problem("not_found", "Metrics need an operations key that is for every operator.")
    figures: Figures = request.app.state.figures
    text = await figures.text(context) + request.app.state.process_metrics()
    return Response(text, media_type=PROMETHEUS)
