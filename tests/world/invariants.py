"""What must hold after every step, and what must hold once it is calm; each rule has a name that a violation bears."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from app.domain.charge import ENDED, ChargeState
from app.simulator.charge import Charge
from app.simulator.config import PointConfig
from app.simulator.world import Simulator
from tests.world.ledger import Row
from tests.world.line import Line, Sent
from tests.world.story import Story
from tests.world.terminal import Purse

QUIET_WINDOW_S = 120
MAX_POSTS = 2
EXTRA_STOPPED_S = 60
STOP_SENT_S = 30
STOP_REPEATED_S = 150
"""At most 30 s after a stop that is known not to have worked; to know it may take a read after a silent minute."""
LIMIT_REACTION_S = 2.0
"""From the limit to Monta's order to stop, in the box."""
SETTLED_S = 600
"""Of calm, from Monta's `completed` to our settlement."""
WAY = ("authorized", "starting", "charging", "stopping", "finishing", "completed", "not_started")


@dataclass(slots=True)
class Truth:
    """What really is so, whoever knows of it."""

    simulators: Mapping[str, Simulator]
    host_of: dict[str, str]
    """Operator -> host of its Monta."""
    line: Line
    purses: list[Purse]
    search_lag_s: float
    limits_work: bool
    stops_work: bool
    disturbed: list[tuple[datetime, datetime]] = field(default_factory=list)
    """When somebody was hindered: dead, frozen, cut off or refused; with the time that it takes to get over it."""

    def charges_of(self, row: Row) -> list[Charge]:
        charges = self.simulators[self.host_of[row.operator_id]].charges()
        return [charge for charge in charges if charge.partner_external_id == row.id]

    def point_of(self, charge: Charge) -> PointConfig:
        config = next(s.config for s in self.simulators.values() if charge in s.charges())
        return next(point for point in config.points if point.id == charge.point_id)

    def undisturbed_s(self, since: datetime, until: datetime) -> float:
        """The seconds between in which nobody was hindered."""
        spans = sorted((max(a, since), min(b, until)) for a, b in self.disturbed if b > since and a < until)
        hindered, end = timedelta(), since
        for a, b in spans:
            hindered += max(timedelta(), b - max(a, end))
            end = max(end, b)
        return (until - since - hindered).total_seconds()


class Invariants:
    """Compares each state with the one before; tells the story of what it finds."""

    def __init__(self, truth: Truth, story: Story) -> None:
        self._truth = truth
        self._story = story
        self.rows: dict[str, Row] = {}

    def look(self, rows: dict[str, Row], watcher: str | None = None) -> None:
        """After each commit that wrote something; `watcher` is whose it was, None: the API's."""
        before, self.rows = self.rows, rows
        with self._story.rule("no acknowledged session is lost"):
            known = {purse.session_id for purse in self._truth.purses} - {None}
            assert known <= rows.keys(), f"lost: {known - rows.keys()}"
            assert before.keys() <= rows.keys(), f"vanished: {before.keys() - rows.keys()}"
        self._unique(rows.values())
        for row in rows.values():
            earlier = before.get(row.id)
            if earlier != row:
                self._alone(row)
                if earlier is not None:
                    self._compared(earlier, row)
                    self._fenced(earlier, row, watcher)
                self._told(earlier, row)

    def _told(self, earlier: Row | None, row: Row) -> None:
        if earlier is None or earlier.status != row.status:
            self._story.tell(
                "session", f"{row.id[-6:]} {row.reference} is {row.status} (charge {row.charge_id})"
            )

    def _unique(self, rows: Iterable[Row]) -> None:
        references = [(row.terminal_id, row.reference) for row in rows]
        with self._story.rule("one session per reference"):
            assert len(references) == len(set(references)), f"{references}"
        adopted = [(row.operator_id, row.charge_id) for row in rows if row.charge_id is not None]
        with self._story.rule("one session per charge"):
            assert len(adopted) == len(set(adopted)), f"{adopted}"

    def _alone(self, row: Row) -> None:
        settled = row.settled
        with self._story.rule("the settlement adds up"):
            assert (
                settled is None or settled.to_capture + settled.to_release == settled.authorized == row.amount
            )
        with self._story.rule("nothing is captured above the authorization"):
            assert settled is None or 0 <= settled.to_capture <= row.amount, f"{settled}"
        with self._story.rule("an ended session is settled, and no other"):
            assert (settled is not None) == row.ended, f"{row}"
        if row.charge_id is not None:
            with self._story.rule("only a charge of ours is adopted"):
                assert row.charge_id in {str(c.id) for c in self._truth.charges_of(row)}, f"{row.charge_id}"

    def _compared(self, before: Row, row: Row) -> None:
        with self._story.rule("the status never goes back"):
            assert WAY.index(before.status) <= WAY.index(row.status), f"{before.status} -> {row.status}"
            assert not before.ended or before.status == row.status, f"{before.status} -> {row.status}"
            assert before.version <= row.version, f"version {before.version} -> {row.version}"
        with self._story.rule("the energy bound never goes back"):
            assert before.energy_wh <= row.energy_wh, f"{before.energy_wh} -> {row.energy_wh}"
        with self._story.rule("one adopted charge per session"):
            assert before.charge_id in (None, row.charge_id), f"{before.charge_id} -> {row.charge_id}"
        with self._story.rule("exactly one settlement per session"):
            assert before.settled in (None, row.settled), f"{before.settled} -> {row.settled}"
        with self._story.rule("the fence only rises"):
            assert before.lease_token <= row.lease_token
        if before.settled is None and row.settled is not None:
            self._settled(row)

    def _fenced(self, before: Row, row: Row, watcher: str | None) -> None:
        """Anybody may make a session due, but only its holder may work on it."""
        unworked = replace(before, due_at=row.due_at) == row
        if watcher is None or unworked or before.lease_token != row.lease_token:
            return
        with self._story.rule("who lost its lease changes nothing"):
            assert before.lease_owner == watcher, (
                f"{watcher} wrote, {before.lease_owner} holds {row.reference}"
            )

    def _settled(self, row: Row) -> None:
        """At the very moment of the decision."""
        running = [c for c in self._truth.charges_of(row) if c.flowing is not None]
        with self._story.rule("released only when no charge runs"):
            assert row.status != "not_started" or not running, f"charge {running[0].id} runs"
        adopted = [c for c in self._truth.charges_of(row) if str(c.id) == row.charge_id]
        with self._story.rule("settled only when the charge has ended"):
            assert all(c.flowing is None for c in adopted), f"charge {row.charge_id} runs"
        with self._story.rule("the final price is that of a completed charge"):
            final = row.settled is not None and row.settled.basis == "final_price"
            assert not final or all(c.state is ChargeState.COMPLETED for c in adopted), f"{adopted[0].state}"

    # Requests to Monta

    def sent(self, request: Sent) -> None:
        """Each request as it leaves."""
        if request.reference is not None:
            self._started(request, request.reference)
        parts = request.path.split("/")
        if request.method == "GET" and len(parts) == 4 and parts[1] == "charges" and parts[3] == "stop":
            self._stopped(request, parts[2])

    def _started(self, request: Sent, reference: str) -> None:
        earlier = [s for s in self._truth.line.starts_of(reference) if s.may_have_effect]
        row = self.rows.get(reference)
        if row is None:
            self._story.violated("a start is posted for a recorded session only", reference)
            return
        with self._story.rule("no start after the settlement"):
            assert row.settled is None
        with self._story.rule("a start goes to the operator's own Monta"):
            assert self._truth.host_of[row.operator_id] == request.host
        with self._story.rule("no second start in the quiet window"):
            assert not earlier or (request.at - earlier[-1].at).total_seconds() >= QUIET_WINDOW_S, (
                f"{(request.at - earlier[-1].at).total_seconds():.1f} s after the one before"
            )
        with self._story.rule("no third start"):
            assert len(earlier) < MAX_POSTS, f"{len(earlier) + 1} starts that Monta may have done"

    def _stopped(self, request: Sent, charge_id: str) -> None:
        charges = {str(charge.id): charge for charge in self._truth.simulators[request.host].charges()}
        with self._story.rule("only a charge of ours is stopped"):
            assert charge_id in charges, f"{charge_id} is not at {request.host}"
            reference = charges[charge_id].partner_external_id
            row = self.rows.get(reference or "")
            assert row is not None, f"{charge_id} is of {reference}"
            assert self._truth.host_of[row.operator_id] == request.host

    # In the calm

    def overdue(self, now: datetime) -> None:
        """What somebody should have done by now."""
        for purse in self._truth.purses:
            self._stop_happens(purse, now)
        for row in self.rows.values():
            for charge in self._truth.charges_of(row):
                if str(charge.id) != row.charge_id:
                    self._extra_is_stopped(charge, now)
                elif not row.ended:
                    self._is_settled(charge, now)
                    self._is_stopped_again(charge, now)

    def _stop_happens(self, purse: Purse, now: datetime) -> None:
        row = self.rows.get(purse.session_id or "")
        if row is None or purse.asked_to_stop_at is None:
            return
        path = f"/charges/{row.charge_id}/stop"
        asked = any(s.path == path and s.at >= row.created_at for s in self._truth.line.sent)
        runs = any(c.flowing is not None for c in self._truth.charges_of(row) if str(c.id) == row.charge_id)
        with self._story.rule("a stop that was acknowledged is sent"):
            undisturbed_s = self._truth.undisturbed_s(purse.asked_to_stop_at, now)
            assert asked or not runs or undisturbed_s <= STOP_SENT_S, (
                f"{row.reference}: {undisturbed_s:.0f} s"
            )

    def _extra_is_stopped(self, charge: Charge, now: datetime) -> None:
        visible_at = charge.created_at + timedelta(seconds=self._truth.search_lag_s)
        path = f"/charges/{charge.id}/stop"
        asked = any(s.path == path and s.reached for s in self._truth.line.sent)
        if asked or charge.state in ENDED:
            return
        with self._story.rule("an extra charge is stopped within 60 s"):
            assert self._truth.undisturbed_s(visible_at, now) <= EXTRA_STOPPED_S, f"charge {charge.id}"

    def _is_stopped_again(self, charge: Charge, now: datetime) -> None:
        path = f"/charges/{charge.id}/stop"
        host = next(host for host, s in self._truth.simulators.items() if charge in s.charges())
        last = next((s.at for s in reversed(self._truth.line.sent) if (s.host, s.path) == (host, path)), None)
        if last is None or charge.flowing is None:
            return
        with self._story.rule("a stop is repeated until it works"):
            assert self._truth.undisturbed_s(last, now) <= STOP_REPEATED_S, f"charge {charge.id}"

    def _is_settled(self, charge: Charge, now: datetime) -> None:
        if charge.state is not ChargeState.COMPLETED or charge.completed_at is None:
            return
        with self._story.rule("a completed charge is settled within ten calm minutes"):
            assert self._truth.undisturbed_s(charge.completed_at, now) <= SETTLED_S, f"charge {charge.id}"

    def finished(self) -> None:
        """At the end: nothing is left anywhere, and everyone was billed what Monta's record says."""
        for host, simulator in self._truth.simulators.items():
            self._within_quota(host, simulator)
            ours = [c for c in simulator.charges() if c.partner_external_id is not None]
            with self._story.rule("no charge of ours goes on"):
                assert all(c.state in ENDED for c in ours), f"{[(c.id, c.state) for c in ours]}"
        for row in self.rows.values():
            self._billed(row)
        for purse in self._truth.purses:
            self._paid(purse)

    def _within_quota(self, host: str, simulator: Simulator) -> None:
        refused = [line for line in simulator.requests if line.status == 429 and line.trouble is None]
        with self._story.rule("requests stay within Monta's quota"):
            throttling = any(p.quirks.throttled_starts for p in simulator.config.points)
            assert throttling or not refused, f"{host}: {len(refused)} refused, first {refused[:1]}"

    def _billed(self, row: Row) -> None:
        settled = row.settled
        if settled is None or row.charge_id is None or settled.basis != "final_price":
            return
        (charge,) = [c for c in self._truth.charges_of(row) if str(c.id) == row.charge_id]
        price = int(((charge.price or Decimal(0)) * 100).quantize(Decimal(1), ROUND_HALF_UP))
        with self._story.rule("billed is what Monta's record says, up to the reservation"):
            assert settled.to_capture == min(price, row.amount), (
                f"{settled.to_capture} of {price}, {row.amount}"
            )
            assert settled.shortfall == max(0, price - row.amount), f"{settled.shortfall}"
        tolerated = self._tolerated(charge)
        if tolerated is not None:
            with self._story.rule("no energy is given away"):
                assert settled.shortfall <= tolerated, f"{price} of {row.amount}"

    def _tolerated(self, charge: Charge) -> int | None:
        """Minor units: nothing where our watcher was well, what flows until Monta's own limit has acted where only that
        worked; None: neither did."""
        begin, end = charge.created_at, charge.stopped_at or charge.created_at
        undisturbed = self._truth.undisturbed_s(begin, end) >= (end - begin).total_seconds()
        if undisturbed and self._truth.stops_work:
            return 0
        if not self._truth.limits_work:
            return None
        point = self._truth.point_of(charge)
        reaction_s = LIMIT_REACTION_S + point.stop_latency_s
        group = charge.price_group
        energy = Decimal(point.max_w * reaction_s) / 3_600_000 * group.kwh_price
        minutes = Decimal(reaction_s) / 60 * group.minute_fee
        return int((energy + minutes) * 100) + 1

    def _paid(self, purse: Purse) -> None:
        if purse.session_id is None:
            return
        row = self.rows[purse.session_id]
        with self._story.rule("the hold is what was acknowledged"):
            assert row.amount == sum(purse.reserved.values()), f"{row.amount} of {purse.reserved}"
        with self._story.rule("what the terminal did is what was settled"):
            assert row.settled is not None
            assert purse.captured in (None, row.settled.to_capture), f"{purse.captured}, {row.settled}"
        with self._story.rule("terminals never see a session go back"):
            ranks = [WAY.index(shown["status"]) for shown in purse.shown]
            versions = [shown["version"] for shown in purse.shown]
            assert ranks == sorted(ranks), f"{ranks}"
            assert versions == sorted(versions), f"{versions}"
