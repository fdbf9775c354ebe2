"""Switches energy at a charge point. The meter's readings, and when a limit is reached."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

from app.domain.charging.charge import ChargeState
from app.simulator.site.charge import Charge, Leg
from app.simulator.site.prices import price
from app.simulator.site.site import Point, Site
from app.simulator.site.timeline import Appointment
from app.simulator.wire import kwh

HORIZON = timedelta(hours=72)
"""A price limit not reached within this is never reached."""
_BISECTIONS = 48


class Metering:
    """Reads meters; the lifecycle decides what follows from a reading."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._planned: dict[int, Appointment] = {}

    def begin(self, charge: Charge) -> None:
        """Plans readings from now on, until `end`."""
        self._plan(charge)

    def end(self, charge: Charge) -> None:
        """Closes the leg and takes the last reading."""
        planned = self._planned.pop(charge.id, None)
        if planned is not None:
            planned.cancel()
        self.read(charge)

    def read(self, charge: Charge) -> None:
        """Takes a reading now; Monta shows it unless the charge point is offline."""
        now, point = self._site.now, self._site.points[charge.point_id]
        charge.metered_wh = int(charge.delivered_wh(now) + 1e-6)
        charge.metered_at = now
        charge.reported_wh = charge.metered_wh
        point.meter_wh = charge.start_meter_wh + charge.metered_wh
        if charge.legs:
            leg = charge.legs[-1]
            charge.soc_percent = round(100 * leg.stored_wh(now) / leg.curve.battery_wh, 1)

    def _plan(self, charge: Charge) -> None:
        at = self._next_sample(charge, self._site.points[charge.point_id])
        if at is not None:
            self._planned[charge.id] = self._site.timeline.at(at, lambda _at: self._sample(charge))

    def _next_sample(self, charge: Charge, point: Point) -> datetime | None:
        step_wh, leg = point.config.meter_step_wh, charge.flowing
        if step_wh is None or leg is None:
            return self._site.now + timedelta(seconds=point.config.meter_interval_s)
        delivered = charge.delivered_wh(self._site.now)
        # Times are cut to milliseconds: without the half watt-hour a step just read would be planned again.
        missing = (int((delivered + 0.5) // step_wh) + 1) * step_wh - delivered
        reached = leg.time_of(leg.delivered_wh(self._site.now) + missing)
        return None if reached is None else reached + timedelta(milliseconds=1)

    def _sample(self, charge: Charge) -> None:
        point = self._site.points[charge.point_id]
        shown_before = kwh(charge.reported_wh, 2)
        if not point.offline:
            self.read(charge)
            charge.samples += 1
            if charge.samples == point.config.faults.meter_falls_at_sample:
                charge.reported_wh = charge.metered_wh // 2
            if kwh(charge.reported_wh, 2) != shown_before:
                self._site.changed(charge)
        if charge.state in {ChargeState.CHARGING, ChargeState.STOPPING}:
            self._plan(charge)


def full_at(leg: Leg) -> datetime | None:
    """Returns when the car will be full."""
    return leg.time_of(leg.curve.battery_wh - leg.battery_wh)


def limit_reached_at(charge: Charge, leg: Leg) -> tuple[datetime, str] | None:
    """Returns when `leg` reaches the charge's first limit, and which. By its name."""
    found: list[tuple[datetime, str]] = []
    before_wh = charge.delivered_wh(leg.started_at)
    order = charge.order
    if order.kwh_limit is not None:
        _note(found, leg.time_of(max(0.0, float(order.kwh_limit) * 1000 - before_wh)), "KwhLimitReached")
    if order.soc_limit is not None:
        target_wh = float(order.soc_limit) / 100 * leg.curve.battery_wh
        _note(found, leg.time_of(max(0.0, target_wh - leg.battery_wh)), "SocLimitReached")
    if order.price_limit is not None:
        _note(found, _price_reached_at(charge, leg, order.price_limit), "PriceLimitReached")
    return min(found, default=None)


def _note(found: list[tuple[datetime, str]], at: datetime | None, reason: str) -> None:
    if at is not None:
        found.append((at, reason))


def _price_reached_at(charge: Charge, leg: Leg, limit: Decimal) -> datetime | None:
    """Finds the moment by bisection, since the price only rises."""

    def reached(at: datetime) -> bool:
        usage = charge.usage_with(int(charge.delivered_wh(at) + 1e-6), at)
        return price(charge.price_group, usage).total >= limit

    early, late = leg.started_at, min(full_at(leg) or leg.started_at + HORIZON, leg.started_at + HORIZON)
    if not reached(late):
        return None
    for _ in range(_BISECTIONS):
        middle = early + (late - early) / 2
        early, late = (early, middle) if reached(middle) else (middle, late)
    return late


class Power:
    """Switches charge points. The lifecycle decides by callbacks what an end means for the charge."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._meter = Metering(site)
        self._ends: dict[int, list[Appointment]] = {}
        self.on_full: Callable[[Charge], None] = lambda _charge: None
        self.on_limit: Callable[[Charge, str], None] = lambda _charge, _reason: None
        self.on_enough: Callable[[Point], None] = lambda _point: None
        self.on_fault: Callable[[Charge], None] = lambda _charge: None

    def begin(self, charge: Charge) -> bool:
        """Lets energy flow; False when there is no car, or the charge point belongs to another charge."""
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
        """Ends the energy and takes the last reading. Harmless when none flowed."""
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
        """Plans how charging may end: the first event cancels the others. A full car, a limit, a satisfied driver, a
        fault."""
        timeline, faults = self._site.timeline, point.config.faults
        planned: list[Appointment] = []
        full = full_at(leg)
        if full is not None:
            planned.append(timeline.at(full, lambda _at: self.on_full(charge)))
        limit = None if faults.limits_ignored else limit_reached_at(charge, leg)
        if limit is not None:
            at, reason = limit
            at += timedelta(seconds=self._site.config.limit_reaction_s)
            planned.append(timeline.at(at, lambda _at: self._limit(charge, reason)))
        enough_wh = point.config.driver.unplugs_after_wh
        if enough_wh is not None:
            at_enough = leg.time_of(max(0.0, enough_wh - charge.delivered_wh(leg.started_at)))
            if at_enough is not None:
                planned.append(timeline.at(at_enough, lambda _at: self.on_enough(point)))
        if faults.fails_after_s is not None:
            planned.append(timeline.after(faults.fails_after_s, lambda _at: self.on_fault(charge)))
        return planned

    def _limit(self, charge: Charge, reason: str) -> None:
        # Monta's stop travels like any other: it does not reach a charge point that is offline.
        if charge.state in {ChargeState.CHARGING, ChargeState.STOPPING} and self._reachable(charge):
            self.on_limit(charge, reason)

    def _reachable(self, charge: Charge) -> bool:
        return not self._site.points[charge.point_id].offline
