"""What each trouble does to one request: instead of its effect, or to the answer afterwards."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from app.clock import Clock
from app.simulator.answers import (
    Answer,
    Call,
    bad_request,
    forbidden,
    from_gateway,
    not_found,
    refused,
    too_many,
)
from app.simulator.endpoints_charges import ChargeEndpoints
from app.simulator.quirks import Fault, Trouble
from app.simulator.routes import Routes
from app.simulator.timeline import Timeline

Flush = Callable[[], Awaitable[None]]
Instead = Callable[[Fault, Call], Answer]
Afterwards = Callable[[Fault, Call, Answer], Awaitable[Answer]]


class Troubles:
    """Every trouble stands in exactly one of the two tables."""

    def __init__(
        self, routes: Routes, charges: ChargeEndpoints, timeline: Timeline, clock: Clock, flush: Flush
    ) -> None:
        self._routes = routes
        self._charges = charges
        self._timeline = timeline
        self._clock = clock
        self._flush = flush
        self.instead: dict[Trouble, Instead] = {
            Trouble.REFUSED: lambda _fault, _call: refused(bad_request("The charge could not be started")),
            Trouble.FORBIDDEN: lambda _fault, _call: refused(forbidden("Not for you")),
            Trouble.MISSING: lambda _fault, call: refused(not_found(call.path)),
            Trouble.UNAVAILABLE: lambda _fault, _call: from_gateway(503),
            Trouble.UNREACHABLE: lambda _fault, _call: from_gateway(503),
            Trouble.THROTTLED: lambda _fault, _call: too_many(),
            Trouble.REQUEST_LOST: lambda _fault, _call: replace(from_gateway(200), cut=True),
            Trouble.LATE_EFFECT: self._late,
        }
        self.afterwards: dict[Trouble, Afterwards] = {
            Trouble.ANSWER_LOST: self._lose,
            Trouble.FAILED_THOUGH_DONE: self._fail,
            Trouble.SLOW: self._wait,
            Trouble.TWICE: self._twice,
            Trouble.WRAPPED: self._wrap,
            Trouble.WEBHOOK_FIRST: self._webhook_first,
        }

    async def answer(self, fault: Fault, call: Call) -> Answer:
        """What comes of `call` when `fault` befalls it."""
        instead = self.instead.get(fault.trouble)
        if instead is not None:
            return instead(fault, call)
        return await self.afterwards[fault.trouble](fault, call, self._routes.perform(call))

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
