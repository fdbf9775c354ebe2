"""Payment sessions, reports and whole courses of events for the tests of the rules."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeAlias, assert_never

from hypothesis import strategies as st

from app.domain.charging.charge import Charge, ChargeReport, ChargeState
from app.domain.limit.policy import Policy
from app.domain.session import monta_calls, stuck_session
from app.domain.session.machine import (
    AskSweep,
    Change,
    CountLost,
    GiveUp,
    JournalLine,
    ReadCharge,
    SearchCharges,
    SendStart,
    SendStop,
    Settle,
    SettleUnfinished,
    Source,
    Step,
    StopDuplicate,
    Wait,
)
from app.domain.session.next_step import decide
from app.domain.session.payment_session import Authorization, PaymentSession, Start, StopReason, StopRequest
from app.domain.session.reports import apply_report, apply_search_result
from app.domain.session.settle import release_unused, settle_final, settle_unfinished
from app.domain.tariff import parse_tariff
from app.domain.units.ids import ChargeId, ChargePointId, OperatorId, SessionId, TerminalId

T0 = datetime(2026, 11, 22, 10, tzinfo=UTC)
POLICY = Policy()
ID = SessionId("ps_01")
POINT = ChargePointId("101")
TARIFF = parse_tariff(
    {
        "id": "t",
        "currency": "EUR",
        "elements": [{"price_components": [{"type": "ENERGY", "price": "0.79", "step_size": 1}]}],
    }
)


def after(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def new_session(**more: object) -> PaymentSession:
    """Authorized just now: 20 EUR at a 50 kW charge point."""
    plain = PaymentSession(
        id=ID,
        operator_id=OperatorId("op_1"),
        terminal_id=TerminalId("trm_1"),
        charge_point_id=POINT,
        display_reference="K7QM-4TXP",
        authorization=Authorization(reference="A-1", amount_minor=2000, currency="EUR"),
        created_at=T0,
        updated_at=T0,
        start=Start(deadline=after(POLICY.start_deadline_s)),
        power_bound_w=50_000,
        tariff=TARIFF,
    )
    return replace(plain, **more)  # type: ignore[arg-type]  # fields by name


def report(state: str = "charging", at: float = 10, **more: object) -> ChargeReport:
    """Our charge as Monta showed it `at` seconds after the beginning."""
    plain = ChargeReport(
        id=ChargeId("1"),
        state=ChargeState(state),
        seen_at=after(at),
        updated_at=after(at),
        created_at=after(1),
        charge_point_id=POINT,
        partner_external_id=ID,
        started_at=after(1),
        currency="EUR",
    )
    return replace(plain, **more)  # type: ignore[arg-type]  # fields by name


def posted(session: PaymentSession | None = None) -> Change:
    """The intent of the first POST is committed."""
    return monta_calls.start_intended(Change(session or new_session()), T0, POLICY)


def running(energy_wh: int = 0, at: float = 10, **more: object) -> Change:
    """The start was accepted, and the charge has this energy."""
    change = monta_calls.start_accepted(posted(new_session(**more)), report("starting", 2), POLICY)
    return apply_report(change, report("charging", at, energy_wh=energy_wh), Source.MONTA_WEBHOOK, POLICY)


def seen(state: ChargeState, *, at_s: float, energy_wh: int = 0, energy_at_s: float = 0) -> Charge:
    """A charge last seen `at_s` after T0, its meter first seen at this reading `energy_at_s` after T0."""
    at = after(at_s)
    latest = ChargeReport(
        id=ChargeId("5"), state=state, seen_at=at, updated_at=at, started_at=T0, energy_wh=energy_wh
    )
    return Charge(latest=latest, energy_wh=energy_wh, energy_at=after(energy_at_s), seen_at=at)


reports = st.builds(
    ChargeReport,
    id=st.sampled_from([ChargeId("1"), ChargeId("1"), ChargeId("2")]),
    state=st.sampled_from(ChargeState),
    seen_at=st.integers(0, 900).map(after),
    updated_at=st.none() | st.integers(-200, 900).map(after),
    created_at=st.none() | st.integers(-200, 600).map(after),
    charge_point_id=st.sampled_from([None, POINT, POINT, ChargePointId("999")]),
    partner_external_id=st.sampled_from([None, ID, ID, ID, "ps_02"]),
    energy_wh=st.none() | st.integers(0, 40_000),
    price=st.none() | st.decimals(-1, 60, places=2),
    currency=st.sampled_from(["EUR", "EUR", "EUR", "SEK", None]),
    started_at=st.none() | st.integers(0, 600).map(after),
    failed_at=st.sampled_from([None, None, after(30)]),
)
"""Any report that Monta may send, ours or not."""

likely = st.builds(
    report,
    st.sampled_from(["starting", "charging", "charging", "stopped", "completed", "completed", *ChargeState]),
    energy_wh=st.sampled_from([None, 0, 0]) | st.integers(1, 40_000),
    price=st.sampled_from([None, Decimal(0)]) | st.decimals(0, 40, places=2),
    currency=st.sampled_from(["EUR", "EUR", "EUR", "EUR", "SEK"]),
    failed_at=st.sampled_from([None, None, None, after(30)]),
)
"""A realistic report of Monta about the charge that we asked for."""

POSTS = ("accepted", "accepted", "unknown", "unknown", "crash", "not_done", "refused")


@dataclass(frozen=True, slots=True)
class Turn:
    """Follows the decision and applies the result of its call."""

    post: str
    fails: bool
    found: tuple[ChargeReport, ...]


@dataclass(frozen=True, slots=True)
class Pass:
    seconds: int


@dataclass(frozen=True, slots=True)
class NewReports:
    report: ChargeReport


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to stop it."""


Event: TypeAlias = Turn | Pass | NewReports | Ask

turns = st.builds(
    Turn,
    st.sampled_from(POSTS),
    st.sampled_from([False, False, True]),
    st.lists(likely | likely | reports, max_size=2).map(tuple),
)
passes = st.builds(Pass, st.sampled_from([1, 3, 10, 60, 130, 400]))
news = st.builds(NewReports, likely | reports)
asks = st.just(Ask())
events = st.sampled_from([turns] * 9 + [passes] * 3 + [news, asks]).flatmap(lambda kind: kind)
courses = st.builds(
    lambda first, rest: [first, *rest], events | turns, st.lists(events, min_size=4, max_size=40)
)


@dataclass(slots=True)
class Course:
    """A session on its way through events; remembers its own calls and every state it was in."""

    session: PaymentSession
    now: datetime = T0
    posts_at: list[datetime] = field(default_factory=list)
    """POSTs that may have had an effect."""
    history: list[PaymentSession] = field(default_factory=list)
    steps: list[tuple[PaymentSession, Step]] = field(default_factory=list)
    lines: list[JournalLine] = field(default_factory=list)

    def play(self, event: Event) -> None:
        match event:
            case Pass(seconds):
                self.now += timedelta(seconds=seconds)
            case NewReports(told):
                seen = replace(told, seen_at=min(told.seen_at, self.now))
                self._became(apply_report(Change(self.session), seen, Source.MONTA_WEBHOOK, POLICY))
            case Ask():
                if not self.session.ended and self.session.stop_request is None:
                    stop_request = StopRequest(reason=StopReason.DRIVER, at=self.now)
                    self._became(Change(replace(self.session, stop_request=stop_request)))
            case Turn():
                self.session = stuck_session.observed(Change(self.session), self.now, POLICY).session
                self.follow(decide(self.session, POLICY, self.now), event)
            case _:
                assert_never(event)

    def _became(self, change: Change) -> None:
        self.lines.extend(change.lines)
        self.session = change.session
        self.history.append(change.session)

    def follow(self, step: Step, turn: Turn) -> None:
        """Performs what was decided; `turn` is the result."""
        self.steps.append((self.session, step))
        match step:
            case Wait(until):
                self.now = max(self.now, until) if until is not None else self.now
            case GiveUp() | Settle() | SettleUnfinished() | CountLost():
                self._conclude(step)
            case SendStart():
                self._post(turn)
            case SendStop() | StopDuplicate():
                self._stop(step, turn)
            case SearchCharges() | ReadCharge() | AskSweep():
                self._search(step, turn)
            case _:
                assert_never(step)

    def _conclude(self, step: GiveUp | Settle | SettleUnfinished | CountLost) -> None:
        change = Change(self.session)
        match step:
            case GiveUp(reason):
                self._became(release_unused(change, reason, self.now, POLICY))
            case Settle():
                self._became(settle_final(change, self.now, POLICY))
            case SettleUnfinished():
                self._became(settle_unfinished(change, self.now, POLICY))
            case CountLost(why):
                self._became(stuck_session.counted_lost(change, why))

    def _search(self, step: SearchCharges | ReadCharge | AskSweep, turn: Turn) -> None:
        change, now = Change(self.session), self.now
        found = [self._fresh(r) for r in turn.found]
        if isinstance(step, AskSweep):
            self._became(monta_calls.sweep_asked(change, now))
        elif isinstance(step, SearchCharges) and turn.fails:
            self._became(monta_calls.search_failed(change, "503", now=now, not_before=now, policy=POLICY))
        elif isinstance(step, SearchCharges):
            self._became(apply_search_result(change, found, at=now, policy=POLICY))
        elif turn.fails or not found:
            self._became(monta_calls.read_failed(change, "503", now=now, not_before=None, policy=POLICY))
        else:
            shown = replace(found[0], id=step.charge_id)
            self._became(monta_calls.read(change, shown, now=now, policy=POLICY))

    def _post(self, turn: Turn) -> None:
        self._became(monta_calls.start_intended(Change(self.session), self.now, POLICY))
        change = Change(self.session)
        if turn.post != "not_done":
            self.posts_at.append(self.now)
        if turn.post == "refused":
            self._became(monta_calls.start_refused(change, "400"))
        elif turn.post == "not_done":
            retry_at = self.now + timedelta(seconds=2)
            self._became(monta_calls.start_not_done(change, "429", retry_at=retry_at))
        elif turn.post == "unknown":
            self._became(monta_calls.start_unknown(change, "503", POLICY))
        elif turn.post == "accepted" and turn.found:
            fresh = replace(self._fresh(turn.found[0]), partner_external_id=ID, charge_point_id=POINT)
            self._became(monta_calls.start_accepted(change, fresh, POLICY))

    def _stop(self, step: SendStop | StopDuplicate, turn: Turn) -> None:
        change, now = Change(self.session), self.now
        if isinstance(step, SendStop):
            change = monta_calls.stop_intended(change, step.reason, now=now, policy=POLICY)
        else:
            change = monta_calls.duplicate_stop_intended(change, step.charge_id, now=now, policy=POLICY)
        self._became(change)
        charge = self.session.charge
        if turn.fails or not turn.found:
            self._became(monta_calls.stop_failed(change, "503", now=now, not_before=None))
        elif isinstance(step, StopDuplicate):
            shown = replace(self._fresh(turn.found[0]), id=step.charge_id)
            self._became(monta_calls.duplicate_stop_answered(change, shown, POLICY))
        elif charge is not None:
            shown = replace(self._fresh(turn.found[0]), id=charge.id)
            self._became(monta_calls.stop_answered(change, shown, POLICY))

    def _fresh(self, shown: ChargeReport) -> ChargeReport:
        """As Monta shows it now; rows of a search keep the dates of their charges."""
        return replace(shown, seen_at=self.now, updated_at=self.now)


def play(course: list[Event], session: PaymentSession | None = None) -> Course:
    """The course that these events take."""
    played = Course(session or new_session())
    for event in course:
        played.play(event)
    return played


CENT = Decimal("0.01")


ONE = ChargeId("1")


def step_at(session: PaymentSession, at: float) -> object:
    """The next step, `at` seconds after the beginning."""
    return decide(session, POLICY, after(at))
