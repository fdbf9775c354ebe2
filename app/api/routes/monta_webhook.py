"""Receives Monta's webhooks: stored durably, then answered; the watcher applies them."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Request

from app.api.docs import examples
from app.api.http.auth import ContextHere, count_failures, limits_of
from app.api.http.hot_paths import keep
from app.flows.webhook import receive
from app.monta.webhook import DELIVERY_PATH
from app.store.db.group_commit import TooManyWaiting

router = APIRouter(tags=["monta"])


@router.post(
    DELIVERY_PATH,
    summary="Receive a delivery of events",
    operation_id="receiveMontaWebhook",
    responses=examples.WEBHOOK,
    openapi_extra=examples.WEBHOOK_IN,
)
async def deliver(
    request: Request,
    context: ContextHere,
    endpoint_id: Annotated[str, Path(pattern="^[ -~]{1,100}$", examples=["wh_example"])],
    x_monta_signature: Annotated[str | None, Header(examples=["sha1=d7f7fb00..."])] = None,
) -> dict[str, str]:
    """200 `{}` once every entry is stored; an invalid entry does not fail the others."""
    kept = keep(request, context, endpoint_id, x_monta_signature)
    counted = count_failures(request, kept, receive.BadSignature, receive.UnknownEndpoint)
    await limits_of(request).held_back(counted, TooManyWaiting)
    return {}
