"""For terminals: one more hold on a running session."""

from typing import Annotated

from fastapi import APIRouter, Response

from app.api import examples
from app.api.auth import CallingTerminal, ToolsHere
from app.api.problems import Problem
from app.api.requests import StrictRoute, shielded
from app.api.schemas import TopUpIn
from app.api.terminal import SessionPath, not_found
from app.api.views import ToppedUpOut, topped_up_out
from app.domain.ids import SessionId
from app.flows import top_up

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["terminals"])

TOP_UP_CODES: dict[type[top_up.TopUpRefused], str] = {
    top_up.SessionEnded: "session_ended",
    top_up.ReferenceTaken: "reference_conflict",
    top_up.TopUpNotPossible: "top_up_not_possible",
}


@router.post(
    "/payment-sessions/{id}/authorizations",
    status_code=201,
    response_model=ToppedUpOut,
    summary="One more hold: the limit rises",
    operation_id="addAuthorization",
    responses=examples.TOP_UP,
)
async def top_up_payment_session(
    *,
    response: Response,
    tools: ToolsHere,
    terminal: CallingTerminal,
    session_id: SessionPath,
    body: Annotated[TopUpIn, examples.TOP_UP_IN],
) -> ToppedUpOut:
    """Idempotent by reference: the same again answers 200 with `Idempotency-Replayed: true`.

    409 `session_ended` once the end is decided: then nothing was recorded, release the new hold. `guards` says up to
    where the charge can go: Monta's own limit was told at the start and cannot be raised.
    """
    try:
        done = await shielded(top_up.top_up(tools, terminal, SessionId(session_id), body.more()))
    except top_up.TopUpRefused as refused:
        raise _top_up_problem(refused, session_id) from None
    if done.replayed:
        response.status_code = 200
        response.headers["Idempotency-Replayed"] = "true"
    return topped_up_out(done.session, tools.policy)


def _top_up_problem(refused: top_up.TopUpRefused, session_id: str) -> Problem:
    if isinstance(refused, top_up.NoSuchSession):
        return not_found()
    if isinstance(refused, top_up.HoldNotTaken):
        wrong = {"field": refused.field, "message": str(refused)}
        return Problem("invalid_request", "Some fields are not right; see errors.", errors=[wrong])
    if isinstance(refused, top_up.CurrencyMismatch):
        wrong = {"field": "amount", "message": "is in the currency of the payment session, not of the charge"}
        return Problem("currency_mismatch", f"{refused}.", errors=[wrong])
    named = refused.session_id or session_id
    return Problem(TOP_UP_CODES[type(refused)], f"{refused}.", session_id=named)
