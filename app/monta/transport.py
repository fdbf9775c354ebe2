"""Sends one request to Monta and sorts its answer. No retry, cache, redirect or cookie."""

import asyncio
import contextlib
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TypeAlias

import httpx

from app.clock import Clock
from app.domain.units.egress import Egress
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId
from app.monta.egress import CheckedTransport
from app.monta.errors import (
    MontaError,
    NotSent,
    Outcome,
    OutcomeUnknown,
    QuotaExceeded,
    Refused,
    Unauthorized,
    outcome_of,
)
from app.monta.fields import id_of
from app.monta.ports import Budget, Called, Purpose, QuotaSeen
from app.strict_json import BadJson, JsonIn, load_json
from app.tracing import Kind, child_span

Http: TypeAlias = httpx.AsyncClient
"""The HTTP client type in use."""

if find_spec("sniffio") is None:
    # httpcore tries to import it several times a request, and each failure searches the whole path: a tenth of a call.
    sys.modules["sniffio"] = None  # type: ignore[assignment]

MAX_CONNECTIONS = 16
"""Connections at once, besides one for each slot of a watcher. Waiting for one is bounded by the pool timeout."""


def open_http(
    transport: httpx.AsyncBaseTransport | None = None, *, egress: Egress = Egress(), slots: int = 0
) -> Http:
    """Opens the connection pool for all operators.

    `transport` replaces the network (simulator in process); without it, `egress` judges every address before it is
    connected to. `slots`: of a watcher, each of which has one connection at most, so that a stop finds one at once.

    Proxies and other settings of the environment are ignored: a stop is a GET, and no cache may answer it.
    """
    checked = transport or CheckedTransport(egress, slots + MAX_CONNECTIONS)
    return httpx.AsyncClient(transport=checked, follow_redirects=False, trust_env=False)


IDENTIFIERS = re.compile(r"/\d+")
MAX_COUNT = 1_000_000
"""A larger quota counts as this one: no more calls could be made."""
MAX_BLOCK_S = 3600
"""Longest block a header may set, in seconds: an absurd value must not keep stops from being sent."""

FIRST_BLOCK_S = 5
"""Block in seconds after a 429 without headers. Doubles with each further one in a row, up to
`MAX_SILENT_BLOCK_S`."""

MAX_SILENT_BLOCK_S = 300


def quota_seen(headers: Mapping[str, str]) -> QuotaSeen | None:
    """Reads the quota headers (reference, Integration notes), names in any case. None when none is valid.

    Under the policy Fair-Use there is no number to count by, whatever other headers are present.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    if lower.get("ratelimit-policy", "").strip().lower() == "fair-use":
        return None
    seen = QuotaSeen(
        limit=_count(lower.get("ratelimit-quota"), or_most=True),
        window_s=_count(lower.get("ratelimit-timewindow")),
        remaining=_count(lower.get("ratelimit-remaining"), or_most=True),
        resets_in_s=_count(lower.get("ratelimit-resetsin")),
    )
    return None if seen == QuotaSeen(None, None, None, None) else seen


def blocked_until(headers: Mapping[str, str], now: datetime, *, in_a_row: int) -> datetime:
    """Returns until when a 429 blocks further requests. By Retry-After (seconds or HTTP date), else
    RateLimit-ResetsIn, else a backoff that grows with the number of 429s in a row. Between one second and
    `MAX_BLOCK_S`."""
    lower = {name.lower(): value for name, value in headers.items()}
    seconds = _retry_after_s(lower.get("retry-after"), now)
    if seconds is None:
        seconds = _count(lower.get("ratelimit-resetsin"))
    if seconds is None:
        seconds = min(FIRST_BLOCK_S * 2 ** min(in_a_row - 1, 10), MAX_SILENT_BLOCK_S)
    return now + timedelta(seconds=min(max(seconds, 1), MAX_BLOCK_S))


def _retry_after_s(value: str | None, now: datetime) -> int | None:
    seconds = _count(value)
    if seconds is not None or value is None:
        return seconds
    try:
        when = parsedate_to_datetime(value)
        if when.tzinfo is None:  # "-0000" means UTC, by the standard
            when = when.replace(tzinfo=UTC)
        return int((when - now).total_seconds())
    except (ValueError, OverflowError):
        return None


def _count(value: str | None, *, or_most: bool = False) -> int | None:
    """Reads a whole number from 0 to MAX_COUNT, rounding fractions up. A larger one is MAX_COUNT, or else invalid."""
    found = re.fullmatch(r"([0-9]{1,20})(?:\.([0-9]*))?", (value or "").strip())
    if found is None:
        return None
    number = int(found[1]) + (1 if (found[2] or "").strip("0") else 0)
    return number if number <= MAX_COUNT else MAX_COUNT if or_most else None


MAX_ANSWER_BYTES = 32 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
BOOKKEEPING_S = 2.0
"""Longest time in seconds that recording the quota may delay an answer that has arrived."""


@frozen(kw_only=True)
class Timeouts:
    """Timeouts in seconds. `total_s` bounds a whole call, so that an answer that arrives byte by byte ends too;
    `start_s` replaces `read_s` and `total_s` for POST /charges, `token_s` does for token calls."""

    connect_s: float = 5
    pool_s: float = 5
    write_s: float = 10
    read_s: float = 10
    total_s: float = 20
    start_s: float = 30
    token_s: float = 6


@frozen(kw_only=True)
class Call:
    """One request. `name` is for error messages, `total_s` bounds it, `secrets` are never echoed."""

    method: str
    path: str
    name: str
    total_s: float
    read_s: float
    purpose: Purpose = Purpose.READ
    params: Mapping[str, str | int] = field(default_factory=dict)
    body: str | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


@frozen
class Answer:
    """Status, headers and body. The body is None when it was incomplete or beyond its bound."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None = field(repr=False)


class Transport:
    """Sends an operator's calls, classifies failures, records the quota."""

    def __init__(
        self,
        *,
        http: httpx.AsyncClient,
        clock: Clock,
        budget: Budget,
        operator: OperatorId,
        base_url: str,
        timeouts: Timeouts,
        called: Called | None = None,
    ) -> None:
        self.timeouts = timeouts
        self._called = called
        self._http = http
        self._clock = clock
        self._budget = budget
        self._operator = operator
        self._base_url = base_url.rstrip("/")
        self._quota_refusals = 0

    async def send(
        self, call: Call, *, access: str | None, may_send: Callable[[], bool] | None = None
    ) -> Answer:
        """Sends once. `may_send` is evaluated when the connection stands and the request is about to be written, so
        that a process that was frozen while connecting does not send afterwards.

        Raises NotSent, QuotaExceeded (429), OutcomeUnknown (no status was received). Returns any other status.
        """
        request = self._request(call, access)
        if may_send is not None:
            _ask_guard(call, may_send)
            request.extensions["trace"] = _at_writing(lambda: _ask_guard(call, may_send))
        answer = await self._answer(call, request)
        # Monta's answer counts even if recording the quota fails: a started charge must not get lost.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(BOOKKEEPING_S):
                await self._note_quota(answer)
        if outcome_of(answer.status) is Outcome.QUOTA:
            raise await self._quota_exceeded(call, answer)
        self._quota_refusals = 0
        return answer

    async def _answer(self, call: Call, request: httpx.Request) -> Answer:
        """Sends the request, traced and counted."""
        template = IDENTIFIERS.sub("/{id}", call.path)
        attributes = {
            "http.request.method": call.method,
            "server.address": request.url.host,
            "url.template": template,
            "tapwatt.operator.id": self._operator,
        }
        name, outcome = f"{call.method} {template}", Outcome.UNKNOWN
        try:
            with child_span(name, Kind.CLIENT, attributes) as span:
                answer = await _transport(self._http, request, call)
                outcome = outcome_of(answer.status)
                span.note({"http.response.status_code": answer.status})
                if answer.status >= 400:
                    span.failed(str(answer.status))
        except NotSent:
            outcome = Outcome.NOT_SENT
            raise
        finally:
            if self._called is not None:
                self._called(name, outcome)
        return answer

    def _request(self, call: Call, access: str | None) -> httpx.Request:
        """Builds the request, since the client would add cookies and headers."""
        bounds = self.timeouts
        waits = httpx.Timeout(
            connect=bounds.connect_s, pool=bounds.pool_s, write=bounds.write_s, read=call.read_s
        )
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # no compression, so that the bound on bytes is one on memory
            "Cache-Control": "no-store",
            "Monta-Version": "v1",
            "User-Agent": USER_AGENT,
        }
        if access is not None:
            headers["Authorization"] = f"Bearer {access}"
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        try:
            return httpx.Request(
                call.method,
                self._base_url + call.path,
                params=dict(call.params) or None,
                headers=headers,
                content=call.body,
                extensions={"timeout": waits.as_dict()},
            )
        except (httpx.InvalidURL, ValueError, TypeError) as error:
            raise NotSent(f"{call.name} not sent: no request can be made of it") from error

    async def _note_quota(self, answer: Answer) -> None:
        seen = quota_seen(answer.headers)
        if seen is not None:
            await self._budget.observe(self._operator, seen, self._clock.now())

    async def _quota_exceeded(self, call: Call, answer: Answer) -> QuotaExceeded:
        self._quota_refusals += 1
        until = blocked_until(answer.headers, self._clock.now(), in_a_row=self._quota_refusals)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(BOOKKEEPING_S):
                await self._budget.block(self._operator, until, call.purpose)
        return QuotaExceeded(f"{call.name}: Monta's quota is used up", retry_at=until, by_monta=True)


def _ask_guard(call: Call, may_send: Callable[[], bool]) -> None:
    if not may_send():
        raise NotSent(f"{call.name} not sent: the send guard has run out")


def _at_writing(ask: Callable[[], None]) -> Callable[[str, object], Awaitable[None]]:
    """Calls back just before each step of a request. httpcore's trace hook; an exception from it aborts the request."""

    async def trace(event: str, _info: object) -> None:
        if event.endswith("send_request_headers.started"):
            ask()

    return trace


async def _transport(http: httpx.AsyncClient, request: httpx.Request, call: Call) -> Answer:
    answer: Answer | None = None
    try:
        async with asyncio.timeout(call.total_s):
            response = await http.send(request, stream=True, follow_redirects=False)
            try:
                answer = Answer(response.status_code, response.headers, None)
                answer = Answer(answer.status, answer.headers, await _body(response))
            finally:
                await response.aclose()
    except NotSent:
        raise
    except (
        Exception
    ) as error:  # whatever the exception, only the list in errors.py may say that nothing was sent
        if answer is None:
            failed = f"{call.name}: {type(error).__name__}"
            sent = outcome_of(error) is not Outcome.NOT_SENT
            raise (OutcomeUnknown(failed) if sent else NotSent(failed)) from error
    return answer


async def _body(response: httpx.Response) -> bytes | None:
    bound = MAX_ANSWER_BYTES if outcome_of(response.status_code) is Outcome.DONE else MAX_ERROR_BYTES
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > bound:
            return None
    return bytes(body)


def _user_agent() -> str:
    try:
        return f"tapwatt/{version('tapwatt')}"
    except PackageNotFoundError:  # run from a checkout
        return "tapwatt/dev"


USER_AGENT = _user_agent()


def id_in_path(identifier: str) -> str:
    """Returns an id as digits for a path. So nothing else gets into it. Raises NotSent."""
    digits = id_of(identifier)
    if digits is None:
        raise NotSent("not sent: this is no id of Monta's", permanent=True)
    return digits


MAX_WORDS = 500
"""Longest part of an error message of Monta's that is kept, in characters."""


def read_answer(answer: Answer, call: Call) -> JsonIn:
    """Returns the JSON of a 2xx answer. Raises Refused, Unauthorized, or OutcomeUnknown (also for a 2xx with
    unreadable JSON)."""
    outcome = outcome_of(answer.status)
    if outcome is not Outcome.DONE:
        raise _error(outcome, answer, call)
    try:
        return load_json(answer.body or b"", max_bytes=MAX_ANSWER_BYTES)
    except BadJson as error:
        raise OutcomeUnknown(
            f"{call.name}: {answer.status} without readable JSON", status=answer.status
        ) from error


def _error(outcome: Outcome, answer: Answer, call: Call) -> MontaError:
    code, message, readable = _words(answer, call.secrets)
    if outcome is Outcome.REFUSED:
        return Refused(call.name, answer.status, code=code, message=message, readable=readable)
    if outcome is Outcome.UNAUTHORIZED:
        return Unauthorized(f"{call.name}: 401 {code or '(no code)'}")
    return OutcomeUnknown(f"{call.name}: Monta answered {answer.status}", status=answer.status)


def _words(answer: Answer, secrets: tuple[str, ...]) -> tuple[str | None, str | None, str | None]:
    """Reads errorCode, message and readableMessage (or its undocumented spelling). The body may be HTML or empty."""
    try:
        said = load_json(answer.body or b"", max_bytes=MAX_ANSWER_BYTES)
    except BadJson:
        said = None
    fields = said if isinstance(said, dict) else {}
    return (
        _first_text(fields, ("errorCode", "error_code"), secrets),
        _first_text(fields, ("message",), secrets),
        _first_text(fields, ("readableMessage", "readable_message", "localizedMessage"), secrets),
    )


def _first_text(fields: dict[str, JsonIn], names: tuple[str, ...], secrets: tuple[str, ...]) -> str | None:
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value:
            for secret in secrets:
                value = value.replace(secret, "[secret]") if secret else value
            return "".join(c if c.isprintable() else " " for c in value)[:MAX_WORDS]
    return None
