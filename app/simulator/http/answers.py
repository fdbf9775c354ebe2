"""Requests and answers without a framework, with Monta's error format. It has five error codes."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum

from app.domain.units.frozen import frozen
from app.simulator.wire import JsonValue, dumps


class ErrorCode(StrEnum):
    """The only error codes in Monta's reference."""

    BAD_REQUEST = "BAD_REQUEST"
    CONSUMER_NOT_FOUND = "CONSUMER_NOT_FOUND"
    INVALID_ACCESS_TOKEN = "INVALID_ACCESS_TOKEN"  # noqa: S105 - the name of an error
    ACCESS_FORBIDDEN = "ACCESS_FORBIDDEN"
    RESOURCE_NOT_FOUND = "RESOURCE_NOT_FOUND"


@frozen
class Call:
    """One request; `path` is relative to the base (`/charges`), header names are lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    at: datetime


@frozen
class Answer:
    """One answer; `cut` means that the connection ends before all of the body has been sent."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


class Refusal(Exception):
    """Monta refuses, for a documented reason."""

    def __init__(self, status: int, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def bad_request(message: str) -> Refusal:
    return Refusal(400, ErrorCode.BAD_REQUEST, message)


def forbidden(message: str) -> Refusal:
    return Refusal(403, ErrorCode.ACCESS_FORBIDDEN, message)


def not_found(what: str) -> Refusal:
    return Refusal(404, ErrorCode.RESOURCE_NOT_FOUND, f"Not found: {what}")


_WORDS = {400: "BAD_REQUEST", 401: "UNAUTHORIZED", 403: "FORBIDDEN", 404: "NOT_FOUND"}
_JSON = {"content-type": "application/json"}
_HTML = {"content-type": "text/html"}


def json_answer(value: JsonValue, status: int = 200) -> Answer:
    return Answer(status, dumps(value), _JSON)


def refused(refusal: Refusal) -> Answer:
    """`{status, message, readableMessage, errorCode}`; `status` is a word, not a number."""
    return json_answer(
        {
            "status": _WORDS[refusal.status],
            "message": str(refusal),
            "readableMessage": str(refusal),
            "errorCode": refusal.code.value,
        },
        refusal.status,
    )


def too_many() -> Answer:
    """Builds a 429. Its body is not documented; there is no error code for it."""
    return json_answer({"status": "TOO_MANY_REQUESTS", "message": "Rate limit exceeded"}, 429)


def from_gateway(status: int) -> Answer:
    """Builds the answer of a gateway in front of Monta: HTML, without any of Monta's fields."""
    return Answer(status, f"<html><body><h1>{status}</h1></body></html>".encode(), _HTML)
