"""A session's page: amounts, chart, time line, and operations' actions."""

from collections.abc import Callable, Coroutine
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import RedirectResponse

from app.api.http.auth import ContextHere
from app.api.http.requests import shielded
from app.console.http.forms import reason_of
from app.console.http.pages import ConsoleRoute, Refused, page, part
from app.console.http.signed_in import Act, Acting, Viewer
from app.console.http.streams import event_stream
from app.console.session_stream import DONE as DONE_EVENT
from app.console.session_stream import Looking, SessionPage, SessionStreams
from app.console.views.formats import money
from app.console.views.session import PARTS, told, values_of
from app.console.views.timeline import timeline_of
from app.domain.session.payment_session import PaymentSession, StopReason
from app.domain.units.ids import SessionId
from app.domain.units.money import exponent
from app.flows.admin import queries
from app.flows.admin.acknowledge import acknowledge
from app.flows.admin.queries import visible_to
from app.flows.admin.settle_manually import close_manually, settle_manually
from app.flows.console.session import SessionRead, earlier_lines, read_session
from app.flows.context import Context
from app.flows.terminal.request_stop import request_stop

router = APIRouter(prefix="/console/sessions", route_class=ConsoleRoute)

SessionPath = Annotated[SessionId, Path(alias="id", pattern="^[ -~]{1,64}$")]
MOST_LINE_DIGITS = 18
DONE = {
    "stop": "The stop is requested. The watcher sends it now.",
    "settle": "The session is settled by this amount.",
    "close": "The session is closed by this amount.",
    "acknowledge": "Noted. The item no longer counts as open.",
}


@router.get("/{id}")
async def session_page(
    request: Request, context: ContextHere, viewer: Viewer, session_id: SessionPath, done: str = ""
) -> Response:
    read = await read_session(context, session_id, viewer.key.operator_id)
    values = values_of(read, context.policy)
    return page(request, "session.html", viewer, done=DONE.get(done, ""), **values)


@router.get("/{id}/journal")
async def earlier(
    request: Request, context: ContextHere, viewer: Viewer, session_id: SessionPath, before: str = ""
) -> Response:
    """Lines of the journal before the line `before`. The session's page leaves them out."""
    read = await earlier_lines(context, session_id, viewer.key.operator_id, before=_line(before))
    session = read.session
    lines = timeline_of(read.lines, session.created_at, session.authorization.currency)
    return page(request, "journal.html", viewer, s=session, timeline=lines, cut=read.cut)


@router.get("/{id}/stream")
async def stream(
    request: Request, context: ContextHere, viewer: Viewer, session_id: SessionPath, after: str = ""
) -> Response:
    """Server-sent events for a session's page: changed parts, and lines of the journal that follow `after`."""
    read = await read_session(context, session_id, viewer.key.operator_id)
    last = _line(request.headers.get("last-event-id") or after)
    if not read.goes_on and (not read.lines or read.lines[-1].id <= last):
        return Response(DONE_EVENT, media_type="text/event-stream")
    streams: SessionStreams = request.app.state.session_streams

    def shown(read: SessionRead, after: int) -> SessionPage:
        values = values_of(read, context.policy)
        new = [line for line in values["timeline"] if line.id > after]
        return SessionPage(
            parts={name: part(f"session/{name}.html", viewer, **values) for name in PARTS},
            lines=part("session/lines.html", viewer, **values | {"timeline": new}),
            last_line=new[-1].id if new else after,
            told=told(new),
        )

    who = Looking(
        session_id=session_id,
        operator_id=viewer.key.operator_id,
        key_id=viewer.key.id,
        token=viewer.token,
    )
    return event_stream(request, viewer, streams.watch(context, who, shown, last, request.app.state.news))


def _line(text: str) -> int:
    """The id of a journal line that a page has; 0: none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_LINE_DIGITS else 0


@router.post("/{id}/stop")
async def stop(context: ContextHere, act: Acting, session_id: SessionPath) -> Response:
    """Requests a stop; the reason and the key are in the journal."""
    note, key = reason_of(act.fields), act.viewer.key
    owner = visible_to(key)
    flow = request_stop(context, session_id, owner, reason=StopReason.OPERATIONS, note=note, by=key.caller)
    await shielded(flow)
    return _back(session_id, "stop")


@router.post("/{id}/settle")
async def settle(context: ContextHere, act: Acting, session_id: SessionPath) -> Response:
    """Settles an ended charge by an amount."""
    return await _decide(settle_manually, context, act, session_id, "settle")


@router.post("/{id}/close")
async def close(context: ContextHere, act: Acting, session_id: SessionPath) -> Response:
    """Ends a session in any status by an amount."""
    return await _decide(close_manually, context, act, session_id, "close")


@router.post("/{id}/acknowledge")
async def acknowledge_item(context: ContextHere, act: Acting, session_id: SessionPath) -> Response:
    """Notes that an attention item was seen."""
    key, note = act.viewer.key, reason_of(act.fields)
    code, owner = act.fields.get("code", ""), visible_to(key)
    await shielded(acknowledge(context, session_id, owner, code=code, by=key.caller, note=note))
    return _back(session_id, "acknowledge")


async def _decide(
    flow: Callable[..., Coroutine[Any, Any, PaymentSession]],
    context: Context,
    act: Act,
    session_id: SessionId,
    done: str,
) -> Response:
    """Runs a decision on an amount, with the form's amount and reason."""
    key, reason = act.viewer.key, reason_of(act.fields)
    owner = visible_to(key)
    amount = _amount(act.fields.get("amount", ""), await queries.session(context, session_id, owner))
    await shielded(flow(context, session_id, owner, amount_minor=amount, reason=reason, by=key.caller))
    return _back(session_id, done)


def _back(session_id: SessionId, done: str) -> Response:
    return RedirectResponse(f"/console/sessions/{session_id}?done={done}", 303)


def _amount(text: str, session: PaymentSession) -> int:
    """Reads an amount written in major units, in minor units. Raises Refused."""
    currency = session.authorization.currency
    try:
        given = Decimal(text.strip().replace(",", ".", 1))
        minor = given.scaleb(exponent(currency)) if given.is_finite() else Decimal(-1)
    except InvalidOperation:
        minor = Decimal(-1)
    if minor < 0 or minor != minor.to_integral_value() or minor > session.authorized_minor:
        most = money(session.authorized_minor, currency)
        raise Refused(
            422,
            "The amount is not right",
            f"Nothing was changed. Go back and write 0 to {most}, such as 12.34; the hold covers no more.",
        )
    return int(minor)
