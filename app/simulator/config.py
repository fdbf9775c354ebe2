"""Configures the simulator: credential, charge points, drivers, and every delay."""

from dataclasses import field

from app.domain.units.frozen import frozen
from app.simulator.faults.catalog import PointFaults
from app.simulator.site.prices import Currency, PriceGroup
from app.simulator.site.vehicles import VEHICLES

ALL_SCOPES = frozenset({"all"})
"""The scope for everything. In the reference's own enumeration the scopes have no permission part, in real
credentials they do (`charge-points:read`); both forms are understood, and `all` is valid in both."""

GATEWAY_SCOPES = frozenset(
    {
        "charge-points:read",
        "charge-transactions:read",
        "charges:write",
        "control-charging:write",
        "manage-webhooks:delete",
        "price-groups:read",
        "prices-forecast:read",
        "receipts:read",
        "webhooks:read",
    }
)
"""Scopes that a gateway asks its operator for. `delete` includes `write`, which includes `read`."""


@frozen(kw_only=True)
class Driver:
    """What a charge point's driver does without being asked. Seconds and Wh, None: never.

    `plugs_in_after_s` counts from a start without a car, `unplugs_after_stop_s` from the end of the power,
    `next_car_after_s` from completed until a fresh car has replaced the previous one.
    """

    vehicle: str = "Volkswagen ID.3 58 kWh"
    soc_percent: float = 20.0
    arrives_plugged_in: bool = True
    plugs_in_after_s: float | None = None
    unplugs_after_wh: int | None = None
    unplugs_after_stop_s: float | None = None
    next_car_after_s: float | None = None


@frozen(kw_only=True)
class PointConfig:
    """One charge point (one EVSE): power in W, times in seconds.

    The meter reports each `meter_interval_s`, or each `meter_step_wh` when that is set. `ramp_s` is the time
    from no power to full power.
    """

    id: int
    name: str
    max_w: int
    price_group_id: int
    direct_current: bool = False
    meter_interval_s: float = 60.0
    meter_step_wh: int | None = None
    start_latency_s: float = 3.0
    stop_latency_s: float = 3.0
    ramp_s: float = 5.0
    pauses_when_full: bool = False
    offline: bool = False
    driver: Driver = field(default_factory=Driver)
    faults: PointFaults = field(default_factory=PointFaults)

    def __post_init__(self) -> None:
        _require(self.max_w > 0, f"charge point {self.id}: max_w must be above 0")
        _require(10 <= self.meter_interval_s <= 300, f"charge point {self.id}: meter_interval_s is 10 to 300")
        _require(
            self.meter_step_wh is None or self.meter_step_wh >= 10,
            f"charge point {self.id}: meter_step_wh must be 10 or more",
        )
        _require(
            self.driver.vehicle in VEHICLES, f"charge point {self.id}: no vehicle {self.driver.vehicle!r}"
        )


@frozen(kw_only=True)
class SimulatorConfig:
    """The whole configuration. Webhook and limit figures are seconds of the clock that is passed in."""

    points: tuple[PointConfig, ...]
    price_groups: tuple[PriceGroup, ...]
    seed: int = 1
    currency: Currency = field(default_factory=Currency)
    prices_in_minor_units: bool = False
    """Prices of charges as in Monta's newest text. Its reference and all recorded charges show major units."""
    client_id: str = "simulator-client"
    client_secret: str = field(default="simulator-secret-do-not-use-elsewhere", repr=False)
    consumer_name: str = "Tapwatt gateway"
    operator_id: int = 96
    operator_name: str = "Simulated Monta"
    owner_team_id: int = 13
    site_id: int = 17
    """Monta's id of the one site of all charge points."""
    paying_team_ids: tuple[int, ...] = (4711,)
    credential_team_ids: tuple[int, ...] = ()
    """Teams that the credential is restricted to, as Monta shows them. None: all of the operator's."""
    scopes: frozenset[str] = ALL_SCOPES
    rate_limit: int = 1000
    rate_window_s: int = 600
    access_token_life_s: int = 3600
    refresh_token_life_s: int = 86_400
    start_status: int = 200
    wraps_start_answer: bool = False
    charge_ids_after: int = 689_100_000_000_000_000
    """Charge ids are above this. They have 18 digits (above 2^53) since about October 2024."""
    allows_http_loopback: bool = False
    allows_plain_http: bool = False
    """Webhooks to http anywhere, as between containers. Monta allows https alone."""
    webhook_cadence_s: float = 2.0
    webhook_latency_s: float = 1.0
    webhook_retry_s: float = 60.0
    webhook_keep_s: float = 86_400.0
    webhook_batch_max: int = 100
    tells_points_meters: bool = True
    """Each reading is a webhook of its charge point too. False: only a changed state, cable or price group is one."""
    limit_reaction_s: float = 2.0
    start_timeout_s: float | None = None
    completion_s: tuple[float, float] = (2.0, 3.0)

    def __post_init__(self) -> None:
        ids = [point.id for point in self.points]
        groups = {group.id for group in self.price_groups}
        _require(len(ids) == len(set(ids)), "points: two charge points have the same id")
        for point in self.points:
            _require(point.price_group_id in groups, f"charge point {point.id}: unknown price_group_id")
        _require(self.webhook_cadence_s > 0, "webhook_cadence_s must be above 0")
        _require(self.webhook_batch_max > 0, "webhook_batch_max must be above 0")
        _require(bool(self.paying_team_ids), "paying_team_ids must not be empty")


def _require(holds: bool, complaint: str) -> None:
    if not holds:
        raise ValueError(complaint)
