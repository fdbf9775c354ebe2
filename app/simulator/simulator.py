"""The simulated Partner API as an ASGI app. With its charge points and vehicles."""

import asyncio
from collections import Counter, deque
from datetime import datetime
from decimal import Decimal
from typing import NoReturn

from app.clock import Clock
from app.domain.units.frozen import replace
from app.domain.units.ids import ChargeId, ChargePointId
from app.simulator.config import SimulatorConfig
from app.simulator.faults.apply_faults import FaultEffects
from app.simulator.faults.schedule import FaultSchedule
from app.simulator.http.answers import Answer, Call
from app.simulator.http.asgi import Arrived, AsgiApp
from app.simulator.http.charge_points import ChargePointEndpoints
from app.simulator.http.charges import ChargeEndpoints
from app.simulator.http.checks import Quota, RequestChecks
from app.simulator.http.pipeline import Pipeline, RequestLine
from app.simulator.http.routes import Routes
from app.simulator.http.tokens import Tokens
from app.simulator.site.charge import Charge
from app.simulator.site.drivers import Drivers
from app.simulator.site.lifecycle import Lifecycle
from app.simulator.site.prices import Currency
from app.simulator.site.random_streams import RandomStreams
from app.simulator.site.site import Point, Site
from app.simulator.site.timeline import Timeline, in_ms
from app.simulator.site.vehicles import VEHICLES, Vehicle
from app.simulator.webhooks.delivery import Deliver, Deliveries, Delivery
from app.simulator.webhooks.endpoints import WebhookEndpoints
from app.simulator.webhooks.outbox import Outbox

DEFAULT_SOC_PERCENT = 20.0


class Simulator:
    """The simulator. `app` answers under /api/v1; time is the `clock`'s, events happen in `run_until` or `run`.

    Actions of people (plug_in, unplug, stop_button, ...) take effect at the clock's present; an unknown id raises
    UnknownId, an impossible action NotPossible. Faults are programmed in `faults`.
    """

    def __init__(self, config: SimulatorConfig, clock: Clock, deliver: Deliver) -> None:
        self.config = config
        self._clock = clock
        self._timeline = Timeline(clock.now())
        streams = RandomStreams(config.seed, config.charge_ids_after)
        self._site = site = Site(config, self._timeline, streams)
        self.faults = FaultSchedule()
        self._lifecycle = lifecycle = Lifecycle(site)
        self.outbox = Outbox(site, self.faults)
        self._deliveries = Deliveries(site, self.outbox, self.faults, deliver)
        self._drivers = Drivers(site, lifecycle)
        self.tokens = Tokens(config, streams, site.opened_at)
        self._pipeline = self._build_pipeline()
        self.app = AsgiApp(self._answer)
        self._events_changed = asyncio.Event()
        self._post_changed = asyncio.Event()
        self._timeline.on_change = self._events_changed.set
        self.outbox.on_entry = self._post_changed.set
        self._drivers.arrive()

    def _build_pipeline(self) -> Pipeline:
        site, quota = self._site, Quota(self.config.rate_limit, self.config.rate_window_s)
        charges = ChargeEndpoints(site, self._lifecycle, self.faults)
        routes = Routes(self.tokens, charges, ChargePointEndpoints(site), WebhookEndpoints(site, self.outbox))
        self.fault_effects = FaultEffects(routes, charges, self._timeline, self._clock, self._flush)
        checks = RequestChecks(routes, self.tokens, quota)
        return Pipeline(
            site, self.faults, checks=checks, routes=routes, fault_effects=self.fault_effects, quota=quota
        )

    # Time

    def next_event_at(self) -> datetime | None:
        """Returns when the next event or delivery is due. None: nothing happens without an action."""
        due = [at for at in (self._timeline.next_at(), self._deliveries.next_at()) if at is not None]
        return min(due, default=None)

    async def run_until(self, now: datetime) -> None:
        """Performs everything due up to `now`, without sleeping. In order of time, deliveries included."""
        while (due := self.next_event_at()) is not None and due <= now:
            self._timeline.advance(due)
            await self._deliveries.deliver_due(due)
        self._timeline.advance(now)

    async def run(self) -> NoReturn:
        """Performs events at their time until cancelled, as a server does. By the clock. A slow webhook receiver delays
        only deliveries."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_events())
            group.create_task(self._run_post())
        raise AssertionError("neither loop ends")

    async def _run_events(self) -> NoReturn:
        while True:
            self._events_changed.clear()
            self._catch_up()
            await self._sleep_until(self._timeline.next_at(), self._events_changed)

    async def _run_post(self) -> NoReturn:
        while True:
            self._post_changed.clear()
            await self._deliveries.deliver_due(in_ms(self._clock.now()))
            await self._sleep_until(self._deliveries.next_at(), self._post_changed)

    async def _sleep_until(self, due: datetime | None, changed: asyncio.Event) -> None:
        """Waits until `due`, or until something new may be due. By the clock."""
        waits: set[asyncio.Task[object]] = {asyncio.create_task(changed.wait())}
        if due is not None:
            seconds = max(0.0, (due - self._clock.now()).total_seconds())
            waits.add(asyncio.create_task(_slept(self._clock, seconds)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _flush(self) -> None:
        await self._deliveries.flush(self._timeline.now)

    def _catch_up(self) -> None:
        self._timeline.advance(in_ms(self._clock.now()))

    # HTTP

    async def _answer(self, arrived: Arrived) -> Answer:
        self._catch_up()
        call = Call(
            method=arrived.method,
            path=arrived.path,
            query=arrived.query,
            headers=arrived.headers,
            body=arrived.body,
            at=self._timeline.now,
        )
        return await self._pipeline.answer(call, arrived.query_text)

    # People and hardware

    def plug_in(
        self,
        point_id: ChargePointId,
        vehicle: Vehicle | str = "Volkswagen ID.3 58 kWh",
        soc_percent: float = DEFAULT_SOC_PERCENT,
    ) -> None:
        """Plugs in a car; a waiting charge begins."""
        car = VEHICLES[vehicle] if isinstance(vehicle, str) else vehicle
        self._drivers.plug_in(self._point(point_id), car, soc_percent)

    def unplug(self, point_id: ChargePointId) -> None:
        """Unplugs the cable, which ends the power."""
        self._drivers.unplug(self._point(point_id))

    def stop_button(self, point_id: ChargePointId) -> None:
        """Presses the stop button at the charger."""
        self._drivers.stop_button(self._point(point_id))

    def restart(self, point_id: ChargePointId) -> None:
        """Restarts a stopped charge as another user (app, hub): `stopped` is not final."""
        point = self._point(point_id)
        self._lifecycle.restart(self._drivers.charge_of(point))

    def local_start(self, point_id: ChargePointId, rfid: str = "04A2B3C4D5") -> Charge:
        """Starts a charge with another user's RFID card."""
        return self._drivers.local_start(self._point(point_id), rfid)

    def set_kwh_price(self, group_id: int, price: Decimal) -> None:
        """Changes a price group's kWh price, in major units. Running charges keep their price."""
        self._site.groups[group_id] = replace(self._site.groups[group_id], kwh_price=price)

    def set_currency(self, currency: Currency) -> None:
        """Changes the currency of everything, running charges and price groups included."""
        self._site.config = replace(self._site.config, currency=currency)

    def force_stop(self, point_id: ChargePointId) -> None:
        """Force-stops as the operator in Monta Hub. The charge completes with price 0."""
        self._lifecycle.force_stop(self._drivers.charge_of(self._point(point_id)))

    def pause(self, point_id: ChargePointId) -> None:
        """Pauses as the car does: no current, but the charge goes on."""
        self._lifecycle.pause(self._drivers.charge_of(self._point(point_id)))

    def resume(self, point_id: ChargePointId) -> None:
        self._lifecycle.resume(self._drivers.charge_of(self._point(point_id)))

    def fail(self, point_id: ChargePointId, reason: str = "Ground fault") -> None:
        """Fails the charge: stopped, with failedAt and failureReason."""
        self._lifecycle.fail(self._drivers.charge_of(self._point(point_id)), reason)

    def set_offline(self, point_id: ChargePointId, offline: bool) -> None:
        """Cuts or restores the charge point's connection. Without it no reading and no stop gets through."""
        point = self._point(point_id)
        point.offline = offline
        self._site.point_changed(point)

    # Queries

    def charges(self, point_id: ChargePointId | None = None) -> list[Charge]:
        """Returns the charges of a charge point, or all; oldest first."""
        self._catch_up()
        found = self._site.charges.values()
        return [charge for charge in found if point_id is None or charge.point_id == int(point_id)]

    def charge(self, charge_id: ChargeId) -> Charge:
        """Returns one charge; raises UnknownId."""
        self._catch_up()
        return self._site.charge(int(charge_id))

    def delivered_wh(self, charge_id: ChargeId) -> float:
        """Returns the energy that has physically flowed. Into the car, whatever Monta reports."""
        return self.charge(charge_id).delivered_wh(self._timeline.now)

    def power_w(self, point_id: ChargePointId) -> float:
        """Returns the power that physically flows now."""
        charge = self._point(point_id).charge
        if charge is None or charge.flowing is None:
            return 0.0
        return charge.flowing.power_w(self._timeline.now)

    @property
    def requests(self) -> deque[RequestLine]:
        """The log of requests, oldest first."""
        return self._pipeline.requests

    @property
    def deliveries(self) -> deque[Delivery]:
        """The log of webhook deliveries, oldest first."""
        return self._deliveries.deliveries

    @property
    def counters(self) -> Counter[str]:
        """Counts of events: charges_created, starts_asked, stops_asked, webhook_deliveries, ..."""
        return self._site.counters

    def _point(self, point_id: ChargePointId) -> Point:
        self._catch_up()
        return self._site.point(int(point_id))


async def _slept(clock: Clock, seconds: float) -> object:
    await clock.sleep(seconds)
    return None
