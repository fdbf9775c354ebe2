"""Errors as problem details (RFC 9457). Each has a stable code, what to do, and a message for the driver."""

import random
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException

from app.api.display import DEFAULT, display
from app.api.http.card_data import as_errors
from app.api.http.language import requested_language
from app.api.http.live import TooManyPolls, TooManyWaits
from app.domain.units.frozen import frozen
from app.flows.admin.acknowledge import AttentionUnknown
from app.flows.admin.reconciliation import TooManySessions
from app.flows.admin.settle_manually import AboveAuthorized, AlreadyEnded, AlreadySettled, NotEnded
from app.flows.context import SessionUnknown
from app.flows.operator.reconcile import OrphanUnknown
from app.flows.terminal import authorize, top_up
from app.flows.terminal.report_capture import CaptureConflict, NotSettled
from app.flows.terminal.request_stop import NoRunningSession, SeveralSessions
from app.flows.webhook.receive import BadSignature, UnknownEndpoint
from app.monta.webhook import UnreadableDelivery
from app.store.db.database import DATABASE_ERRORS
from app.store.db.group_commit import TooManyWaiting
from app.store.db.secret_box import SecretUnreadable
from app.store.operators.orphans import SeveralOrphans
from app.strict_json import clean_text

MEDIA_TYPE = "application/problem+json"
TYPE_BASE = "urn:tapwatt:problem:"
RETRY_AFTER_S = (1, 5)
"""Range of Retry-After in seconds, drawn at random: terminals refused together do not return together (F92)."""


@frozen
class Kind:
    """One error code: status, title, retry, and the driver's text.

    `retryable`: whether the same call may succeed later. `display` is the text's key, empty where no terminal calls.
    """

    status: int
    title: str
    retryable: bool
    display: str

    def shown(self, language: str) -> dict[str, object]:
        """Returns what a problem has for the driver."""
        if not self.display:
            return {"display_message": ""}
        return {
            "display_message": display(self.display, DEFAULT)["text"],
            "display": display(self.display, language),
        }


_TRY_AGAIN = "try_again"
_NOT_POSSIBLE = "payment_not_possible"

KINDS: Mapping[str, Kind] = {
    "invalid_request": Kind(422, "The request is not valid", False, _NOT_POSSIBLE),
    "currency_mismatch": Kind(422, "Hold and price are in different currencies", False, _NOT_POSSIBLE),
    "amount_too_small": Kind(422, "The authorization is too small", False, "amount_too_small"),
    "card_data_not_allowed": Kind(422, "Card data is not allowed here", False, _NOT_POSSIBLE),
    "idempotency_key_reused": Kind(422, "The Idempotency-Key was used for something else", False, _TRY_AGAIN),
    "reference_conflict": Kind(409, "The reference was used with other contents", False, _TRY_AGAIN),
    "charge_point_busy": Kind(409, "The charge point is in use", True, "charge_point_in_use"),
    "charge_point_unknown": Kind(
        404, "The charge point is not assigned to this terminal", False, _NOT_POSSIBLE
    ),
    "several_sessions": Kind(409, "This card has several sessions", False, "choose_charge"),
    "session_ended": Kind(409, "The payment session has ended", False, "charging_ended"),
    "top_up_not_possible": Kind(
        409, "The authorization cannot be raised so far", False, "higher_amount_not_possible"
    ),
    "below_used": Kind(409, "The charge may have used more already", False, "lower_amount_not_possible"),
    "session_running": Kind(409, "The charge has not ended", True, "please_wait"),
    "already_settled": Kind(409, "The payment session is settled", False, "contact_support"),
    "not_settled": Kind(409, "There is nothing to capture yet", True, "please_wait"),
    "capture_conflict": Kind(409, "The report contradicts an earlier one", False, "contact_support"),
    "invalid_body": Kind(400, "The body cannot be read", False, _NOT_POSSIBLE),
    "body_too_large": Kind(413, "The body is too large", False, _NOT_POSSIBLE),
    "unauthorized": Kind(401, "The key is missing or not valid", False, "terminal_not_set_up"),
    "read_only_key": Kind(403, "This key may only read", False, _NOT_POSSIBLE),
    "bad_signature": Kind(401, "The signature is not valid", False, ""),
    "not_found": Kind(404, "There is no such thing here", False, "nothing_found"),
    "method_not_allowed": Kind(405, "The method is not allowed here", False, _NOT_POSSIBLE),
    "unsupported_media_type": Kind(415, "Send application/json", False, _NOT_POSSIBLE),
    "too_many_requests": Kind(429, "Too many calls", True, "try_again_later"),
    "unavailable": Kind(503, "Not possible at the moment", True, "try_again_later"),
    "internal_error": Kind(500, "Something went wrong here", True, "try_again_later"),
}


class Problem(HTTPException):
    """An error response, raised anywhere above the flows. `code` is one of KINDS, `detail` says what happened and
    what to do.

    `session_id` names the caller's own payment session concerned, `sessions` several of them.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        session_id: str | None = None,
        sessions: Sequence[Mapping[str, str]] | None = None,
    ) -> None:
        super().__init__(KINDS[code].status, detail, dict(headers) if headers else None)
        self.code = code
        self.errors = errors
        self.named = {
            name: value for name, value in (("session_id", session_id), ("sessions", sessions)) if value
        }


@frozen(kw_only=True)
class Answer:
    """How one exception is answered.

    `detail` has `{error}` for the exception's own words; `ops_detail` is the text for operations where it differs.
    `field` names the field at fault, unless the exception has a `field`; `message` is what is wrong with it, by
    default the exception's words. `names_session` adds the session that the exception or the path names.
    """

    code: str
    detail: str = "{error}."
    ops_detail: str | None = None
    field: str | None = None
    message: str | None = None
    names_session: bool = False
    retry_after_s: int | None = None


_FIELDS = "Some fields are not right; see errors."

ANSWERS: Mapping[type[Exception], Answer] = {
    SessionUnknown: Answer(
        code="not_found",
        detail="This terminal has no such payment session.",
        ops_detail="This key sees no such payment session.",
    ),
    OrphanUnknown: Answer(code="not_found", detail="This key sees no such orphan charge."),
    authorize.ChargePointUnknown: Answer(
        code="charge_point_unknown", field="charge_point_id", names_session=True
    ),
    authorize.ChargePointBusy: Answer(code="charge_point_busy", field="charge_point_id", names_session=True),
    authorize.ReferenceConflict: Answer(
        code="reference_conflict", field="authorization.reference", names_session=True
    ),
    authorize.IdempotencyKeyReused: Answer(
        code="idempotency_key_reused", field="Idempotency-Key", names_session=True
    ),
    authorize.HoldNotTaken: Answer(code="invalid_request", detail=_FIELDS, field="authorization"),
    authorize.CurrencyMismatch: Answer(
        code="currency_mismatch", field="authorization.currency", names_session=True
    ),
    authorize.AmountTooSmall: Answer(
        code="amount_too_small", field="authorization.amount", names_session=True
    ),
    authorize.OperatorDisabled: Answer(code="unavailable", field="charge_point_id", names_session=True),
    authorize.MontaRefusesOperator: Answer(code="unavailable", field="charge_point_id", names_session=True),
    top_up.SessionEnded: Answer(code="session_ended", names_session=True),
    top_up.ReferenceTaken: Answer(code="reference_conflict", names_session=True),
    top_up.CurrencyMismatch: Answer(
        code="currency_mismatch",
        message="is in the currency of the payment session, not of the charge",
    ),
    top_up.HoldNotTaken: Answer(code="invalid_request", detail=_FIELDS, field="amount"),
    top_up.TopUpNotPossible: Answer(code="top_up_not_possible", names_session=True),
    top_up.BelowUsed: Answer(code="below_used", names_session=True),
    NoRunningSession: Answer(code="not_found", detail="No session of this card is running at this terminal."),
    SeveralSessions: Answer(code="several_sessions"),
    NotSettled: Answer(code="not_settled", names_session=True),
    CaptureConflict: Answer(code="capture_conflict", names_session=True),
    NotEnded: Answer(code="session_running", names_session=True),
    AlreadySettled: Answer(code="already_settled", names_session=True),
    AlreadyEnded: Answer(code="session_ended", names_session=True),
    AboveAuthorized: Answer(code="invalid_request", detail=_FIELDS, field="amount"),
    AttentionUnknown: Answer(
        code="not_found", detail="This payment session has no attention item with this code."
    ),
    TooManySessions: Answer(code="invalid_request", detail=_FIELDS, field="terminal_id"),
    SeveralOrphans: Answer(code="invalid_request", detail="{error}; name one with ?operator_id="),
    UnknownEndpoint: Answer(code="not_found", detail="There is no such webhook endpoint."),
    BadSignature: Answer(
        code="bad_signature", detail="X-Monta-Signature does not fit the body and this endpoint's secret."
    ),
    UnreadableDelivery: Answer(code="invalid_body", detail="The delivery cannot be read: {error}."),
    TooManyWaiting: Answer(code="unavailable"),
    TooManyPolls: Answer(code="unavailable"),
    TooManyWaits: Answer(
        code="too_many_requests", detail="This terminal waits for too many sessions at once.", retry_after_s=5
    ),
    SecretUnreadable: Answer(
        code="unavailable",
        detail="The operator's secrets cannot be decrypted: they are damaged, or TAPWATT_SECRET_KEY is wrong. Nothing"
        " was recorded; /health/ready and the list of operators say which.",
        retry_after_s=30,
    ),
} | dict.fromkeys(
    DATABASE_ERRORS,
    Answer(code="unavailable", detail="Nothing is known to be recorded; ask again with the same reference."),
)
"""The one table from exceptions of flows, Monta and the store to problems."""


def problem_of(error: Exception, request: Request) -> Problem:
    """Returns an exception's problem by its row in ANSWERS. Or by that of its nearest base class."""
    answer = next(ANSWERS[kind] for kind in type(error).__mro__ if kind in ANSWERS)
    detail = answer.detail
    if answer.ops_detail is not None and request.url.path.startswith(("/v1/ops/", "/console/")):
        detail = answer.ops_detail
    field = getattr(error, "field", None) or answer.field
    errors = [] if field is None else [{"field": field, "message": answer.message or str(error)}]
    named = getattr(error, "session_id", None) or request.path_params.get("id")
    several = error.sessions if isinstance(error, SeveralSessions) else ()
    return Problem(
        answer.code,
        detail.replace("{error}", str(error)),
        errors=errors,
        headers=None if answer.retry_after_s is None else {"Retry-After": str(answer.retry_after_s)},
        session_id=named if answer.names_session else None,
        sessions=[{"id": s.id, "charge_point_id": s.charge_point_id} for s in several],
    )


async def on_known_error(request: Request, error: Exception) -> JSONResponse:
    """Answers an exception of ANSWERS."""
    return problem_response(request, problem_of(error, request))


def problem_response(request: Request, problem: Problem) -> JSONResponse:
    """Builds the response of an error; never echoes what was sent."""
    kind = KINDS[problem.code]
    body: dict[str, object] = {
        "type": TYPE_BASE + problem.code,
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "code": problem.code,
        "retryable": kind.retryable,
        **kind.shown(requested_language(request)),
        "request_id": getattr(request.state, "request_id", None),
    }
    if kind.status == 422:
        body["errors"] = list(problem.errors)
    body |= problem.named
    headers = dict(problem.headers or {})
    if kind.status == 503:
        headers.setdefault("Retry-After", str(random.randint(*RETRY_AFTER_S)))  # noqa: S311
    return JSONResponse(body, kind.status, headers, MEDIA_TYPE)


async def on_http_exception(request: Request, error: Exception) -> JSONResponse:
    """Converts HTTP exceptions: our own unchanged, the framework's by their status."""
    if isinstance(error, Problem):
        return problem_response(request, error)
    assert isinstance(error, HTTPException)
    by_status = {
        404: "not_found",
        405: "method_not_allowed",
        413: "body_too_large",
        415: "unsupported_media_type",
    }
    code = by_status.get(error.status_code, "invalid_body" if error.status_code < 500 else "internal_error")
    detail = f"{HTTPStatus(error.status_code).phrase}; see /docs for what this service offers."
    headers = {"Allow": _methods_of(request)} if code == "method_not_allowed" else error.headers
    return problem_response(request, Problem(code, detail, headers=headers))


def _methods_of(request: Request) -> str:
    """Returns all methods that an address has. The framework names those of the first route only."""
    path = request.scope["path"]
    here = [r for r in iter_route_contexts(request.app.routes) if r.path_regex and r.path_regex.match(path)]
    return ", ".join(sorted({method for route in here for method in route.methods or ()}))


async def on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    """Lists each invalid field with what to do about it. The values that were sent are left out."""
    assert isinstance(error, RequestValidationError)
    details = error.errors()
    if any(e["loc"][:1] == ("path",) for e in details):
        return problem_response(request, Problem("not_found", "There is nothing under this address."))
    if any(e["type"] == "json_invalid" for e in details):
        return problem_response(
            request,
            Problem(
                "invalid_body", "The body is not valid JSON, or an object in it has the same name twice."
            ),
        )
    if any(e["type"] == "card_data_not_allowed" for e in details):
        found = [e for e in details if e["type"] == "card_data_not_allowed"]
        fields = [field for error in found for field in error["ctx"]["fields"]]
        return problem_response(request, card_data_problem(fields))
    errors = [_field_error(request, e) for e in details]
    return problem_response(
        request, Problem("invalid_request", "Some fields are not right; see errors.", errors=errors)
    )


def card_data_problem(fields: Sequence[str]) -> Problem:
    """Returns the refusal of these fields. An empty name stands for the body itself."""
    return Problem(
        "card_data_not_allowed",
        "A field holds what looks like a card number; nothing was recorded. Send an opaque token instead.",
        errors=as_errors(fields),
    )


def _field_error(request: Request, error: Mapping[str, Any]) -> Mapping[str, str]:
    """Names the invalid field by known names only. A name invented by the caller is a value that was sent."""
    location, message = tuple(error["loc"]), str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        location = location[:-1]
        message = f"has a field that is not known here; known are {_known_names(request, location)}"
    if "metadata" in location and location[-1] != "metadata":
        location = location[: location.index("metadata") + 1]
        message = f"has a name or a value that is not right: {message}"
    parts = location[1:] if location and location[0] in ("body", "query", "path", "header") else location
    field = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts).lstrip(".")
    return {"field": clean_text(field) or (str(location[0]) if location else "body"), "message": message}


def _known_names(request: Request, location: Sequence[int | str]) -> str:
    """Returns the field names at this location of a request. Of the object in the body or the query."""
    route = request.scope.get("route")
    fields = [route.body_field] if location[0] == "body" else route.dependant.query_params  # type: ignore[union-attr]
    model = fields[0].field_info.annotation
    for name in location[1:]:
        model = model.model_fields[name].annotation
    return ", ".join(field.alias or name for name, field in model.model_fields.items())
