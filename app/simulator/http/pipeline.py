"""Passes each request through checks, faults and endpoint, and logs it."""

from collections import deque
from datetime import datetime

from app.domain.units.frozen import frozen, replace
from app.simulator.faults.apply_faults import FaultEffects
from app.simulator.faults.catalog import Fault, FaultKind
from app.simulator.faults.schedule import FaultSchedule, Unreachable
from app.simulator.http.answers import Answer, Call, Refusal
from app.simulator.http.checks import Quota, RequestChecks
from app.simulator.http.fields import body_object, integer
from app.simulator.http.routes import Purpose, Routes
from app.simulator.site.site import Site

MAX_REQUESTS_KEPT = 100_000
STAGED_RESET_S = 5.0
"""RateLimit-ResetsIn in seconds of an injected 429 without a duration."""


@frozen
class RequestLine:
    """One request in the log; `status` is None when it was not answered."""

    at: datetime
    method: str
    path: str
    query: str
    purpose: Purpose
    status: int | None
    fault_kind: FaultKind | None


class Pipeline:
    """Answers calls, with or without a fault."""

    def __init__(
        self,
        site: Site,
        faults: FaultSchedule,
        *,
        checks: RequestChecks,
        routes: Routes,
        fault_effects: FaultEffects,
        quota: Quota,
    ) -> None:
        self._site = site
        self._faults = faults
        self._checks = checks
        self._routes = routes
        self._fault_effects = fault_effects
        self._quota = quota
        self.requests: deque[RequestLine] = deque(maxlen=MAX_REQUESTS_KEPT)

    async def answer(self, call: Call, query: str) -> Answer:
        """Applies checks, fault and endpoint. Raises Unreachable when there must be no answer."""
        fault = self._faults.take(call.method, call.path, call.at)
        if fault is not None and fault.fault_kind is FaultKind.UNREACHABLE:
            self._log(call, query, None, fault)
            raise Unreachable("the simulator does not answer")
        answer, headers = self._checks.check(call)
        if answer is None:
            fault = fault or self._point_fault(call)
            answer = await self._perform(call, fault)
        if answer.status == 429 and fault is not None:
            headers |= self._quota.headers(call.at, fault.seconds or STAGED_RESET_S)
        self._log(call, query, answer.status, fault)
        request_id = {"request-id": self._site.streams.token()}
        return replace(answer, headers={**answer.headers, **headers, **request_id})

    async def _perform(self, call: Call, fault: Fault | None) -> Answer:
        return self._routes.perform(call) if fault is None else await self._fault_effects.answer(fault, call)

    def _point_fault(self, call: Call) -> Fault | None:
        """Returns the fault of the charge point that is to be started."""
        if call.method != "POST" or call.path != "/charges":
            return None
        try:
            point = self._site.points.get(integer(body_object(call), "chargePointId") or 0)
        except Refusal:
            return None
        if point is None:
            return None
        faults = point.config.faults
        if point.throttled < faults.throttled_starts:
            point.throttled += 1
            return Fault(FaultKind.THROTTLED, STAGED_RESET_S)
        return faults.at_start

    def _log(self, call: Call, query: str, status: int | None, fault: Fault | None) -> None:
        found = self._routes.find(call)
        purpose = Purpose.UNKNOWN if found is None else found[0].purpose
        fault_kind = None if fault is None else fault.fault_kind
        self.requests.append(RequestLine(call.at, call.method, call.path, query, purpose, status, fault_kind))
        self._site.counters["requests"] += 1
