"""Plays one simulated session by the real rules: reports are applied, decisions made, calls take effect."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

from app.domain.charging.charge import ChargeReport, ChargeState
from app.domain.limit.policy import Policy
from app.domain.limit.profile import ChargePointProfile
from app.domain.session import monta_calls
from app.domain.session.learning import learned
from app.domain.session.limit import limit_at
from app.domain.session.machine import AskSweep, Change, ReadCharge, SendStop, Source, Wait
from app.domain.session.next_step import decide
from app.domain.session.payment_session import PaymentSession
from app.domain.session.reports import apply_report
from app.domain.units.ids import ChargeId
from bench.limit.outcome import Outcome
from bench.limit.physics import NEVER, Cost, Course, first_time, samples
from bench.limit.rivals import ideal_end_s, peer_end_s
from bench.limit.session import session_of
from bench.limit.visits import Visit

POLICY = Policy(silence_s=250)
NEAR_S = 1200
"""Webhooks of this last stretch, in seconds, are all delivered; before it at most one in FAR_S: harder, and faster
to run."""
FAR_S = 200
BEGAN_S = 5.0
"""Seconds from the charge's adoption to its first energy."""
HIDDEN = 0.02
"""Share of reads that take up to 30 s to be answered."""


class Play:
    """One visit as Monta and the watcher see it; times are seconds after the first energy."""

    def __init__(
        self,
        visit: Visit,
        profile: ChargePointProfile,
        policy: Policy = POLICY,
        *,
        course: Course | None = None,
    ) -> None:
        self.visit, self.policy = visit, policy
        self.chance = Random(visit.seed)
        self.course = course or Course(visit, self.chance)
        self.cost = Cost(visit, self.course)
        self.latency_s = self.chance.uniform(*visit.latency_range_s)
        self.full_s = self._full_s()
        self.exact_s = first_time(lambda at_s: self.cost.at(at_s) >= visit.authorized_minor)
        self.forced = self.exact_s < self.full_s
        end_s = min(self.full_s, self.exact_s + 400)
        self.samples = samples(visit, self.course, end_s, self.chance)
        self.session = session_of(visit, profile, policy, begun_at=self._at(-BEGAN_S))
        self.monta_limit_s = self._monta_limit_s()
        self.stop_s = NEVER
        self.arrivals = self._arrivals()
        self.stop_detail: dict[str, object] = {}
        self.reads = self.decisions = 0
        self.at_now = self._at(0)

    def run(self) -> tuple[Outcome, ChargePointProfile]:
        """Plays to the end of the energy and reads the final record."""
        self.run_until(NEVER)
        return self._outcome()

    def run_until(self, until_s: float) -> None:
        """Plays up to a time; `at_now` is the last moment played."""
        now_s = -BEGAN_S + 1
        change = monta_calls.start_accepted(Change(self.session), self._report(now_s, None), self.policy)
        self.session = change.session
        self._apply(self._report(now_s, None), Source.MONTA_WEBHOOK)
        arrivals = iter(self.arrivals)
        coming = next(arrivals, None)
        while now_s < min(self.end_s, until_s):
            self.at_now = self._at(now_s)
            step = decide(self.session, self.policy, self._at(now_s))
            self.decisions += 1
            if isinstance(step, Wait):
                due_s = NEVER if step.until is None else self._s(step.until)
                if coming is not None and coming[0] <= max(due_s, now_s):
                    now_s = max(now_s, coming[0])
                    self._apply(self._report(coming[1], coming[1]), Source.MONTA_WEBHOOK)
                    coming = next(arrivals, None)
                else:
                    now_s = max(now_s + 0.01, due_s + self.chance.uniform(0, 0.3))
            elif isinstance(step, ReadCharge | AskSweep):
                now_s = self._read(step, now_s)
            elif isinstance(step, SendStop):
                now_s = self._stop(step, now_s)
            else:
                raise TypeError(step)

    @property
    def end_s(self) -> float:
        """When energy ends, as far as is known."""
        return min(self.full_s, self.monta_limit_s, self.stop_s)

    def _full_s(self) -> float:
        room = self.course.room_wh
        return first_time(lambda at_s: self.course.energy_wh(at_s) >= room - 1)

    def _monta_limit_s(self) -> float:
        """When Monta's own limit ends the charge; the first of its limits counts."""
        limit_mode, limits = self.visit.point.limit_mode, self.session.monta_limits
        if limits is None or limit_mode in ("off", "dark-off"):
            return NEVER
        found = NEVER
        if limits.price_limit is not None:
            cents = float(limits.price_limit) * 100
            found = first_time(lambda at_s: self.cost.at(at_s) >= cents)
        if limits.kwh_limit is not None:
            found = min(found, self.course.time_of(float(limits.kwh_limit) * 1000))
        return found + (self.chance.uniform(5, 30) if limit_mode == "late" else self.chance.uniform(0, 2))

    def _arrivals(self) -> list[tuple[float, float]]:
        """Webhooks as (arrival, time of the reading). p99 of the delay is 12 s; some get lost, some overtake
        others."""
        found, kept_s = [], -NEVER
        for at_s in self.samples:
            if self.chance.random() < self.visit.point.loss:
                continue
            if at_s < self.exact_s - NEAR_S and at_s > 600 and at_s - kept_s < FAR_S:
                continue
            kept_s = at_s
            found.append((at_s + 0.3 + min(60.0, self.chance.lognormvariate(0.4, 0.9)), at_s))
        return sorted(found)

    def _dark(self, at_s: float) -> bool:
        return (
            self.visit.point.limit_mode.startswith("dark") and self.exact_s - 300 < at_s < self.exact_s + 600
        )

    def _at(self, at_s: float) -> datetime:
        return self.visit.starts_at + timedelta(seconds=at_s)

    def _s(self, at: datetime) -> float:
        return (at - self.visit.starts_at).total_seconds()

    def _report(
        self, seen_s: float, sample_s: float | None, state: ChargeState = ChargeState.CHARGING
    ) -> ChargeReport:
        """Monta's record with the reading of `sample_s`."""
        energy_wh, price = 0, None
        if sample_s is not None:
            energy_wh = int(round(self.course.energy_wh(sample_s) / 10) * 10)
            price = Decimal(f"{self.cost.at(sample_s) / 100:.2f}")
        limits = self.session.monta_limits
        echoes = limits is not None and self.visit.point.limit_mode not in ("off", "dark-off")
        return ChargeReport(
            id=ChargeId("1"),
            state=state,
            seen_at=self._at(seen_s),
            updated_at=self._at(-BEGAN_S if sample_s is None else sample_s),
            created_at=self._at(-BEGAN_S),
            energy_wh=energy_wh,
            price=price,
            price_limit=limits.price_limit if limits and echoes else None,
            kwh_limit=limits.kwh_limit if limits and echoes else None,
            currency="EUR",
            started_at=self._at(0),
        )

    def _apply(self, report: ChargeReport, source: Source) -> None:
        self.session = apply_report(Change(self.session), report, source, self.policy).session

    def _read(self, step: ReadCharge | AskSweep, now_s: float) -> float:
        """Reads Monta's newest reading; an answer that would come after the stop is due is not waited for."""
        self.reads += 1
        took_s = (
            self.chance.uniform(1, 30) if self.chance.random() < HIDDEN else self.chance.uniform(0.1, 0.6)
        )
        charge = self.session.charge
        stopping = charge is None or self.session.stop is not None
        limit = None if charge is None or stopping else limit_at(self.session, charge, self.policy)
        if limit is not None and self._s(limit) < now_s + took_s and took_s > self.policy.least_read_s:
            now_s = max(now_s + self.policy.least_read_s, self._s(limit))
            change = monta_calls.read_cut_short(Change(self.session), "due", now=self._at(now_s))
        elif self._dark(now_s):
            now_s += took_s
            change = monta_calls.read_failed(
                Change(self.session), "dark", now=self._at(now_s), not_before=None, policy=self.policy
            )
        else:
            known = [at_s for at_s in self.samples if at_s + 0.3 <= now_s]
            report = self._report(now_s, known[-1] if known else None)
            now_s += took_s
            change = monta_calls.read(Change(self.session), report, now=self._at(now_s), policy=self.policy)
        self.session = change.session
        return now_s

    def _stop(self, step: SendStop, now_s: float) -> float:
        change = monta_calls.stop_intended(
            Change(self.session), step.reason, now=self._at(now_s), policy=self.policy
        )
        for line in change.lines:
            if line.kind == "stop_decided":
                self.stop_detail = dict(line.detail)
        if self._dark(now_s):
            change = monta_calls.stop_failed(change, "dark", now=self._at(now_s), not_before=None)
        else:
            self.stop_s = min(self.stop_s, now_s + self.latency_s)
        self.session = change.session
        return now_s + 0.2

    def _outcome(self) -> tuple[Outcome, ChargePointProfile]:
        visit, end_s, authorized = self.visit, self.end_s, self.visit.authorized_minor
        by_monta_limit = end_s == self.monta_limit_s
        cost = self.cost.at(end_s)
        parked_s = min(self.chance.expovariate(1 / 120), self.policy.idle_reserve_s)
        with_idle = cost + self.cost.parking_s * parked_s
        profile = learned(
            self.session.profile or ChargePointProfile(), self._final(end_s, by_monta_limit), self.policy
        )
        ideal, peer = ideal_end_s(self), peer_end_s(self)
        outcome = Outcome(
            visit=visit,
            forced=self.forced,
            over_minor=max(0.0, cost - authorized),
            idle_over_minor=max(0.0, with_idle - authorized),
            unused=max(0.0, 1 - cost / authorized),
            by_monta_limit=by_monta_limit,
            basis=str(self.stop_detail.get("power_bound", "none")),
            reads=self.reads,
            decisions=self.decisions,
            monta_limit_alone_over_minor=0.0
            if self.monta_limit_s == NEVER
            else max(0.0, self.cost.at(min(self.full_s, self.monta_limit_s)) - authorized),
            ideal_unused=max(0.0, 1 - self.cost.at(ideal) / authorized),
            peer_over_minor=max(0.0, self.cost.at(peer) - authorized),
            peer_unused=max(0.0, 1 - self.cost.at(peer) / authorized),
            latency_bound_ms=int(str(self.stop_detail.get("latency_ms", 0))),
            latency_ms=int(self.latency_s * 1000),
        )
        return outcome, profile

    def _final(self, end_s: float, by_monta_limit: bool) -> PaymentSession:
        """The session with Monta's final record."""
        report = replace(
            self._report(end_s + 30, end_s, ChargeState.COMPLETED),
            updated_at=self._at(end_s + 5),
            stopped_at=self._at(end_s),
            stop_reason="PriceLimitReached" if by_monta_limit else "api",
        )
        self._apply(report, Source.MONTA_API)
        return self.session
