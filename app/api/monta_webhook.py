"""Monta's webhooks: kept durably, then answered; they take effect in the watcher."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Request

from app.api import examples
from app.api.auth import ToolsHere
from app.api.problems import Problem
from app.api.requests import MAX_WEBHOOK_BYTES, bounded_body, shielded
from app.flows import track
from app.monta.webhook import UnreadableDelivery

router = APIRouter(prefix="/v1/webhooks", tags=["monta"])


@router.post(
    "/monta/{endpoint_id}",
    summary="A delivery of events",
    operation_id="receiveMontaWebhook",
    responses=examples.WEBHOOK,
    openapi_extra=examples.WEBHOOK_IN,
)
async def deliver(
    request: Request,
    tools: ToolsHere,
    endpoint_id: Annotated[str, Path(pattern="^[ -~]{1,100}$", examples=["wh_example"])],
    x_monta_signature: Annotated[str | None, Header(examples=["sha1=d7f7fb00..."])] = None,
) -> dict[str, str]:
    """200 `{}` once every entry is stored; one bad entry never fails the others."""
    body = await bounded_body(request, MAX_WEBHOOK_BYTES)
    try:
        await shielded(track.receive(tools, endpoint_id, body, x_monta_signature))
    except track.UnknownEndpoint:
        raise Problem("not_found", "There is no such webhook endpoint.") from None
    except track.BadSignature:
        raise Problem(
            "bad_signature", "X-Monta-Signature does not fit the body and this endpoint's secret."
        ) from None
    except UnreadableDelivery as error:
        raise Problem("invalid_body", f"The delivery cannot be read: {error}.") from None
    return {}
