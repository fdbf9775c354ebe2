"""Moves charges through Monta's states. Starting, charging, paused, stopping, stopped, releasing, released,
completed."""

from collections.abc import Callable
from datetime import datetime

from app.domain.charging.charge import ENDED, ChargeState
from app.simulator.site.charge import Charge, StartOrder
from app.simulator.site.power import Power
from app.simulator.site.site import Point, Site
from app.simulator.site.timeline import Action

RELEASING_AFTER_S = 1.0
_RUNNING = frozenset({ChargeState.CHARGING, ChargeState.PAUSED, ChargeState.STOPPING})
_RESTARTABLE = frozenset({ChargeState.RESERVED, ChargeState.STOPPED, ChargeState.RELEASING})


class NotPossible(Exception):
    """The charge's or charge point's state does not allow it. Monta answers 400 BAD_REQUEST."""


class Lifecycle:
    """Moves charges from state to state, at the site's present time."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._power = power = Power(site)
        power.on_full = self._full
        power.on_limit = self._stopping
        power.on_enough = self.unplug
        power.on_fault = lambda charge: self.fail(charge, "Ground fault")

    def start(self, order: StartOrder, *, spare: bool = False) -> Charge:
        """A new charge; raises UnknownId or NotPossible. A `spare` one never gets the charge point."""
        point = self._site.point(order.charge_point_id)
        if not spare and point.offline:
            raise NotPossible("Charge point is not connected")
        if not spare and point.busy:
            raise NotPossible("Charge point is busy")
        charge = self._site.create(order, spare=spare)
        if not spare:
            point.charge = charge
            point.throttled = 0
        if not order.reserve:
            self._await_power(charge)
        self._site.changed(charge, "created")
        gone_after_s = point.config.faults.misreport.gone_after_s
        if gone_after_s is not None:
            self._site.timeline.after(gone_after_s, self._do(self._vanish, charge))
        return charge

    def plugged(self, point: Point) -> None:
        """Handles a plugged-in car: a waiting charge begins."""
        charge = point.charge
        if charge is not None:
            charge.cable_plugged_in_at = charge.cable_plugged_in_at or self._site.now
            if charge.state is ChargeState.STARTING:
                self._await_power(charge)

    def unplug(self, point: Point) -> None:
        """Handles an unplugged cable. Power ends at once, and with it the wait for the release."""
        charge = point.charge
        if charge is not None and charge.state in _RUNNING:
            charge.stop_reason = charge.stop_reason or "EVDisconnected"
            self._power_off(charge)
        point.plugged = None
        if charge is not None and charge.state in ENDED and charge.released_at is None:
            charge.released_at = self._site.now
            charge.state = ChargeState.RELEASED
            self._site.changed(charge)
            self._complete_soon(charge)
        else:
            self._site.point_changed(point)

    def ask_stop(self, charge: Charge, reason: str) -> None:
        """Accepts a stop, which may still have no effect. The charge point may be faulty or offline."""
        charge.stops_asked += 1
        if charge.state in ENDED or charge.state is ChargeState.STOPPING:
            return
        point = self._site.points[charge.point_id]
        faults = point.config.faults
        ignored = charge.flowing is not None and charge.stops_asked <= faults.stops_ignored
        if point.offline or (ignored and faults.stop_without_trace):
            return
        self._stopping(charge, reason)
        if ignored:
            self._site.step(charge, point.config.stop_latency_s, self._do(self._back_to_charging, charge))

    def stop_at_once(self, charge: Charge, reason: str) -> None:
        """Ends power without delay: the stop button, a full car, the operator."""
        if charge.state not in ENDED:
            charge.stop_reason = reason
            self._power_off(charge)

    def pause(self, charge: Charge) -> None:
        """Pauses by car or charger: no current, but the charge goes on."""
        if charge.state is not ChargeState.CHARGING:
            raise NotPossible(f"A charge in state {charge.state} cannot pause")
        self._power.end(charge)
        charge.state = ChargeState.PAUSED
        self._site.changed(charge)

    def resume(self, charge: Charge) -> None:
        """Lets current flow again."""
        if charge.state is not ChargeState.PAUSED:
            raise NotPossible(f"A charge in state {charge.state} cannot resume")
        self._energise(charge)

    def restart(self, charge: Charge) -> None:
        """Starts a reserved charge, or continues a stopped one. One that is not completed."""
        point = self._site.points[charge.point_id]
        if charge.state not in _RESTARTABLE or point.charge is not charge:
            raise NotPossible(f"A charge in state {charge.state} cannot be restarted")
        charge.restarts += 1
        charge.state = ChargeState.STARTING
        charge.started_at = charge.started_at or self._site.now
        charge.stopped_at = charge.stop_reason = charge.fully_charged_at = None
        self._site.forget_step(charge)
        self._await_power(charge)
        self._site.changed(charge)

    def force_stop(self, charge: Charge) -> None:
        """Force-stops as the operator in Monta Hub. The charge ends at once, and its payment is removed."""
        charge.price_waived = True
        self._end(charge, "ForceStopped")

    def fail(self, charge: Charge, reason: str) -> None:
        """Fails the charge, which has no state of its own. It is stopped, with failedAt and failureReason."""
        if charge.state not in ENDED:
            charge.failed_at = self._site.now
            charge.failure_reason = reason
            self._power_off(charge)

    def _vanish(self, charge: Charge) -> None:
        """Loses the charge at Monta, and with it the point's session. Power ends, and no webhook is sent."""
        self._end(charge, "Gone")

    def _end(self, charge: Charge, reason: str) -> None:
        """Ends power at once and for good: nobody restarts the charge or waits for its cable."""
        self.stop_at_once(charge, reason)
        if charge.state is not ChargeState.COMPLETED:
            self._complete_soon(charge)

    def _await_power(self, charge: Charge) -> None:
        point, timeout_s = self._site.points[charge.point_id], self._site.config.start_timeout_s
        if not charge.spare and point.plugged is not None:
            self._site.step(charge, point.config.start_latency_s, self._do(self._energise, charge))
        elif timeout_s is not None:
            self._site.step(charge, timeout_s, self._do(self._time_out, charge))

    def _time_out(self, charge: Charge) -> None:
        charge.timeout_at = self._site.now
        self._power_off(charge)

    def _energise(self, charge: Charge) -> None:
        if charge.state in {ChargeState.STARTING, ChargeState.PAUSED} and self._power.begin(charge):
            charge.state = ChargeState.CHARGING
            self._site.changed(charge)

    def _stopping(self, charge: Charge, reason: str) -> None:
        charge.state = ChargeState.STOPPING
        charge.stop_reason = reason
        self._site.changed(charge)
        latency_s = self._site.points[charge.point_id].config.stop_latency_s
        self._site.step(charge, latency_s, self._do(self._power_off, charge))

    def _back_to_charging(self, charge: Charge) -> None:
        if charge.state is ChargeState.STOPPING and charge.flowing is not None:
            charge.state = ChargeState.CHARGING
            charge.stop_reason = None
            self._site.changed(charge)

    def _full(self, charge: Charge) -> None:
        charge.fully_charged_at = self._site.now
        pauses = self._site.points[charge.point_id].config.pauses_when_full
        if pauses and charge.state is ChargeState.CHARGING:
            self.pause(charge)
        else:
            self.stop_at_once(charge, charge.stop_reason or "EVFullyCharged")

    def _power_off(self, charge: Charge) -> None:
        self._power.end(charge)
        charge.stopped_at = self._site.now
        charge.state = ChargeState.STOPPED
        point = self._site.points[charge.point_id]
        faults, holds = point.config.faults, point.charge is charge
        charge.price_waived = charge.price_waived or faults.price_waived
        self._site.changed(charge)
        if faults.restarts_after_s is not None and charge.restarts == 0 and charge.metered_wh:
            self._site.step(charge, faults.restarts_after_s, self._do(self.restart, charge))
        elif holds and point.plugged is not None and charge.price_group.idle_fee and charge.metered_wh:
            self._site.step(charge, RELEASING_AFTER_S, self._do(self._release, charge))
        else:
            self._complete_soon(charge)

    def _release(self, charge: Charge) -> None:
        charge.state = ChargeState.RELEASING
        self._site.changed(charge)

    def _complete_soon(self, charge: Charge) -> None:
        seconds = self._site.streams.between(*self._site.config.completion_s)
        self._site.step(charge, seconds, self._do(self._complete, charge))

    def _complete(self, charge: Charge) -> None:
        point = self._site.points[charge.point_id]
        charge.completed_at = self._site.now
        charge.state = ChargeState.COMPLETED
        if point.charge is charge:
            point.charge = None
        self._site.counters["charges_completed"] += 1
        self._site.changed(charge)

    @staticmethod
    def _do(step: Callable[[Charge], None], charge: Charge) -> Action:
        def act(_at: datetime) -> None:
            step(charge)

        return act
