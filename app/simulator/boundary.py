"""Where HTTP meets the box: gate, faults, endpoint, and the log of requests."""

from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime

from app.simulator.answers import Answer, Call, Refusal
from app.simulator.faults import Faults, Unreachable
from app.simulator.fields import body_object, integer
from app.simulator.gate import Gate
from app.simulator.quirks import Fault, Trouble
from app.simulator.quota import Quota
from app.simulator.routes import Purpose, Routes
from app.simulator.site import Site
from app.simulator.troubles import Troubles

MAX_REQUESTS_KEPT = 100_000
STAGED_RESET_S = 5.0
"""RateLimit-ResetsIn of a 429 that is staged without saying how long."""


@dataclass(frozen=True, slots=True)
class RequestLine:
    """One request as it went; `status` is None when nobody answered."""

    at: datetime
    method: str
    path: str
    query: str
    purpose: Purpose
    status: int | None
    trouble: Trouble | None


class Boundary:
    """Answers calls, with or without trouble."""

    def __init__(
        self, site: Site, faults: Faults, *, gate: Gate, routes: Routes, troubles: Troubles, quota: Quota
    ) -> None:
        self._site = site
        self._faults = faults
        self._gate = gate
        self._routes = routes
        self._troubles = troubles
        self._quota = quota
        self.requests: deque[RequestLine] = deque(maxlen=MAX_REQUESTS_KEPT)

    async def answer(self, call: Call, query: str) -> Answer:
        """Gate, fault, endpoint; raises Unreachable when nobody is to answer."""
        fault = self._faults.take(call.method, call.path, call.at)
        if fault is not None and fault.trouble is Trouble.UNREACHABLE:
            self._log(call, query, None, fault)
            raise Unreachable("the simulator does not answer")
        answer, headers = self._gate.check(call)
        if answer is None:
            fault = fault or self._quirk(call)
            answer = await self._perform(call, fault)
        if answer.status == 429 and fault is not None:
            headers |= self._quota.headers(call.at, fault.seconds or STAGED_RESET_S)
        self._log(call, query, answer.status, fault)
        request_id = {"request-id": self._site.chance.token()}
        return replace(answer, headers={**answer.headers, **headers, **request_id})

    async def _perform(self, call: Call, fault: Fault | None) -> Answer:
        return self._routes.perform(call) if fault is None else await self._troubles.answer(fault, call)

    def _quirk(self, call: Call) -> Fault | None:
        """What is wrong with the charge point that is to be started."""
        if call.method != "POST" or call.path != "/charges":
            return None
        try:
            point = self._site.points.get(integer(body_object(call), "chargePointId") or 0)
        except Refusal:
            return None
        if point is None:
            return None
        quirks = point.config.quirks
        if point.throttled < quirks.throttled_starts:
            point.throttled += 1
            return Fault(Trouble.THROTTLED, STAGED_RESET_S)
        return quirks.at_start

    def _log(self, call: Call, query: str, status: int | None, fault: Fault | None) -> None:
        found = self._routes.find(call)
        purpose = Purpose.UNKNOWN if found is None else found[0].purpose
        trouble = None if fault is None else fault.trouble
        self.requests.append(RequestLine(call.at, call.method, call.path, query, purpose, status, trouble))
        self._site.counters["requests"] += 1
