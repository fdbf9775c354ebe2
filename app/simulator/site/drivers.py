"""Drivers at the charge points: they plug in, unplug, press stop. Some of them automatically."""

from app.domain.charging.charge import ENDED, ChargeState
from app.simulator.site.charge import Charge, StartOrder
from app.simulator.site.lifecycle import Lifecycle, NotPossible
from app.simulator.site.site import Plugged, Point, Site
from app.simulator.site.vehicles import VEHICLES, Vehicle

_NEXT_CAR_GAP_S = 5.0


class Drivers:
    """Acts as drivers do, at the site's present time. An impossible act raises NotPossible."""

    def __init__(self, site: Site, lifecycle: Lifecycle) -> None:
        self._site = site
        self._lifecycle = lifecycle
        site.charge_watchers.append(self._react)

    def arrive(self) -> None:
        """Plugs in the cars that are present from the beginning."""
        for point in self._site.points.values():
            if point.config.driver.arrives_plugged_in:
                self._own_car(point)

    def plug_in(self, point: Point, vehicle: Vehicle, soc_percent: float) -> None:
        """Plugs in a car of `soc_percent`."""
        if point.plugged is not None:
            raise NotPossible("A car is already plugged in")
        stored_wh = vehicle.battery_wh * soc_percent / 100
        point.plugged = Plugged(vehicle, stored_wh, self._site.now)
        self._lifecycle.plugged(point)
        self._site.point_changed(point)

    def unplug(self, point: Point) -> None:
        """Unplugs the cable; harmless when none is in."""
        if point.plugged is not None:
            self._lifecycle.unplug(point)

    def stop_button(self, point: Point) -> None:
        """Presses the button at the charger: power ends at once."""
        self._lifecycle.stop_at_once(self.charge_of(point), "StoppedByUser")

    def local_start(self, point: Point, rfid: str) -> Charge:
        """Starts with another user's RFID card. A charge without our external id, paid by another team."""
        order = StartOrder(
            paying_team_id=self._site.config.owner_team_id,
            charge_point_id=point.config.id,
            start_source="rfid",
            rfid=rfid,
        )
        return self._lifecycle.start(order)

    def charge_of(self, point: Point) -> Charge:
        """Returns the charge that occupies a charge point."""
        if point.charge is None:
            raise NotPossible("No charge at this charge point")
        return point.charge

    def _own_car(self, point: Point) -> None:
        driver = point.config.driver
        if point.plugged is None:
            self.plug_in(point, VEHICLES[driver.vehicle], driver.soc_percent)

    def _react(self, charge: Charge, event: str) -> None:
        """Performs what the charge point's driver does automatically when the charge changes."""
        point = self._site.points[charge.point_id]
        driver, timeline = point.config.driver, self._site.timeline
        if charge.spare:
            return
        if event == "created" and point.plugged is None and driver.plugs_in_after_s is not None:
            timeline.after(driver.plugs_in_after_s, lambda _at: self._own_car(point))
        car = point.plugged
        if charge.state is ChargeState.STOPPED and driver.unplugs_after_stop_s is not None:
            timeline.after(driver.unplugs_after_stop_s, lambda _at: self._leave(point, car, charge))
        if charge.state is ChargeState.COMPLETED and driver.next_car_after_s is not None:
            gap_s = min(_NEXT_CAR_GAP_S, driver.next_car_after_s)
            timeline.after(driver.next_car_after_s - gap_s, lambda _at: self._leave(point, car, charge))
            timeline.after(driver.next_car_after_s, lambda _at: self._own_car(point))

    def _leave(self, point: Point, car: Plugged | None, charge: Charge) -> None:
        """Makes the driver of `charge` leave. A charge that goes on or was started by another user keeps its car."""
        mine = point.charge is None or point.charge is charge
        if mine and point.plugged is car and charge.state in ENDED:
            self.unplug(point)
