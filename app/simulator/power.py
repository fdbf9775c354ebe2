"""Energy on and off: the leg in which it flows, its readings, and the moments that will end it."""

from collections.abc import Callable
from datetime import timedelta

from app.domain.charge import ChargeState
from app.simulator.charge import Charge, Leg
from app.simulator.metering import Metering, full_at, limit_reached_at
from app.simulator.site import Point, Site
from app.simulator.timeline import Appointment


class Power:
    """Switches charge points. What an end means for the charge the lifecycle decides, by its callbacks."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._meter = Metering(site)
        self._ends: dict[int, list[Appointment]] = {}
        self.on_full: Callable[[Charge], None] = lambda _charge: None
        self.on_limit: Callable[[Charge, str], None] = lambda _charge, _reason: None
        self.on_enough: Callable[[Point], None] = lambda _point: None
        self.on_fault: Callable[[Charge], None] = lambda _charge: None

    def begin(self, charge: Charge) -> bool:
        """Let energy flow; False when there is no car, or the charge point belongs to another charge."""
        point = self._site.points[charge.point_id]
        car = point.plugged
        if car is None or point.charge is not charge or charge.flowing is not None:
            return False
        config = point.config
        curve = car.vehicle.curve(config.max_w, direct_current=config.direct_current)
        leg = Leg(curve, car.stored_wh, self._site.now, config.ramp_s)
        charge.legs.append(leg)
        charge.power_since = charge.power_since or self._site.now
        self._meter.begin(charge)
        self._ends[charge.id] = self._plan_ends(charge, leg, point)
        return True

    def end(self, charge: Charge) -> None:
        """No energy from now on; the last reading is taken. Harmless when none flowed."""
        for planned in self._ends.pop(charge.id, []):
            planned.cancel()
        leg, point = charge.flowing, self._site.points[charge.point_id]
        if leg is None:
            return
        leg.ended_at = self._site.now
        self._meter.end(charge)
        if point.plugged is not None:
            point.plugged.stored_wh = leg.stored_wh(self._site.now)

    def _plan_ends(self, charge: Charge, leg: Leg, point: Point) -> list[Appointment]:
        """A full car, a limit, a driver who has enough, a fault: whichever comes first cancels the others."""
        timeline, quirks = self._site.timeline, point.config.quirks
        planned: list[Appointment] = []
        full = full_at(leg)
        if full is not None:
            planned.append(timeline.at(full, lambda _at: self.on_full(charge)))
        limit = None if quirks.limits_ignored else limit_reached_at(charge, leg)
        if limit is not None:
            at, reason = limit
            at += timedelta(seconds=self._site.config.limit_reaction_s)
            planned.append(timeline.at(at, lambda _at: self._limit(charge, reason)))
        enough_wh = point.config.driver.unplugs_after_wh
        if enough_wh is not None:
            at_enough = leg.time_of(max(0.0, enough_wh - charge.delivered_wh(leg.started_at)))
            if at_enough is not None:
                planned.append(timeline.at(at_enough, lambda _at: self.on_enough(point)))
        if quirks.fails_after_s is not None:
            planned.append(timeline.after(quirks.fails_after_s, lambda _at: self.on_fault(charge)))
        return planned

    def _limit(self, charge: Charge, reason: str) -> None:
        # Monta's stop travels like any other: it does not reach a charge point that is offline.
        if charge.state in {ChargeState.CHARGING, ChargeState.STOPPING} and self._reachable(charge):
            self.on_limit(charge, reason)

    def _reachable(self, charge: Charge) -> bool:
        return not self._site.points[charge.point_id].offline
