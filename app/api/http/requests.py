"""Reads bounded bodies as strict JSON; shields writes from disconnects."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from app.api.http.auth import authenticate_first, calls_of
from app.api.http.card_data import fields_of_request
from app.api.http.problems import Problem, card_data_problem
from app.strict_json import BadJson, load_unambiguous

MAX_BODY_BYTES = 64 * 1024
MAX_WEBHOOK_BYTES = 1024 * 1024
MOST_UNFINISHED_BYTES = 64 * 1024 * 1024
MOST_OF_ONE_ADDRESS = 16 * 1024 * 1024
"""Memory for bodies on their way; a proxy that all callers share passes on whole bodies, at once."""
WRITE_DEADLINE_S = 12.0
"""Longer than the database's own bound on a transaction, in seconds."""

T = TypeVar("T")


async def bounded_body(request: Request, limit: int) -> bytes:
    """Returns the whole body. Raises Problem `body_too_large` as soon as it is longer than `limit` bytes."""
    announced = next((value for name, value in request.scope["headers"] if name == b"content-length"), b"")
    if announced.isdigit() and int(announced[:20]) > limit:
        raise _too_large(limit)
    body, ended = await _part(request)
    if not ended:
        body = await _rest(request, body, limit)
    if len(body) > limit:
        raise _too_large(limit)
    return body


async def _rest(request: Request, first: bytes, limit: int) -> bytes:
    """The whole of a body that comes in parts, which count as unfinished meanwhile."""
    parts, size, ended = [first], len(first), False
    address = request.client.host if request.client else ""
    try:
        while True:
            if not UNFINISHED.admit(address, len(parts[-1])):
                raise Problem("unavailable", "Too many bodies are on their way; send this one again.")
            if ended or size > limit:
                return b"".join(parts)
            part, ended = await _part(request)
            size += len(part)
            parts.append(part)
    finally:
        UNFINISHED.ended(address, size)


async def _part(request: Request) -> tuple[bytes, bool]:
    """What came of a body, and whether it is the end. Raises Problem `invalid_body`."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise Problem("invalid_body", "The connection ended before the body did.")
    return message.get("body", b""), not message.get("more_body", False)


class UnfinishedBodies:
    """Bounds the bytes of bodies that have come in part. Of all, and by address."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._bytes: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return self._bytes.total()

    def admit(self, address: str, size: int) -> bool:
        """Counts more bytes; False: these are too many."""
        self._bytes[address] += size
        return self._bytes[address] <= self._most_of_one and self.total <= self._most

    def ended(self, address: str, size: int) -> None:
        self._bytes[address] -= size
        if not self._bytes[address]:
            del self._bytes[address]


UNFINISHED = UnfinishedBodies(MOST_UNFINISHED_BYTES, MOST_OF_ONE_ADDRESS)
"""Of this process."""


def _too_large(limit: int) -> Problem:
    return Problem("body_too_large", f"The body may have {limit} bytes at most.")


class StrictRequest(Request):
    """A request whose JSON is parsed strictly and keeps every digit."""

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            self._body = await bounded_body(self, MAX_BODY_BYTES)
        return self._body

    async def json(self) -> Any:
        try:
            return load_unambiguous(await self.body(), max_bytes=MAX_BODY_BYTES)
        except BadJson as error:
            raise json.JSONDecodeError(str(error), "", 0) from error


M = TypeVar("M", bound=BaseModel)

NOT_RIGHT = "Some fields are not right; see errors."
ONCE = "has a name twice: send each once"
"""Which of two values counts is nothing to guess: a proxy that checks requests might take the other one."""


async def body_as(request: StrictRequest, model: type[M]) -> M | None:
    """The body as this model. None: it is not one, or no JSON."""
    try:
        return model.model_validate(await request.json())
    except ValueError:
        return None


class StrictRoute(APIRoute):
    """A route whose handler gets StrictRequests."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        calls = frozenset(calls_of(self.dependant))
        takes_query = any(each.query_params for each in (self.dependant, *self.dependant.dependencies))

        async def strict(request: Request) -> Response:
            await authenticate_first(request, calls)
            if self.body_field is not None and not is_json_type(request.headers.get("content-type", "")):
                raise Problem("unsupported_media_type", "Send the body with Content-Type: application/json.")
            if fields := fields_of_request(request):
                raise card_data_problem(fields)
            if len(request.headers.getlist("idempotency-key")) > 1:
                raise Problem(
                    "invalid_request", NOT_RIGHT, errors=[{"field": "Idempotency-Key", "message": ONCE}]
                )
            if takes_query and len(request.query_params) < len(request.query_params.multi_items()):
                raise Problem("invalid_request", NOT_RIGHT, errors=[{"field": "query", "message": ONCE}])
            return await handler(StrictRequest(request.scope, request.receive))

        return strict


def is_json_type(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )


async def within_deadline(write: Coroutine[Any, Any, T]) -> T:
    """Runs a write in this task. Raises TimeoutError after WRITE_DEADLINE_S."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    late = False

    def cancel() -> None:
        nonlocal late
        late = task.cancel()

    deadline = loop.call_later(WRITE_DEADLINE_S, cancel)
    try:
        return await write
    except asyncio.CancelledError:
        if not late or task.uncancel():
            raise
        raise TimeoutError from None
    finally:
        deadline.cancel()


async def shielded(write: Coroutine[Any, Any, T]) -> T:
    """Runs a write to its end even when the client disconnects. Bounded by a deadline of its own."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(write)
    deadline = loop.call_later(WRITE_DEADLINE_S, task.cancel)
    task.add_done_callback(lambda _: deadline.cancel())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.cancelled():
            raise TimeoutError from None
        raise
