"""Receives Monta's webhooks: stored durably, then answered; the watcher applies them."""

import re
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request

from app.api.docs import examples
from app.api.http.auth import ContextHere, count_failures, limits_of
from app.api.http.hot_paths import HotPath
from app.api.http.requests import MAX_WEBHOOK_BYTES, StrictRequest, bounded_body, shielded
from app.api.http.responses import JsonBytes
from app.flows.context import Context
from app.flows.webhook import receive
from app.monta.webhook import DELIVERY_PATH, delivery_path
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
    await _take(request, context, endpoint_id, x_monta_signature)
    return {}


async def _take(request: Request, context: Context, endpoint_id: str, signature: str | None) -> None:
    body = await bounded_body(request, MAX_WEBHOOK_BYTES)
    kept = shielded(receive.receive(context, endpoint_id, body, signature))
    counted = count_failures(request, kept, receive.BadSignature, receive.UnknownEndpoint)
    await limits_of(request).held_back(counted, TooManyWaiting)


_KEPT = JsonBytes(b"{}")


async def _usual_delivery(request: StrictRequest, match: re.Match[str]) -> JsonBytes:
    await _take(
        request, request.app.state.context, match["endpoint"], request.headers.get("x-monta-signature")
    )
    return _KEPT


HOT = HotPath(
    "POST",
    re.compile(re.escape(delivery_path("")) + r"(?P<endpoint>[\w-]{1,100})\?", re.ASCII),
    _usual_delivery,
)
