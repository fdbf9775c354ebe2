"""Liveness rules: deadlines while a world runs, and the state in which it must end."""

from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from app.domain.charging.charge import ENDED, ChargeState
from app.domain.charging.orphan import YOUNG
from app.simulator.faults.catalog import Misreport
from app.simulator.http.routes import Purpose
from app.simulator.simulator import Simulator
from app.simulator.site.charge import Charge
from app.simulator.site.prices import Usage, price
from tests.world.invariants import WAY
from tests.world.ledger import Row
from tests.world.oracle import QUOTA_WITHOUT_STOPS, Oracle
from tests.world.terminal import TerminalLedger

DUPLICATE_STOPPED_S = 60
STOP_SENT_S = 30
STOP_REPEATED_S = 270
"""At most three minutes pass between two stops of an unchanged charge; knowing that it is unchanged may take a
read."""
LIMIT_REACTION_S = 2.0
"""From the limit to Monta's order to stop, in the simulator."""
LOST_STOPPED_S = 120
SHOWN_WH = 10
"""Monta truncates to hundredths of a kWh: less shows as nothing."""
FREE_AGAIN_S = 600
TO_SPARE = Decimal("1.6")
"""A rating may be too low, and a price may rise."""
SETTLED_S = 600
"""Seconds of the quiet phase from Monta's `completed` to our settlement."""


class Expectations:
    """Checks deadlines from time to time, and the final state at the end."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._story = oracle.story

    def overdue(self, now: datetime) -> None:
        """Checks all deadlines."""
        for ledger in self._oracle.ledgers:
            self._stop_happens(ledger, now)
        for row in self._oracle.rows.values():
            for charge in self._oracle.charges_of(row):
                if str(charge.id) != row.charge_id:
                    self._duplicate_is_stopped(charge, now)
                elif not row.ended:
                    self._charge_point_is_free(row, charge, now)
                    self._is_settled(charge, now)
                    self._is_stopped_again(charge, now)
        self._lost_are_stopped(now)

    def _lost_are_stopped(self, now: datetime) -> None:
        """Charges that existed when the database was restored; later ones are found by their webhooks."""
        back_at = self._oracle.went_back_at
        for charge in self._oracle.lost_charges():
            if back_at is None or charge.created_at > back_at - YOUNG or charge.flowing is None:
                continue
            asked = any(sent.at >= back_at for sent in self._oracle.stops_of(charge))
            with self._story.rule("a charge of a lost session is stopped"):
                assert asked or self._oracle.readable_s(charge, back_at, now) <= LOST_STOPPED_S, (
                    f"{charge.id}"
                )

    def _stop_happens(self, ledger: TerminalLedger, now: datetime) -> None:
        row = self._oracle.rows.get(ledger.session_id or "")
        if row is None or ledger.asked_to_stop_at is None:
            return
        adopted = [c for c in self._oracle.charges_of(row) if str(c.id) == row.charge_id]
        runs = [c for c in adopted if c.flowing is not None and not self._oracle.stops_of(c)]
        for charge in runs:
            with self._story.rule("a stop that was acknowledged is sent"):
                undisturbed_s = self._oracle.undisturbed_s(charge, ledger.asked_to_stop_at, now)
                assert undisturbed_s <= STOP_SENT_S, f"{row.reference}: {undisturbed_s:.0f} s"

    def _duplicate_is_stopped(self, charge: Charge, now: datetime) -> None:
        visible_at = charge.created_at + timedelta(seconds=self._oracle.plan.search_lag_s)
        if charge.state in ENDED or any(sent.reached for sent in self._oracle.stops_of(charge)):
            return
        with self._story.rule("an duplicate charge is stopped within 60 s"):
            assert self._oracle.readable_s(charge, visible_at, now) <= DUPLICATE_STOPPED_S, (
                f"charge {charge.id}"
            )

    def _is_stopped_again(self, charge: Charge, now: datetime) -> None:
        stops = self._oracle.stops_of(charge)
        if not stops or charge.flowing is None:
            return
        with self._story.rule("a stop is repeated until it works"):
            assert self._oracle.undisturbed_s(charge, stops[-1].at, now) <= STOP_REPEATED_S, (
                f"charge {charge.id}"
            )

    def _is_settled(self, charge: Charge, now: datetime) -> None:
        if charge.state is not ChargeState.COMPLETED or charge.completed_at is None:
            return
        if self._oracle.misreport_of(charge) != Misreport():
            return
        with self._story.rule("a completed charge is settled within ten quiet minutes"):
            assert self._oracle.readable_s(charge, charge.completed_at, now) <= SETTLED_S, (
                f"charge {charge.id}"
            )

    def _charge_point_is_free(self, row: Row, charge: Charge, now: datetime) -> None:
        if not row.occupies_charge_point or charge.state not in ENDED or charge.stopped_at is None:
            return
        with self._story.rule("a charge point is free ten minutes after its charge can run no more"):
            free_s = self._oracle.readable_s(charge, charge.stopped_at, now)
            assert free_s <= FREE_AGAIN_S, f"{row.reference}: {free_s:.0f} s"

    def finished(self) -> None:
        """Checks the end: nothing is left open, and every driver was billed by Monta's record."""
        for host, simulator in self._oracle.simulators.items():
            self._within_quota(host, simulator)
            ours = [c for c in simulator.charges() if c.partner_external_id is not None]
            with self._story.rule("no charge of ours goes on"):
                assert all(c.state in ENDED for c in ours), f"{[(c.id, c.state) for c in ours]}"
            with self._story.rule("a charge of a lost session is told"):
                assert self._oracle.lost_are_told()
        for row in self._oracle.rows.values():
            self._billed(row)
        for ledger in self._oracle.ledgers:
            self._paid(ledger)

    def _within_quota(self, host: str, simulator: Simulator) -> None:
        """A stop may be refused, since our own count never holds one back, but only where stops have used up what
        reads and starts left them."""
        throttling = any(p.faults.throttled_starts for p in simulator.config.points)
        left_to_others = simulator.config.rate_limit * QUOTA_WITHOUT_STOPS
        for _, requests in self._oracle.requests_by_window(host):
            others = sum(line.purpose not in (Purpose.STOP, Purpose.TOKEN) for line in requests)
            refused = [
                line
                for line in requests
                if line.status == 429
                and line.fault_kind is None
                and not (throttling and line.purpose is Purpose.START)
                and not (line.purpose is Purpose.STOP and others <= left_to_others)
            ]
            with self._story.rule("requests stay within Monta's quota"):
                assert not refused, f"{host}: {len(refused)} refused, first {refused[:1]}"

    def _billed(self, row: Row) -> None:
        settled = row.settled
        if settled is None or row.charge_id is None:
            return
        if self._misreported(row):
            return
        with self._story.rule("a charge is billed by its final price, or was of no use"):
            assert settled.basis in ("final_price", "nothing_ran"), f"{settled}"
        if settled.basis == "nothing_ran":
            self._was_of_no_use(row)
            return
        (charge,) = [c for c in self._oracle.charges_of(row) if str(c.id) == row.charge_id]
        price = int(((charge.price or Decimal(0)) * 100).quantize(Decimal(1), ROUND_HALF_UP))
        with self._story.rule("billed is what Monta's record says, up to the authorization"):
            assert settled.to_capture == min(price, row.amount), (
                f"{settled.to_capture} of {price}, {row.amount}"
            )
            assert settled.shortfall == max(0, price - row.amount), f"{settled.shortfall}"
        tolerated = self._tolerated(charge)
        if tolerated is not None:
            with self._story.rule("no energy is given away"):
                assert settled.shortfall <= tolerated, f"{price} of {row.amount}"

    def _misreported(self, row: Row) -> bool:
        """Whether Monta's record of the session's charge is wrong; then at most the plausible amount is billed."""
        (charge,) = [c for c in self._oracle.charges_of(row) if str(c.id) == row.charge_id]
        misreport, settled = self._oracle.misreport_of(charge), row.settled
        if misreport == Misreport() or settled is None:
            return False
        with self._story.rule("nothing above the plausible amount is captured"):
            most = self._most_plausible(charge, settled.decided_at)
            assert settled.to_capture <= most, f"{settled.to_capture} of {most} at most"
        with self._story.rule("a negative price, or one in another currency, is never billed"):
            odd = (misreport.final_price or 0) < 0 or misreport.currency is not None
            assert not odd or settled.basis != "final_price" or settled.to_capture == 0, f"{settled}"
        return True

    def _most_plausible(self, charge: Charge, decided_at: datetime) -> int:
        """The most, in minor units, that the charge point's rating and the time allow, with a margin."""
        seconds = Decimal(((charge.stopped_at or decided_at) - charge.created_at).total_seconds()) + 120
        energy_wh = int(self._oracle.point_of(charge).max_w * seconds / 3600)
        total = price(charge.price_group, Usage(energy_wh, seconds, seconds)).total
        return int(total * 100 * TO_SPARE)

    def _was_of_no_use(self, row: Row) -> None:
        (charge,) = [c for c in self._oracle.charges_of(row) if str(c.id) == row.charge_id]
        with self._story.rule("no charge runs without payment"):
            assert charge.metered_wh < SHOWN_WH, f"charge {charge.id} gave {charge.metered_wh} Wh"

    def _tolerated(self, charge: Charge) -> int | None:
        """Allowed overrun in minor units: none where our watcher worked with correct facts and had the quota to find
        the charge, what flows until Monta's own limit acts where only that worked, once more for each restart; None:
        unbounded, since neither worked."""
        begin, end = charge.created_at, charge.stopped_at or charge.created_at
        undisturbed = self._oracle.undisturbed_s(charge, begin, end) >= (end - begin).total_seconds()
        known_at = self._oracle.adopted_at.get(charge.partner_external_id or "", end)
        findable = self._oracle.readable_s(charge, begin, known_at) >= (known_at - begin).total_seconds()
        if undisturbed and findable and self._oracle.plan.stops_work and self._oracle.plan.well_told:
            return 0
        if not self._oracle.plan.limits_work:
            return None
        point = self._oracle.point_of(charge)
        reaction_s = (LIMIT_REACTION_S + point.stop_latency_s) * (1 + charge.restarts)
        group = charge.price_group
        energy = Decimal(point.max_w * reaction_s) / 3_600_000 * group.kwh_price
        minutes = Decimal(reaction_s) / 60 * group.minute_fee
        return int((energy + minutes) * 100) + 1

    def _paid(self, ledger: TerminalLedger) -> None:
        if ledger.session_id is None or ledger.session_id in self._oracle.forgotten:
            return
        row = self._oracle.rows[ledger.session_id]
        with self._story.rule("the hold is what was acknowledged"):
            assert row.amount == sum(ledger.authorized.values()), f"{row.amount} of {ledger.authorized}"
        with self._story.rule("what the terminal did is what was settled"):
            assert row.settled is not None
            assert ledger.captured in (None, row.settled.to_capture), f"{ledger.captured}, {row.settled}"
        with self._story.rule("terminals never see a session go back"):
            ranks = [WAY.index(shown["status"]) for shown in ledger.shown]
            versions = [shown["version"] for shown in ledger.shown]
            assert ranks == sorted(ranks), f"{ranks}"
            assert versions == sorted(versions), f"{versions}"
