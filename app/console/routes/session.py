"""A session's page: amounts, chart, time line, and operations' actions."""

from collections.abc import Callable, Coroutine
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import RedirectResponse

from app.api.http.auth import ContextHere
from app.api.http.requests import shielded
from app.console.http.forms import reason_of
from app.console.http.pages import ConsoleRoute, Refused, page
from app.console.http.signed_in import Act, Acting, Viewer
from app.console.views.chart import chart_of
from app.console.views.formats import money
from app.console.views.timeline import timeline_of
from app.domain.reconciliation.at_risk import at_risk_minor
from app.domain.session.attention import row_of
from app.domain.session.limit import amount_used_minor, expected_end
from app.domain.session.limit_checks import limits_shown
from app.domain.session.payment_session import PaymentSession, StopReason
from app.domain.session.settle import may_be_settled_by_person
from app.domain.units.ids import SessionId
from app.domain.units.money import exponent
from app.flows.admin import queries
from app.flows.admin.acknowledge import acknowledge
from app.flows.admin.queries import visible_to
from app.flows.admin.settle_manually import close_manually, settle_manually
from app.flows.context import Context
from app.flows.terminal.request_stop import STOPPABLE, request_stop

router = APIRouter(prefix="/console/sessions", route_class=ConsoleRoute)

SessionPath = Annotated[SessionId, Path(alias="id", pattern="^[ -~]{1,64}$")]
MOST_LINES = 1000
"""Journal lines of a page; the newest ones are left out beyond, and the page says so."""
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
    session = await queries.session(context, session_id, visible_to(viewer.key))
    lines = await queries.journal_of(context, session.id, after=0, limit=MOST_LINES + 1)
    names = await queries.names_of_places(context, [session])
    now = context.clock.now()
    return page(
        request,
        "session.html",
        viewer,
        s=session,
        used=amount_used_minor(session, context.policy),
        energy_wh=session.settlement.energy_wh if session.settlement else session.energy_wh,
        expected_end=expected_end(session, context.policy),
        limits=limits_shown(session),
        monta_price=_monta_price(session),
        names=names,
        items=[(item, row_of(item.code), at_risk_minor(session, item)) for item in session.attention],
        captures=await queries.captures_of(context, session.id),
        chart=chart_of(session, lines, context.policy, now),
        timeline=timeline_of(lines[:MOST_LINES], session.created_at, session.authorization.currency),
        cut=len(lines) > MOST_LINES,
        done=DONE.get(done, ""),
        now=now,
        may_stop=session.status in STOPPABLE and session.stop_request is None,
        may_settle=may_be_settled_by_person(session),
        may_close=not session.ended,
        decimals=exponent(session.authorization.currency),
    )


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


def _monta_price(session: PaymentSession) -> Decimal | None:
    """Returns the price that Monta showed last, in major units. Also one that was set aside."""
    latest = session.charge.latest if session.charge else None
    if latest is None:
        return None
    return latest.price if latest.price is not None else latest.claimed_price


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
