"""Endpoints of payment terminals."""

import re
from functools import partial
from re import Match
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response

from app.api.docs import examples
from app.api.docs.example_objects import SESSION_ID
from app.api.http.auth import CallingTerminal, ContextHere, terminal_bearer, terminal_of
from app.api.http.foreign import note_foreign_charge_point
from app.api.http.hot_paths import HotPath
from app.api.http.language import LanguageHere, requested_language
from app.api.http.live import MAX_WAIT_S, SessionChanges, TooManyPolls
from app.api.http.problems import Problem
from app.api.http.requests import StrictRequest, StrictRoute, body_as, is_json_type, shielded
from app.api.http.responses import JsonBytes
from app.api.kept_views import KeptViews
from app.api.models.charge_points import ListedChargePointOut, listed_charge_point_out
from app.api.models.sessions import Page, PaymentSessionOut, TerminalStatusOut, ToppedUpOut
from app.api.schemas import (
    CaptureIn,
    KeyHeader,
    PaymentSessionIn,
    StopRequestIn,
    TerminalStatusIn,
    TopUpIn,
)
from app.api.views import session_json, topped_up_json
from app.domain.session.payment_session import PaymentSession, Status, StopReason
from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargePointId, SessionId
from app.flows.admin import queries
from app.flows.context import Context
from app.flows.terminal import authorize, top_up
from app.flows.terminal.report_capture import report_capture as record_capture
from app.flows.terminal.report_status import OFFLINE_AFTER, report_status
from app.flows.terminal.request_stop import request_stop
from app.flows.terminal.request_stop import stop_by_card as request_stop_by_card
from app.store.operators.terminals import Terminal
from app.store.sessions.session_filter import SessionFilter

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["terminals"])

REPLAYED = {"Idempotency-Replayed": "true"}
SessionPath = Annotated[str, Path(alias="id", pattern="^[ -~]{1,64}$", examples=[SESSION_ID])]
Wait = Annotated[
    float, Query(ge=0, description=f"hold the answer until a change, {MAX_WAIT_S} s at most", examples=[10])
]


@router.post(
    "/payment-sessions",
    status_code=201,
    response_model=PaymentSessionOut,
    summary="Create from an authorized payment",
    operation_id="createPaymentSession",
    responses=examples.AUTHORIZE,
)
async def payment_authorized(
    *,
    request: Request,
    context: ContextHere,
    terminal: CallingTerminal,
    language: LanguageHere,
    body: Annotated[PaymentSessionIn, examples.PAYMENT_SESSION_IN],
    idempotency_key: Annotated[
        KeyHeader | None, Header(examples=["2f1c9a3e-5b7d-4e6f-8a90-1b2c3d4e5f60"])
    ] = None,
    prefer: Annotated[str | None, Header(max_length=100, examples=["wait=10"])] = None,
) -> Response:
    """Records a payment session durably; its start follows at once.

    The same reference with the same contents answers 200 with the session's present state (`Idempotency-Replayed:
    true`). `Prefer: wait=N` holds the answer until the start is decided.
    """
    payment = body.payment(idempotency_key)
    recorded = await shielded(authorize.authorize(context, terminal, payment))
    session, headers = recorded.session, {}
    seconds = preferred_wait(prefer)
    if seconds and _may_wait(request, context):
        headers["Preference-Applied"] = f"wait={seconds}"
        session = await _news(request).wait_for(
            session.id,
            seconds,
            lambda: _own(context, terminal, session.id),
            lambda s: s.status is not Status.AUTHORIZED,
            partial(queries.session_versions, context),
            by=terminal.id,
        )
    return _recorded(context, session, language, replayed=recorded.replayed, headers=headers)


def _recorded(
    context: Context, session: PaymentSession, language: str, *, replayed: bool, headers: dict[str, str]
) -> Response:
    headers["Location"] = f"/v1/payment-sessions/{session.id}"
    headers |= REPLAYED if replayed else {}
    body = session_json(session, context.policy, language)
    return JsonBytes(body, 200 if replayed else 201, headers)


async def _usual_payment(request: StrictRequest, _match: Match[str]) -> Response | None:
    """Reads a payment without preferences; None: the framework's route answers. It says why a body is not right."""
    context: Context = request.app.state.context
    if not is_json_type(request.headers.get("content-type", "")):
        return None
    terminal = await terminal_of(request, context, await terminal_bearer(request))
    body = await body_as(request, PaymentSessionIn)
    if body is None:
        return None
    recorded = await shielded(authorize.authorize(context, terminal, body.payment(None)))
    language = requested_language(request)
    return _recorded(context, recorded.session, language, replayed=recorded.replayed, headers={})


@router.get(
    "/payment-sessions/{id}",
    summary="One payment session",
    operation_id="getPaymentSession",
    response_model=PaymentSessionOut,
    responses=examples.SESSION,
)
async def payment_session(
    *,
    request: Request,
    context: ContextHere,
    terminal: CallingTerminal,
    language: LanguageHere,
    session_id: SessionPath,
    wait: Wait = 0,
    version: Annotated[
        int, Query(ge=0, description="answer when the version passes this one", examples=[7])
    ] = 0,
) -> Response:
    """The present state, or with `wait` and `version` a newer one. Then the answer comes as soon as its version passes
    that one, or after the time is over."""
    return await _read(request, terminal, session_id, language, seconds=wait, version=version)


async def _usual_read(request: StrictRequest, match: Match[str]) -> Response | None:
    context: Context = request.app.state.context
    terminal = await terminal_of(request, context, await terminal_bearer(request))
    wait, version = int(match["wait"] or 0), int(match["version"] or 0)
    return await _read(
        request, terminal, match["id"], requested_language(request), seconds=wait, version=version
    )


async def _read(
    request: Request, terminal: Terminal, session_id: str, language: str, *, seconds: float, version: int
) -> Response:
    """Reads a session now, or once its version has passed this one."""
    context: Context = request.app.state.context
    if not seconds:
        view = await _own_view(request, terminal, session_id, language)
    elif _may_wait(request, context):
        view = await _news(request).wait_for(
            session_id,
            seconds,
            lambda: _own_view(request, terminal, session_id, language),
            lambda seen: seen.version > version,
            partial(queries.session_versions, context),
            by=terminal.id,
        )
    else:
        raise TooManyPolls
    return JsonBytes(view.body)


def _may_wait(request: Request, context: Context) -> bool:
    """Whether a call may wait for changes: under overload it must not."""
    is_late = context.deliveries.are_late(context.clock.monotonic())
    return _news(request).has_room and not context.database.is_crowded and not is_late


HOT = (
    HotPath(
        "GET",
        re.compile(
            r"/v1/payment-sessions/(?P<id>ps_[0-9a-z]{26})\?"
            r"(?:wait=(?P<wait>[0-9]{1,3}))?(?:&?version=(?P<version>[0-9]{1,9}))?"
        ),
        _usual_read,
    ),
    HotPath("POST", re.compile(r"/v1/payment-sessions\?"), _usual_payment),
)


@router.post(
    "/payment-sessions/{id}/stop",
    status_code=202,
    summary="Stop, or cancel before the start",
    operation_id="stopPaymentSession",
    response_model=PaymentSessionOut,
    responses=examples.STOP,
)
async def stop_payment_session(
    *, context: ContextHere, terminal: CallingTerminal, language: LanguageHere, session_id: SessionPath
) -> Response:
    """Idempotent. The session follows: `stopping`, `finishing`, then its settlement."""
    session = await shielded(
        request_stop(
            context, SessionId(session_id), _owned_by(terminal), reason=StopReason.DRIVER, by=terminal.key
        )
    )
    return JsonBytes(session_json(session, context.policy, language), 202)


@router.post(
    "/payment-sessions/{id}/captures",
    summary="Report a capture or release",
    operation_id="reportCapture",
    response_model=PaymentSessionOut,
    responses=examples.CAPTURE,
)
async def report_capture(
    *,
    context: ContextHere,
    terminal: CallingTerminal,
    language: LanguageHere,
    session_id: SessionPath,
    body: Annotated[CaptureIn, examples.CAPTURE_IN],
) -> Response:
    """Idempotent by outcome, reference and hold. Outcomes may be reported in parts, in any order, and after a
    failure.

    `settlement.status` follows the sum: `confirmed` once all of `amount_to_capture` is captured, or all is
    released where there is nothing to capture (`captured` 0 says the same); `due` while some is missing; `failed`
    when more was captured, the amount due was released, or the PSP refused and nothing has made up for it yet.
    """
    session = await shielded(
        record_capture(context, SessionId(session_id), _owned_by(terminal), body.report(), by=terminal.key)
    )
    return JsonBytes(session_json(session, context.policy, language))


@router.post(
    "/stop-requests",
    status_code=202,
    summary="Stop by the same card",
    operation_id="stopByCard",
    response_model=PaymentSessionOut,
    responses=examples.STOP_BY_CARD,
)
async def stop_session_of_card(
    *,
    context: ContextHere,
    terminal: CallingTerminal,
    language: LanguageHere,
    body: Annotated[StopRequestIn, examples.STOP_REQUEST_IN],
) -> Response:
    """Stops this card's own running session at this terminal; 404 when there is none.

    With several of one card, 409 `several_sessions` names them, and nothing is stopped until `charge_point_id`
    selects one.
    """
    session = await shielded(request_stop_by_card(context, terminal, body.card()))
    return JsonBytes(session_json(session, context.policy, language), 202)


@router.get(
    "/charge-points",
    summary="The terminal's charge points",
    operation_id="listChargePoints",
    responses=examples.CHARGE_POINTS,
)
async def charge_points(context: ContextHere, terminal: CallingTerminal) -> Page[ListedChargePointOut]:
    found = await queries.charge_points_of(context, terminal.id)
    return Page(data=[listed_charge_point_out(p) for p in found])


@router.get(
    "/charge-points/{id}",
    summary="One charge point",
    operation_id="getChargePoint",
    responses=examples.CHARGE_POINT,
)
async def charge_point(
    *,
    request: Request,
    context: ContextHere,
    terminal: CallingTerminal,
    charge_point_id: Annotated[str, Path(alias="id", pattern="^[ -~]{1,64}$", examples=["101"])],
) -> ListedChargePointOut:
    """`price` is the OCPI tariff to show the driver; `state` is the last one reported by Monta."""
    found = await queries.charge_point_of(context, terminal.id, ChargePointId(charge_point_id))
    if found is None:
        await note_foreign_charge_point(request, ChargePointId(charge_point_id))
        raise Problem("not_found", "This charge point is not assigned to the terminal.")
    return listed_charge_point_out(found)


@router.put(
    "/terminal/status",
    summary="Heartbeat of the terminal",
    operation_id="putTerminalStatus",
    responses=examples.TERMINAL_STATUS,
)
async def terminal_status(
    context: ContextHere, terminal: CallingTerminal, body: Annotated[TerminalStatusIn, examples.STATUS_IN]
) -> TerminalStatusOut:
    """Call it once a minute. A terminal that has called it once counts as offline when five minutes pass without."""
    said = await shielded(report_status(context, terminal, state=body.state, message=body.message))
    return TerminalStatusOut(
        state=said.state, message=said.message, seen_at=said.at, offline_after=said.at + OFFLINE_AFTER
    )


def preferred_wait(prefer: str | None) -> int:
    """Returns seconds from `Prefer: wait=N` (RFC 7240), at most MAX_WAIT_S; 0 for anything else."""
    for preference in (prefer or "").split(","):
        name, _, value = preference.strip().partition("=")
        value = value.strip().strip('"')
        if name.strip().lower() == "wait" and value.isascii() and value.isdigit():
            return min(int(value[:6]), MAX_WAIT_S)
    return 0


def _owned_by(terminal: Terminal) -> SessionFilter:
    return SessionFilter(operator_id=terminal.operator_id, terminal_id=terminal.id)


@frozen
class _View:
    """An encoded session."""

    version: int
    body: bytes


async def _own_view(request: Request, terminal: Terminal, session_id: str, language: str) -> _View:
    """Returns a session as its terminal sees it. Encoded again only where its row was changed since the last time."""
    context: Context = request.app.state.context
    kept: KeptViews = request.app.state.own_views
    known, body = kept.of(SessionId(session_id), language) or (None, b"")
    state, session = await queries.own_session(context, terminal, SessionId(session_id), known)
    if session is not None:
        body = kept.put(state, session_json(session, context.policy, language), language)
    return _View(state.shown_version, body)


async def _own(context: Context, terminal: Terminal, session_id: str) -> PaymentSession:
    return await queries.session(context, SessionId(session_id), _owned_by(terminal))


def _news(request: Request) -> SessionChanges:
    news: SessionChanges = request.app.state.news
    return news


@router.post(
    "/payment-sessions/{id}/authorizations",
    status_code=201,
    response_model=ToppedUpOut,
    summary="Top up: add an authorization, or change one",
    operation_id="addAuthorization",
    responses=examples.TOP_UP,
)
async def top_up_payment_session(
    *,
    context: ContextHere,
    terminal: CallingTerminal,
    language: LanguageHere,
    session_id: SessionPath,
    body: Annotated[TopUpIn, examples.TOP_UP_IN],
) -> Response:
    """With `amount` one more hold; with `amount_total` a new total of one that exists (incremental authorization).

    Idempotent: a repetition answers 200 with `Idempotency-Replayed: true`. 409 `session_ended` once the end is
    decided: nothing was recorded, so release the new hold. 409 `below_used` where the charge may already have used
    more than a lower total: the hold stays as it was. `limits` states how far the charge can go: Monta's own limit was
    sent at the start and cannot be raised.
    """
    more, wanted = body.more(), SessionId(session_id)
    if isinstance(more, top_up.TotalAuthorized):
        done, status = await shielded(top_up.change_hold(context, terminal, wanted, more)), 200
    else:
        done, status = await shielded(top_up.top_up(context, terminal, wanted, more)), 201
    body_json = topped_up_json(done.session, context.policy, language)
    return JsonBytes(body_json, 200, REPLAYED) if done.replayed else JsonBytes(body_json, status)
