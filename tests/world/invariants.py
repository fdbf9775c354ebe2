"""Invariants after every step; each rule has a name that a violation carries."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from app.domain.charging.charge import ENDED, ChargeState
from app.simulator.faults.catalog import Misreport
from app.simulator.site.charge import Charge
from app.simulator.site.prices import price
from tests.world.ledger import Row
from tests.world.loop import monotonic_rate
from tests.world.monta_transport import Sent
from tests.world.oracle import Oracle

QUIET_WINDOW_S = 120
SEND_GUARD_S = 5
MAX_POSTS = 2
RELEASE_S = timedelta(seconds=45)
"""From the last search that found no charge to the release, where no replica crashes in between."""
WAY = ("authorized", "starting", "charging", "stopping", "finishing", "completed", "not_started")


CENT = Decimal("0.01")
CALLS_AN_HOUR = 60
HOUR = timedelta(hours=1)


@dataclass(slots=True)
class _Calls:
    """To Monta about one session within an hour, as long as its version stays the same."""

    version: int
    at: list[datetime] = field(default_factory=list)


class Invariants:
    """Compares each state with the previous one, and writes differences to the story."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._story = oracle.story
        self._calls: dict[str, _Calls] = {}

    def look(self, rows: dict[str, Row], watcher: str | None = None) -> None:
        """Checks each commit that wrote something; `watcher` is its owner, None: the API."""
        before, self._oracle.rows = self._oracle.rows, rows
        with self._story.rule("no acknowledged session is lost"):
            known = (
                {ledger.session_id for ledger in self._oracle.ledgers}
                - {None}
                - self._oracle.forgotten.keys()
            )
            assert known <= rows.keys(), f"lost: {known - rows.keys()}"
            assert before.keys() <= rows.keys(), f"vanished: {before.keys() - rows.keys()}"
        self._unique(rows.values())
        for row in rows.values():
            earlier = before.get(row.id)
            if earlier != row:
                if row.charge_id is not None and (earlier is None or earlier.charge_id is None):
                    self._oracle.adopted_at[row.id] = self._story.now()
                self._alone(row)
                if earlier is not None:
                    self._compared(earlier, row)
                    self._fenced(earlier, row, watcher)
                self._told(earlier, row)

    def _told(self, earlier: Row | None, row: Row) -> None:
        if earlier is None or earlier.status != row.status:
            self._story.add(
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
        with self._story.rule("top-ups stay within the operator's ceiling"):
            most = self._oracle.plan.top_up_max
            assert most is None or row.amount <= most, f"{row.amount} of {most}"
        with self._story.rule("an ended session is settled, and no other"):
            assert (settled is not None) == row.ended, f"{row}"
        if row.charge_id is not None:
            adopted = [c for c in self._oracle.charges_of(row) if str(c.id) == row.charge_id]
            with self._story.rule("only a charge of ours is adopted"):
                assert adopted, f"{row.charge_id}"
            for charge in adopted:
                self._price_is_known(row, charge)

    def _price_is_known(self, row: Row, charge: Charge) -> None:
        """A price that Monta has shown is of the past, and prices only rise."""
        if row.price is None or self._oracle.misreport_of(charge) != Misreport():
            return
        most = price(charge.price_group, charge.usage(self._story.now())).total
        with self._story.rule("the known price is not above what the charge costs by now"):
            assert row.price <= most + CENT, f"{row.price}, {most} at most"

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
        """Any watcher may make a session due, and raise attention about an ended one; only its lease's holder works on
        it."""
        expected = replace(before, due_at=row.due_at)
        if before.ended:
            expected = replace(expected, version=row.version, needs_attention=row.needs_attention)
        unworked = expected == row
        if watcher is None or unworked or before.lease_token != row.lease_token:
            return
        with self._story.rule("who lost its lease changes nothing"):
            assert before.lease_owner == watcher, (
                f"{watcher} wrote, {before.lease_owner} holds {row.reference}"
            )

    def _settled(self, row: Row) -> None:
        """At the time of the decision."""
        seen_since = timedelta(seconds=self._oracle.plan.search_lag_s) + RELEASE_S
        running = [
            c
            for c in self._oracle.charges_of(row)
            if c.flowing is not None
            or (
                c.state not in ENDED
                and row.settled is not None
                and c.created_at + seen_since < row.settled.decided_at
            )
        ]
        with self._story.rule("released only when no charge runs"):
            assert row.status != "not_started" or not running, f"charge {running[0].id} runs"
        adopted = [c for c in self._oracle.charges_of(row) if str(c.id) == row.charge_id]
        with self._story.rule("settled only when the charge has ended"):
            assert all(c.flowing is None for c in adopted), f"charge {row.charge_id} runs"
        with self._story.rule("the final price is that of a completed charge"):
            final = row.settled is not None and row.settled.basis == "final_price"
            assert not final or all(c.state is ChargeState.COMPLETED for c in adopted), f"{adopted[0].state}"

    def went_back(self, rows: dict[str, Row], now: datetime) -> None:
        """Restarts the comparison from a restored backup."""
        self._oracle.went_back_at = now
        for lost in self._oracle.rows.values():
            if lost.id not in rows:
                self._oracle.forgotten[lost.id] = self._oracle.host_of[lost.operator_id]
        self._oracle.rows = rows
        self._calls.clear()
        for ledger in self._oracle.ledgers:
            row = rows.get(ledger.session_id or "")
            ledger.database_went_back(None if row is None else row.amount)

    # Requests to Monta

    def sent(self, request: Sent) -> None:
        """Each request as it leaves."""
        if request.reference is not None:
            self._started(request, request.reference)
        parts = request.path.split("/")
        self._counted(request, parts)
        if request.method == "GET" and len(parts) == 4 and parts[1] == "charges" and parts[3] == "stop":
            self._stopped(request, parts[2])

    def _counted(self, request: Sent, parts: list[str]) -> None:
        """Counts calls about one session; calls about many sessions are not counted."""
        row = self._oracle.rows.get(request.reference or request.searched or "")
        if row is None and len(parts) >= 3 and parts[1] == "charges":
            row = self._oracle.row_of(request.host, parts[2])
        if row is None:
            return
        calls = self._calls.setdefault(row.id, _Calls(row.version))
        if calls.version != row.version:
            calls = self._calls[row.id] = _Calls(row.version)
        calls.at = [at for at in calls.at if at > request.at - HOUR] + [request.at]
        with self._story.rule("no more than 60 calls an hour for a session that does not change"):
            assert len(calls.at) <= CALLS_AN_HOUR, f"{row.reference}: {len(calls.at)} calls"

    def _started(self, request: Sent, reference: str) -> None:
        earlier = [s for s in self._oracle.line.starts_of(reference) if s.may_have_effect]
        row = self._oracle.rows.get(reference)
        if row is None:
            self._story.violated("a start is posted for a recorded session only", reference)
            return
        with self._story.rule("no start after the settlement"):
            assert row.settled is None
        with self._story.rule("a start goes to the operator's own Monta"):
            assert self._oracle.host_of[row.operator_id] == request.host
        with self._story.rule("no second start in the quiet window"):
            assert not earlier or (request.at - earlier[-1].at).total_seconds() >= QUIET_WINDOW_S, (
                f"{(request.at - earlier[-1].at).total_seconds():.1f} s after the one before"
            )
        with self._story.rule("a start leaves within its guard by the monotonic clock"):
            rate = monotonic_rate(self._oracle.plan.seed)
            since_s = (request.at - row.intent_at).total_seconds() if row.intent_at is not None else 0.0
            assert since_s * rate <= SEND_GUARD_S + 0.01, f"{since_s:.1f} s after its intent, at rate {rate}"
        with self._story.rule("no third start"):
            assert len(earlier) < MAX_POSTS, f"{len(earlier) + 1} starts that Monta may have done"

    def _stopped(self, request: Sent, charge_id: str) -> None:
        charges = {str(charge.id): charge for charge in self._oracle.simulators[request.host].charges()}
        with self._story.rule("only a charge of ours is stopped"):
            assert charge_id in charges, f"{charge_id} is not at {request.host}"
            reference = charges[charge_id].partner_external_id or ""
            row = self._oracle.rows.get(reference)
            owner = self._oracle.host_of[row.operator_id] if row else self._oracle.forgotten.get(reference)
            assert owner == request.host, f"{charge_id} is of {reference} at {owner}"
