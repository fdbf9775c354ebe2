"""Endpoints of operations: lists, details, journals, stops, settlements, the summary."""

import re
from collections.abc import Coroutine
from re import Match
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from app.api.docs import ops_examples as examples
from app.api.docs.example_objects import CURSOR, SESSION_ID
from app.api.http.auth import ActingOps, CallingOps, ContextHere, ops_bearer, ops_key_of
from app.api.http.cursor import from_cursor, to_cursor
from app.api.http.hot_paths import HotPath
from app.api.http.requests import StrictRequest, StrictRoute, shielded
from app.api.http.responses import JsonBytes
from app.api.kept_views import KeptViews
from app.api.models.money import Moment
from app.api.models.sessions import CaptureOut, JournalOut, OpsSessionOut, Page, capture_out, journal_out
from app.api.schemas import PRINTABLE, AcknowledgeIn, OpsCloseIn, OpsSettleIn, OpsStopIn
from app.api.schemas import Moment as MomentIn
from app.api.views import ops_session_json, page_json
from app.domain.session.payment_session import PaymentSession, Status, StopReason
from app.domain.session.settlement import SettlementStatus
from app.domain.units.ids import SessionId, TerminalId
from app.flows.admin import queries
from app.flows.admin.acknowledge import acknowledge as acknowledge_item
from app.flows.admin.queries import visible_to
from app.flows.admin.settle_manually import close_manually, settle_manually
from app.flows.context import Context
from app.flows.terminal.request_stop import request_stop
from app.store.operators.keys import OpsKey
from app.store.session_states import SessionState
from app.store.sessions.session_filter import SessionFilter

router = APIRouter(prefix="/v1/ops", route_class=StrictRoute, tags=["operations"])

SessionPath = Annotated[SessionId, Path(alias="id", pattern="^[ -~]{1,64}$", examples=[SESSION_ID])]


DEFAULT_PAGE = 50


class SessionQuery(BaseModel):
    """Filters of the list; all given filters must match."""

    status: Annotated[Status | None, Field(examples=["charging"])] = None
    terminal_id: Annotated[
        str | None, Field(max_length=128, pattern=PRINTABLE, examples=["trm_01kaq4kzrw8m6n4b2v0c9x7z5l"])
    ] = None
    charge_point_id: Annotated[str | None, Field(max_length=128, pattern=PRINTABLE, examples=["101"])] = None
    charge_id: Annotated[
        str | None, Field(max_length=128, pattern=PRINTABLE, examples=["689100419745380035"])
    ] = None
    reference: Annotated[str | None, Field(max_length=128, pattern=PRINTABLE, examples=["A-2026-000123"])] = (
        None
    )
    display_reference: Annotated[
        str | None, Field(max_length=128, pattern=PRINTABLE, examples=["K7QM-4TXP"])
    ] = None
    last4: Annotated[str | None, Field(pattern="^[0-9]{4}$", examples=["4242"])] = None
    needs_attention: Annotated[bool | None, Field(examples=[True])] = None
    settlement_status: Annotated[SettlementStatus | None, Field(examples=["due"])] = None
    start: Annotated[MomentIn | None, Field(alias="from", examples=["2026-11-22T00:00:00Z"])] = None
    end: Annotated[MomentIn | None, Field(alias="to", examples=["2026-11-23T00:00:00Z"])] = None
    limit: Annotated[int, Field(ge=1, le=queries.MAX_PAGE, examples=[50])] = DEFAULT_PAGE
    cursor: Annotated[str | None, Field(max_length=200, examples=[CURSOR])] = None

    model_config = {"extra": "forbid"}

    def of(self, key: OpsKey) -> SessionFilter:
        """The sessions that match, among those that the key may see."""
        return SessionFilter(
            operator_id=key.operator_id,
            terminal_id=TerminalId(self.terminal_id) if self.terminal_id is not None else None,
            charge_point_id=self.charge_point_id,
            charge_id=self.charge_id,
            status=self.status,
            reference=self.reference,
            display_reference=self.display_reference,
            card_last4=self.last4,
            needs_attention=self.needs_attention,
            settlement_status=self.settlement_status,
            created_from=self.start,
            created_before=self.end,
        )


@router.get(
    "/payment-sessions",
    summary="Payment sessions, newest first",
    operation_id="opsListPaymentSessions",
    response_model=Page[OpsSessionOut],
    responses=examples.OPS_SESSIONS,
)
async def payment_sessions(
    request: Request, context: ContextHere, key: CallingOps, wanted: Annotated[SessionQuery, Query()]
) -> Response:
    """Filters combine; `cursor` is the `next_cursor` of the previous page."""
    return await _page(request, context, wanted.of(key), wanted.limit, wanted.cursor)


async def _usual_page(request: StrictRequest, match: Match[str]) -> Response | None:
    """The list without filters."""
    context: Context = request.app.state.context
    key = await ops_key_of(request, context, await ops_bearer(request))
    limit = int(match["limit"] or DEFAULT_PAGE)
    if not 1 <= limit <= queries.MAX_PAGE:
        return None
    return await _page(request, context, visible_to(key), limit, match["cursor"])


async def _page(
    request: Request, context: Context, wanted: SessionFilter, limit: int, cursor: str | None
) -> Response:
    kept: KeptViews = request.app.state.views
    views: dict[SessionId, bytes] = {}

    def is_known(state: SessionState) -> bool:
        view = kept.get(state)
        if view is not None:
            views[state.id] = view  # kept for this answer, since others may take its place meanwhile
        return view is not None

    page = await queries.state_page(
        context, wanted, limit=limit, after=from_cursor(cursor), is_known=is_known
    )
    for state, session in page.read:
        views[state.id] = kept.put(state, ops_session_json(session, context.policy))
    shown = (views[state.id] for state in page.states if state.id in views)
    return JsonBytes(page_json(shown, to_cursor(*page.next) if page.next else None))


HOT = HotPath(
    "GET",
    re.compile(
        r"/v1/ops/payment-sessions\?(?:limit=(?P<limit>[0-9]{1,3}))?(?:&?cursor=(?P<cursor>[\w=-]{1,200}))?"
    ),
    _usual_page,
)


@router.get(
    "/payment-sessions/{id}",
    summary="One payment session",
    operation_id="opsGetPaymentSession",
    response_model=OpsSessionOut,
    responses=examples.OPS_SESSION,
)
async def payment_session(context: ContextHere, key: CallingOps, session_id: SessionPath) -> Response:
    return JsonBytes(
        ops_session_json(await queries.session(context, session_id, visible_to(key)), context.policy)
    )


@router.get(
    "/payment-sessions/{id}/journal",
    summary="List the journal: every fact, decision and call",
    operation_id="opsGetJournal",
    responses=examples.JOURNAL,
)
async def journal(
    context: ContextHere,
    key: CallingOps,
    session_id: SessionPath,
    limit: Annotated[int, Query(ge=1, le=1000, examples=[500])] = 500,
    cursor: Annotated[str | None, Query(pattern="^[0-9]{1,18}$", examples=["1042"])] = None,
) -> Page[JournalOut]:
    """Oldest first."""
    session = await queries.session(context, session_id, visible_to(key))
    lines = await queries.journal_of(context, session.id, after=int(cursor or 0), limit=limit + 1)
    more = str(lines[limit - 1].id) if len(lines) > limit else None
    return Page(data=[journal_out(line) for line in lines[:limit]], next_cursor=more)


@router.get(
    "/payment-sessions/{id}/captures",
    summary="List capture reports of the PSP",
    operation_id="opsListCaptures",
    responses=examples.CAPTURES,
)
async def captures(context: ContextHere, key: CallingOps, session_id: SessionPath) -> Page[CaptureOut]:
    session = await queries.session(context, session_id, visible_to(key))
    return Page(data=[capture_out(c) for c in await queries.captures_of(context, session.id)])


@router.post(
    "/payment-sessions/{id}/stop",
    status_code=202,
    summary="Stop a session",
    operation_id="opsStopPaymentSession",
    response_model=OpsSessionOut,
    responses=examples.OPS_STOP,
)
async def stop(
    context: ContextHere,
    key: ActingOps,
    session_id: SessionPath,
    body: Annotated[OpsStopIn, examples.OPS_STOP_IN],
) -> Response:
    """Idempotent; the reason stays in the journal."""
    return await _changed(
        context,
        request_stop(
            context,
            session_id,
            visible_to(key),
            reason=StopReason.OPERATIONS,
            note=body.reason,
            by=key.caller,
        ),
        202,
    )


@router.post(
    "/payment-sessions/{id}/settle",
    summary="Settle an ended charge by hand",
    operation_id="opsSettlePaymentSession",
    response_model=OpsSessionOut,
    responses=examples.OPS_SETTLE,
)
async def settle(
    context: ContextHere,
    key: ActingOps,
    session_id: SessionPath,
    body: Annotated[OpsSettleIn, examples.OPS_SETTLE_IN],
) -> Response:
    """For a session held in `finishing`; at most the authorization is captured. Idempotent by amount."""
    return await _changed(
        context,
        settle_manually(
            context, session_id, visible_to(key), amount_minor=body.amount, reason=body.reason, by=key.caller
        ),
    )


@router.post(
    "/payment-sessions/{id}/attention/{code}/acknowledge",
    summary="Acknowledge attention",
    operation_id="opsAcknowledgeAttention",
    response_model=OpsSessionOut,
    responses=examples.ACKNOWLEDGE,
)
async def acknowledge(
    context: ContextHere,
    key: ActingOps,
    session_id: SessionPath,
    code: Annotated[str, Path(pattern="^[a-z0-9_]{1,64}$", examples=["shortfall"])],
    body: Annotated[AcknowledgeIn, examples.ACKNOWLEDGE_IN],
) -> Response:
    """Notes that operations have seen this code's items. They stay visible, with the note, and no longer count as
    `needs_attention`; a new cause of the same code does again. Idempotent."""
    return await _changed(
        context,
        acknowledge_item(context, session_id, visible_to(key), code=code, by=key.caller, note=body.note),
    )


@router.post(
    "/payment-sessions/{id}/close",
    summary="Close a session in any state",
    operation_id="opsClosePaymentSession",
    response_model=OpsSessionOut,
    responses=examples.OPS_CLOSE,
)
async def close(
    context: ContextHere,
    key: ActingOps,
    session_id: SessionPath,
    body: Annotated[OpsCloseIn, examples.OPS_CLOSE_IN],
) -> Response:
    """Settles by `amount` at once (0 releases everything). A charge that may run is stopped and watched until it
    has ended; nothing beyond `amount` is captured. Idempotent by amount; the journal keeps the reason and the
    key's id."""
    return await _changed(
        context,
        close_manually(
            context, session_id, visible_to(key), amount_minor=body.amount, reason=body.reason, by=key.caller
        ),
    )


async def _changed(
    context: Context, flow: Coroutine[Any, Any, PaymentSession], status: int = 200
) -> Response:
    """Runs a flow to its end, and shows the session. Whatever the client does."""
    return JsonBytes(ops_session_json(await shielded(flow), context.policy), status)


class TotalsOut(BaseModel):
    currency: str
    sessions: int
    amount_authorized: int
    amount_captured: int
    amount_released: int
    shortfall: int
    energy_wh: int


class OperatorOut(BaseModel):
    id: str
    name: str
    webhook_problem: str | None = Field(
        description="why Monta's webhook is not set; null: set, or not managed here"
    )
    webhook_mended_at: Moment | None = Field(
        description="when a configuration made by others was last replaced"
    )
    sync_problem: str | None
    setup_problem: str | None = Field(
        description="what Monta shows of teams, charge points and prices does not fit what was configured"
    )
    monta_clock_ahead_s: int | None = Field(
        description="Monta's clock minus ours, as its last charges showed; null: they agree"
    )
    access_problem: str | None = Field(description="Monta refuses the credential: new payments are refused")
    reconciled_at: Moment | None = Field(description="Monta's charges were compared with ours up to then")
    reconcile_problem: str | None
    disabled_at: Moment | None = Field(description="since when no new payments are taken; null: they are")
    open_orphans: int = Field(description="charges of ours without a payment session; see /v1/ops/orphans")
    budget_remaining: int | None = Field(description="requests left in Monta's current window")
    budget_quota: int | None


class SummaryOut(BaseModel):
    sessions: dict[str, int]
    needs_attention: int
    settlements_due: int = Field(description="settled, and the PSP's outcome is not reported yet")
    captures_overdue: int = Field(description="of these, those that are overdue and need attention")
    last_24_hours: list[TotalsOut]
    watcher_seen_at: Moment | None
    oldest_due_at: Moment | None
    operators: list[OperatorOut]


@router.get(
    "/summary",
    summary="Summary of sessions and operators",
    operation_id="opsGetSummary",
    responses=examples.SUMMARY,
)
async def summary(context: ContextHere, key: CallingOps) -> SummaryOut:
    found = await queries.summary(context, key.operator_id)
    return SummaryOut(
        sessions={status: found.by_status.get(status, 0) for status in Status},
        needs_attention=found.needs_attention,
        settlements_due=found.settlements.due,
        captures_overdue=found.settlements.overdue,
        last_24_hours=[
            TotalsOut(
                currency=t.currency,
                sessions=t.sessions,
                amount_authorized=t.authorized_minor,
                amount_captured=t.captured_minor,
                amount_released=t.released_minor,
                shortfall=t.shortfall_minor,
                energy_wh=t.energy_wh,
            )
            for t in found.last_day
        ],
        watcher_seen_at=found.watcher_seen_at,
        oldest_due_at=found.oldest_due_at,
        operators=[
            OperatorOut(
                **{name: getattr(o, name) for name in OperatorOut.model_fields if hasattr(o, name)},
                open_orphans=found.open_orphans.get(o.id, 0),
                budget_remaining=found.budget_left.get(o.id, (None, None))[0],
                budget_quota=found.budget_left.get(o.id, (None, None))[1],
            )
            for o in found.operators
        ],
    )
