"""For terminals: payment authorized, what becomes of it, stop, captures, charge points."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response

from app.api import examples
from app.api.auth import CallingTerminal, ToolsHere
from app.api.example_objects import SESSION_ID
from app.api.live import MAX_WAIT_S, SessionNews
from app.api.problems import Problem
from app.api.requests import StrictRoute, shielded
from app.api.schemas import CaptureIn, KeyHeader, PaymentSessionIn, Reference, StopRequestIn
from app.api.views import (
    ChargePointOut,
    Page,
    PaymentSessionOut,
    charge_point_out,
    session_out,
)
from app.domain.ids import ChargePointId, SessionId
from app.domain.payment_session import PaymentSession, Status, StopReason
from app.flows import attend, authorize, look
from app.flows.tools import Tools
from app.store.payment_sessions import of_terminal, with_hold
from app.store.terminals import Terminal

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["terminals"])

SessionPath = Annotated[str, Path(alias="id", pattern="^[ -~]{1,64}$", examples=[SESSION_ID])]
Wait = Annotated[
    float, Query(ge=0, description=f"hold the answer for news, {MAX_WAIT_S} s at most", examples=[10])
]


@router.post(
    "/payment-sessions",
    status_code=201,
    response_model=PaymentSessionOut,
    summary="Payment authorized",
    operation_id="createPaymentSession",
    responses=examples.AUTHORIZE,
)
async def payment_authorized(
    *,
    request: Request,
    response: Response,
    tools: ToolsHere,
    terminal: CallingTerminal,
    body: Annotated[PaymentSessionIn, examples.PAYMENT_SESSION_IN],
    idempotency_key: Annotated[
        KeyHeader | None, Header(examples=["2f1c9a3e-5b7d-4e6f-8a90-1b2c3d4e5f60"])
    ] = None,
    prefer: Annotated[str | None, Header(max_length=100, examples=["wait=10"])] = None,
) -> PaymentSessionOut:
    """Record a payment session durably; its start follows at once.

    The same reference with the same contents answers 200 with the session as it is now (`Idempotency-Replayed: true`).
    `Prefer: wait=N` holds the answer until the start is decided.
    """
    payment = body.payment(idempotency_key)
    recorded = await shielded(authorize.authorize(tools, terminal, payment))
    session = recorded.session
    if recorded.replayed:
        response.status_code = 200
        response.headers["Idempotency-Replayed"] = "true"
    response.headers["Location"] = f"/v1/payment-sessions/{session.id}"
    seconds = preferred_wait(prefer)
    if seconds:
        response.headers["Preference-Applied"] = f"wait={seconds}"
        session = await _news(request).wait_for(
            session.id,
            seconds,
            lambda: _own(tools, terminal, session.id),
            lambda s: s.status is not Status.AUTHORIZED,
        )
    return session_out(session, tools.policy)


@router.get(
    "/payment-sessions",
    summary="Find by authorization reference",
    operation_id="findPaymentSessions",
    responses=examples.SESSIONS,
)
async def find_payment_sessions(
    *,
    tools: ToolsHere,
    terminal: CallingTerminal,
    reference: Annotated[Reference, Query(examples=["A-2026-000123"])],
) -> Page[PaymentSessionOut]:
    """After a lost answer or a reboot: the session of this authorization, or an empty list."""
    owned = (of_terminal(terminal.id), with_hold(terminal.id, reference))
    page = await look.sessions(tools, *owned, limit=1, for_good=True)
    return Page(data=[session_out(s, tools.policy) for s in page.sessions])


@router.get(
    "/payment-sessions/{id}",
    summary="One payment session",
    operation_id="getPaymentSession",
    responses=examples.SESSION,
)
async def payment_session(
    *,
    request: Request,
    tools: ToolsHere,
    terminal: CallingTerminal,
    session_id: SessionPath,
    wait: Wait = 0,
    version: Annotated[
        int, Query(ge=0, description="answer when the version passes this one", examples=[7])
    ] = 0,
) -> PaymentSessionOut:
    """As it is now; with `wait` and `version`, as soon as its version passes that one, or after the time is over."""
    session = await _news(request).wait_for(
        session_id, wait, lambda: _own(tools, terminal, session_id), lambda s: s.version > version
    )
    return session_out(session, tools.policy)


@router.post(
    "/payment-sessions/{id}/stop",
    status_code=202,
    summary="Stop, or cancel before the start",
    operation_id="stopPaymentSession",
    responses=examples.STOP,
)
async def stop_payment_session(
    *, tools: ToolsHere, terminal: CallingTerminal, session_id: SessionPath
) -> PaymentSessionOut:
    """Idempotent. The session follows: `stopping`, `finishing`, then its settlement."""
    try:
        session = await shielded(
            attend.request_stop(
                tools, SessionId(session_id), of_terminal(terminal.id), reason=StopReason.DRIVER
            )
        )
    except attend.SessionUnknown:
        raise not_found() from None
    return session_out(session, tools.policy)


@router.post(
    "/payment-sessions/{id}/captures",
    summary="Tell what the PSP did",
    operation_id="reportCapture",
    responses=examples.CAPTURE,
)
async def report_capture(
    *,
    tools: ToolsHere,
    terminal: CallingTerminal,
    session_id: SessionPath,
    body: Annotated[CaptureIn, examples.CAPTURE_IN],
) -> PaymentSessionOut:
    """Idempotent by outcome, reference and hold. What was done may be told in pieces, in any order, after a failure.

    `settlement.status` follows the sum: `confirmed` once all of `amount_to_capture` is captured, or all is released
    where there is nothing to capture (`captured` 0 says the same); `due` while some is missing; `failed` when more was
    captured, what was due was released, or the PSP refused and nothing has made up for it yet.
    """
    try:
        session = await shielded(
            attend.report_capture(tools, SessionId(session_id), of_terminal(terminal.id), body.report())
        )
    except attend.SessionUnknown:
        raise not_found() from None
    except attend.NotSettled as error:
        raise Problem("not_settled", f"{error}.", session_id=session_id) from None
    except attend.CaptureConflict as error:
        raise Problem("capture_conflict", f"{error}.", session_id=session_id) from None
    return session_out(session, tools.policy)


@router.post(
    "/stop-requests",
    status_code=202,
    summary="The same card shown again",
    operation_id="stopByCard",
    responses=examples.STOP_BY_CARD,
)
async def stop_session_of_card(
    *, tools: ToolsHere, terminal: CallingTerminal, body: Annotated[StopRequestIn, examples.STOP_REQUEST_IN]
) -> PaymentSessionOut:
    """Stops this card's own running session at this terminal; 404 when there is none.

    Several of one card: 409 `several_sessions` names them, and nothing is stopped before `charge_point_id` says which.
    """
    try:
        session = await shielded(attend.stop_by_card(tools, terminal, body.card()))
    except attend.SeveralSessions as several:
        named = [{"id": s.id, "charge_point_id": s.charge_point_id} for s in several.sessions]
        raise Problem("several_sessions", f"{several}.", sessions=named) from None
    except attend.SessionUnknown:
        raise Problem("not_found", "No session of this card is running at this terminal.") from None
    return session_out(session, tools.policy)


@router.get(
    "/charge-points",
    summary="The terminal's charge points",
    operation_id="listChargePoints",
    responses=examples.CHARGE_POINTS,
)
async def charge_points(tools: ToolsHere, terminal: CallingTerminal) -> Page[ChargePointOut]:
    found = await look.charge_points_of(tools, terminal.id)
    return Page(data=[charge_point_out(p.point, p.price) for p in found])


@router.get(
    "/charge-points/{id}",
    summary="One charge point",
    operation_id="getChargePoint",
    responses=examples.CHARGE_POINT,
)
async def charge_point(
    *,
    tools: ToolsHere,
    terminal: CallingTerminal,
    charge_point_id: Annotated[str, Path(alias="id", pattern="^[ -~]{1,64}$", examples=["101"])],
) -> ChargePointOut:
    """`price` is the OCPI tariff to show the driver; `state` is as Monta told it last."""
    found = await look.charge_point_of(tools, terminal.id, ChargePointId(charge_point_id))
    if found is None:
        raise Problem("not_found", "This charge point is not assigned to the terminal.")
    return charge_point_out(found.point, found.price)


def preferred_wait(prefer: str | None) -> int:
    """Seconds from `Prefer: wait=N` (RFC 7240), at most MAX_WAIT_S; anything else asks for nothing."""
    for preference in (prefer or "").split(","):
        name, _, value = preference.strip().partition("=")
        value = value.strip().strip('"')
        if name.strip().lower() == "wait" and value.isascii() and value.isdigit():
            return min(int(value[:6]), MAX_WAIT_S)
    return 0


async def _own(tools: Tools, terminal: Terminal, session_id: str) -> PaymentSession:
    session = await look.session(tools, SessionId(session_id), of_terminal(terminal.id))
    if session is None:
        raise not_found()
    return session


def not_found() -> Problem:
    return Problem("not_found", "This terminal has no such payment session.")


def _news(request: Request) -> SessionNews:
    news: SessionNews = request.app.state.news
    return news
