"""One request to Monta and its answer, or a sorted error; no retry, cache, redirect or cookie of any kind."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

import httpx

from app.clock import Clock
from app.domain.ids import OperatorId
from app.monta.errors import NotSent, Outcome, OutcomeUnknown, QuotaExceeded, outcome_of
from app.monta.fields import id_of
from app.monta.ports import Budget, Purpose
from app.monta.quota import blocked_until, quota_seen

MAX_ANSWER_BYTES = 32 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
BOOKKEEPING_S = 2.0
"""How long noting the quota may hold back an answer that is already here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Bounds in seconds. `total_s` is for a whole call, so that an answer that drips byte by byte ends too;
    `start_s` replaces `read_s` and `total_s` for POST /charges, `token_s` does for token calls."""

    connect_s: float = 5
    pool_s: float = 5
    write_s: float = 10
    read_s: float = 10
    total_s: float = 20
    start_s: float = 30
    token_s: float = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What to send. `name` is for error messages; `total_s` bounds it; `secrets` are never to be echoed."""

    method: str
    path: str
    name: str
    total_s: float
    read_s: float
    purpose: Purpose = Purpose.READ
    params: Mapping[str, str | int] = field(default_factory=dict)
    body: str | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body; the body is None when it did not arrive whole or within its bound."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None = field(repr=False)


class Exchange:
    """The way to Monta for one operator: sends a call, notes the quota, and sorts what went wrong."""

    def __init__(
        self,
        *,
        http: httpx.AsyncClient,
        clock: Clock,
        budget: Budget,
        operator: OperatorId,
        base_url: str,
        timeouts: Timeouts,
    ) -> None:
        self.timeouts = timeouts
        self._http = http
        self._clock = clock
        self._budget = budget
        self._operator = operator
        self._base_url = base_url.rstrip("/")
        self._quota_refusals = 0

    async def send(
        self, call: Call, *, access: str | None, may_send: Callable[[], bool] | None = None
    ) -> Answer:
        """Send once. `may_send` is asked at the last moment: when a connection stands and the request is about to be
        written, so that nobody who was frozen while connecting sends afterwards.

        Raises NotSent, QuotaExceeded (429), OutcomeUnknown (no status came back). Any other status is
        returned.
        """
        request = self._request(call, access)
        if may_send is not None:
            _ask_guard(call, may_send)
            request.extensions["trace"] = _at_writing(lambda: _ask_guard(call, may_send))
        answer = await _exchange(self._http, request, call)
        # What Monta said stands, even if our own books fail now: a started charge must not get lost over
        # them.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(BOOKKEEPING_S):
                await self._note_quota(answer)
        if outcome_of(answer.status) is Outcome.QUOTA:
            raise await self._quota_exceeded(call, answer)
        self._quota_refusals = 0
        return answer

    def _request(self, call: Call, access: str | None) -> httpx.Request:
        """Made here and not by the client, which would add cookies and headers of its own."""
        bounds = self.timeouts
        waits = httpx.Timeout(
            connect=bounds.connect_s, pool=bounds.pool_s, write=bounds.write_s, read=call.read_s
        )
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # so that the bound on bytes is one on memory
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
    """httpcore's trace hook: it tells of each step of a request just before it is taken, and what it raises ends it."""

    async def trace(event: str, _info: object) -> None:
        if event.endswith("send_request_headers.started"):
            ask()

    return trace


async def _exchange(http: httpx.AsyncClient, request: httpx.Request, call: Call) -> Answer:
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
    except Exception as error:  # whatever it is, only the list of errors.py may say that nothing was sent
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
    """An id as digits, so that nothing else ever gets into a path. Raises NotSent."""
    digits = id_of(identifier)
    if digits is None:
        raise NotSent("not sent: this is no id of Monta's", permanent=True)
    return digits
