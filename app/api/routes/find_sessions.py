"""Terminals' endpoint that finds their sessions again, after a lost answer or a reboot."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.api.docs import examples
from app.api.docs.example_objects import CURSOR
from app.api.http.auth import CallingTerminal, ContextHere
from app.api.http.cursor import from_cursor, to_cursor
from app.api.http.language import LanguageHere
from app.api.http.problems import Problem
from app.api.http.requests import StrictRoute
from app.api.http.responses import JsonBytes
from app.api.models.sessions import Page, PaymentSessionOut
from app.api.schemas import Reference
from app.api.views import page_json, session_json
from app.flows.admin import queries
from app.store.sessions.session_filter import SessionFilter

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["terminals"])

DEFAULT_PAGE = 50


@router.get(
    "/payment-sessions",
    summary="Find by authorization reference, or all open ones",
    operation_id="findPaymentSessions",
    response_model=Page[PaymentSessionOut],
    responses=examples.SESSIONS,
)
async def find_payment_sessions(
    *,
    context: ContextHere,
    terminal: CallingTerminal,
    language: LanguageHere,
    reference: Annotated[Reference | None, Query(examples=["A-2026-000123"])] = None,
    is_open: Annotated[
        bool,
        Query(
            alias="open",
            description="only those that are not over for the terminal: without a settlement, or with one that is "
            "still to be reported (`due`, or `failed` with `retry_at`)",
            examples=[True],
        ),
    ] = False,
    limit: Annotated[int, Query(ge=1, le=queries.MAX_PAGE, examples=[DEFAULT_PAGE])] = DEFAULT_PAGE,
    cursor: Annotated[str | None, Query(max_length=200, examples=[CURSOR])] = None,
) -> Response:
    """With `reference` the session of this authorization, or an empty list: for a lost answer. With `open=true` all
    of this terminal that are not over for it, newest first: for a reboot. One of them is needed; both combine.

    `cursor` is the `next_cursor` of the previous page.
    """
    if reference is None and not is_open:
        wrong = {"field": "reference", "message": "give a reference, or open=true for all open sessions"}
        raise Problem(
            "invalid_request", "Give `reference`, or `open=true` for all open sessions.", errors=[wrong]
        )
    wanted = SessionFilter(
        operator_id=terminal.operator_id,
        terminal_id=terminal.id,
        hold_reference=reference,
        open_for_terminal=is_open,
    )
    page = await queries.sessions(context, wanted, limit=limit, after=from_cursor(cursor), for_good=True)
    shown = (session_json(session, context.policy, language) for session in page.sessions)
    return JsonBytes(page_json(shown, to_cursor(*page.next) if page.next else None))
