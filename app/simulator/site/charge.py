"""A charge as Monta keeps it, with its true energy flow. The intervals in which energy physically flowed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from app.domain.charging.charge import ChargeState
from app.domain.units.frozen import frozen
from app.simulator.site.prices import PriceGroup, Usage
from app.simulator.site.vehicles import PowerCurve
from app.simulator.wire import JsonValue


@frozen(kw_only=True)
class StartOrder:
    """What POST /charges asked for, validated. Limits in kWh, percent and major units."""

    paying_team_id: int
    charge_point_id: int
    reserve: bool = False
    kwh_limit: Decimal | None = None
    soc_limit: Decimal | None = None
    price_limit: Decimal | None = None
    price_group_id: int | None = None
    payment_session: Mapping[str, JsonValue] | None = None
    partner_external_id: str | None = None
    custom_payload: Mapping[str, JsonValue] | None = None
    start_source: str = "server-api"
    rfid: str | None = None


@dataclass(slots=True)
class Leg:
    """Power that flows without interruption. From `started_at`, ramping up over `ramp_s`, until `ended_at`.

    During the ramp the power is the curve's times t/ramp, so the energy after t is the curve's after the effective
    time t²/(2·ramp), and t - ramp/2 afterwards.
    """

    curve: PowerCurve
    battery_wh: float
    started_at: datetime
    ramp_s: float
    ended_at: datetime | None = None

    def delivered_wh(self, at: datetime) -> float:
        return self.stored_wh(at) - self.battery_wh

    def stored_wh(self, at: datetime) -> float:
        """Returns the energy in the battery at `at`."""
        return self.curve.energy_after(self.battery_wh, self._effective_s(self._elapsed_s(at)) / 3600)

    def power_w(self, at: datetime) -> float:
        if at < self.started_at or (self.ended_at is not None and at >= self.ended_at):
            return 0.0
        ramp = min(1.0, self._elapsed_s(at) / self.ramp_s) if self.ramp_s else 1.0
        return ramp * self.curve.power_at(self.stored_wh(at))

    def time_of(self, delivered_wh: float) -> datetime | None:
        """Returns when this leg will have delivered that much, unless ended before. None: more than the car takes."""
        target = self.battery_wh + delivered_wh
        if target > self.curve.battery_wh:
            return None
        effective_s = self.curve.hours_to(self.battery_wh, target) * 3600
        half = self.ramp_s / 2
        seconds = effective_s + half if effective_s > half else float((2 * self.ramp_s * effective_s) ** 0.5)
        return self.started_at + timedelta(seconds=seconds)

    def _elapsed_s(self, at: datetime) -> float:
        end = at if self.ended_at is None else min(at, self.ended_at)
        return max(0.0, (end - self.started_at).total_seconds())

    def _effective_s(self, elapsed_s: float) -> float:
        if elapsed_s < self.ramp_s:
            return elapsed_s * elapsed_s / (2 * self.ramp_s)
        return elapsed_s - self.ramp_s / 2


@dataclass(slots=True, kw_only=True, eq=False)
class Charge:
    """Monta's record of one charge, and its physical truth in `legs`. Tests read it, the lifecycle writes it.

    `metered_wh` is the last reading of the meter, `reported_wh` what Monta shows of it (the same, unless the
    charge point has a meter fault). `spare` marks the second of two charges made by one POST: it never gets power.
    """

    id: int
    human_id: str
    order: StartOrder
    price_group: PriceGroup
    created_at: datetime
    updated_at: datetime
    state: ChargeState
    start_meter_wh: int
    spare: bool = False
    payment_session: Mapping[str, JsonValue] | None = None
    partner_external_id: str | None = None
    custom_payload: Mapping[str, JsonValue] | None = None
    cable_plugged_in_at: datetime | None = None
    started_at: datetime | None = None
    power_since: datetime | None = None
    stopped_at: datetime | None = None
    fully_charged_at: datetime | None = None
    released_at: datetime | None = None
    failed_at: datetime | None = None
    timeout_at: datetime | None = None
    completed_at: datetime | None = None
    legs: list[Leg] = field(default_factory=list)
    samples: int = 0
    metered_at: datetime | None = None
    metered_wh: int = 0
    reported_wh: int = 0
    soc_percent: float | None = None
    price: Decimal | None = None
    price_waived: bool = False
    stops_asked: int = 0
    restarts: int = 0
    stop_reason: str | None = None
    failure_reason: str | None = None

    @property
    def point_id(self) -> int:
        return self.order.charge_point_id

    @property
    def flowing(self) -> Leg | None:
        """The leg in which energy flows now."""
        return self.legs[-1] if self.legs and self.legs[-1].ended_at is None else None

    def delivered_wh(self, at: datetime) -> float:
        """Energy that has physically flowed by `at`, in Wh."""
        return sum(leg.delivered_wh(at) for leg in self.legs if leg.started_at <= at)

    def usage(self, at: datetime) -> Usage:
        """Returns the billable usage. By the last reading of the meter and the clock."""
        return self.usage_with(self.metered_wh, at)

    def usage_with(self, energy_wh: int, at: datetime) -> Usage:
        charging_end = min(at, self.stopped_at or at)
        idle_since = self.fully_charged_at or self.stopped_at
        idle_end = min(at, self.released_at or at)
        return Usage(energy_wh, _seconds(self.power_since, charging_end), _seconds(idle_since, idle_end))


def _seconds(since: datetime | None, until: datetime) -> Decimal:
    if since is None or until <= since:
        return Decimal(0)
    return Decimal((until - since) // timedelta(microseconds=1)) / 1_000_000
