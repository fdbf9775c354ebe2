"""Applies a fault to one request. In place of its effect, or to the answer afterwards."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from app.clock import Clock
from app.domain.units.frozen import replace
from app.simulator.faults.catalog import Fault, FaultKind
from app.simulator.http.answers import (
    Answer,
    Call,
    bad_request,
    forbidden,
    from_gateway,
    not_found,
    refused,
    too_many,
)
from app.simulator.http.charges import ChargeEndpoints
from app.simulator.http.routes import Routes
from app.simulator.site.timeline import Timeline

Flush = Callable[[], Awaitable[None]]
Instead = Callable[[Fault, Call], Answer]
Afterwards = Callable[[Fault, Call, Answer], Awaitable[Answer]]


class FaultEffects:
    """Maps every fault to its effect, in exactly one of two tables."""

    def __init__(
        self, routes: Routes, charges: ChargeEndpoints, timeline: Timeline, clock: Clock, flush: Flush
    ) -> None:
        self._routes = routes
        self._charges = charges
        self._timeline = timeline
        self._clock = clock
        self._flush = flush
        self.instead: dict[FaultKind, Instead] = {
            FaultKind.REFUSED: lambda _fault, _call: refused(bad_request("The charge could not be started")),
            FaultKind.FORBIDDEN: lambda _fault, _call: refused(forbidden("Not for you")),
            FaultKind.MISSING: lambda _fault, call: refused(not_found(call.path)),
            FaultKind.UNAVAILABLE: lambda _fault, _call: from_gateway(503),
            FaultKind.UNREACHABLE: lambda _fault, _call: from_gateway(503),
            FaultKind.THROTTLED: lambda _fault, _call: too_many(),
            FaultKind.REQUEST_LOST: lambda _fault, _call: replace(from_gateway(200), cut=True),
            FaultKind.LATE_EFFECT: self._late,
        }
        self.afterwards: dict[FaultKind, Afterwards] = {
            FaultKind.ANSWER_LOST: self._lose,
            FaultKind.FAILED_THOUGH_DONE: self._fail,
            FaultKind.SLOW: self._wait,
            FaultKind.TWICE: self._twice,
            FaultKind.WRAPPED: self._wrap,
            FaultKind.WEBHOOK_FIRST: self._webhook_first,
        }

    async def answer(self, fault: Fault, call: Call) -> Answer:
        """Returns the answer to `call` when `fault` is injected."""
        instead = self.instead.get(fault.fault_kind)
        if instead is not None:
            return instead(fault, call)
        return await self.afterwards[fault.fault_kind](fault, call, self._routes.perform(call))

    def _late(self, fault: Fault, call: Call) -> Answer:
        def perform(at: datetime) -> None:
            self._routes.perform(replace(call, at=at))

        self._timeline.after(fault.seconds, perform)
        return from_gateway(504)

    async def _lose(self, _fault: Fault, _call: Call, answer: Answer) -> Answer:
        return replace(answer, cut=True)

    async def _fail(self, _fault: Fault, _call: Call, _answer: Answer) -> Answer:
        return from_gateway(502)

    async def _wait(self, fault: Fault, _call: Call, answer: Answer) -> Answer:
        await self._clock.sleep(fault.seconds)
        return answer

    async def _twice(self, _fault: Fault, call: Call, answer: Answer) -> Answer:
        if call.path == "/charges" and answer.status < 300:
            self._charges.start_spare(call)
        return answer

    async def _wrap(self, _fault: Fault, _call: Call, answer: Answer) -> Answer:
        if answer.status >= 300:
            return answer
        return replace(answer, body=b'{"charge":' + answer.body + b"}")

    async def _webhook_first(self, _fault: Fault, _call: Call, answer: Answer) -> Answer:
        await self._flush()
        return answer
