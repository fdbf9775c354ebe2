"""The errors of every operation in the OpenAPI document: their schema and one example each."""

from typing import Any, TypeAlias

from app.api.problems import KINDS, MEDIA_TYPE, TYPE_BASE

Responses: TypeAlias = dict[int | str, dict[str, Any]]

_TEXT, _FLAG = {"type": "string"}, {"type": "boolean"}
_FIELD = {
    "type": "object",
    "required": ["field", "message"],
    "properties": {"field": _TEXT, "message": _TEXT},
}
_PROPERTIES: dict[str, Any] = {
    "type": _TEXT,
    "title": _TEXT,
    "status": {"type": "integer"},
    "detail": _TEXT,
    "code": _TEXT,
    "retryable": _FLAG,
    "display_message": _TEXT,
    "request_id": _TEXT,
}


def _schema(status: int) -> dict[str, Any]:
    """RFC 9457 with our fields; a 422 names what is wrong."""
    more = {"errors": {"type": "array", "items": _FIELD}} if status == 422 else {}
    return {"type": "object", "required": [*_PROPERTIES, *more], "properties": _PROPERTIES | more}


def problem(code: str, detail: str) -> dict[str, Any]:
    kind = KINDS[code]
    example: dict[str, Any] = {
        "type": TYPE_BASE + code,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "code": code,
        "retryable": kind.retryable,
        "display_message": kind.display_message,
        "request_id": "req_01kaq4nbt5y3u1i9o7p5a3s1df",
    }
    if kind.status == 422:
        example["errors"] = [{"field": "authorization.amount", "message": "Input should be a valid integer"}]
    return {
        "description": kind.title,
        "content": {MEDIA_TYPE: {"schema": _schema(kind.status), "example": example}},
    }


UNAUTHORIZED: Responses = {401: problem("unauthorized", "Send a valid key as `Authorization: Bearer <key>`.")}
UNAVAILABLE: Responses = {
    503: problem("unavailable", "The database cannot be reached; ask again with the same reference.")
}
INVALID: Responses = {422: problem("invalid_request", "Some fields are not right; see errors.")}
NOT_FOUND: Responses = {404: problem("not_found", "This terminal has no such payment session.")}
COMMON: Responses = {**UNAUTHORIZED, **INVALID, **UNAVAILABLE}
WITH_BODY: Responses = {
    400: problem("invalid_body", "The body is not valid JSON."),
    413: problem("body_too_large", "The body may have 65536 bytes at most."),
    415: problem("unsupported_media_type", "Send the body with Content-Type: application/json."),
}
