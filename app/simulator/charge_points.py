"""The simulator's charge points: ordinary ones, and magic ones with faults. A magic one causes its fault, as test cards
do."""

from decimal import Decimal
from typing import Any

from app.domain.units.frozen import frozen
from app.simulator.config import Driver, PointConfig
from app.simulator.faults.catalog import FOR_EVER, Fault, FaultKind, Misreport, PointFaults, WebhookFaults
from app.simulator.site.prices import PriceGroup

PRICE_GROUPS: tuple[PriceGroup, ...] = (
    PriceGroup(id=21, name="AC, energy only", kwh_price=Decimal("0.49")),
    PriceGroup(id=22, name="AC, with start fee", kwh_price=Decimal("0.45"), start_fee=Decimal("0.35")),
    PriceGroup(id=23, name="DC, with minute fee", kwh_price=Decimal("0.59"), minute_fee=Decimal("0.05")),
    PriceGroup(
        id=24,
        name="DC, with start and idle fee",
        kwh_price=Decimal("0.69"),
        start_fee=Decimal("0.50"),
        idle_fee=Decimal("0.10"),
        idle_fee_after_min=10,
        idle_fee_max=Decimal("12.00"),
    ),
    PriceGroup(id=25, name="HPC, energy only", kwh_price=Decimal("0.79")),
)


@frozen
class Magic:
    """One row of the printed table: id, name, and what happens there."""

    id: int
    name: str
    happens: str


_DEFAULT_DRIVER = Driver(unplugs_after_stop_s=20.0, next_car_after_s=30.0)


def _normal(number: int, name: str, max_w: int, group: int, vehicle: str) -> PointConfig:
    driver = Driver(vehicle=vehicle, unplugs_after_stop_s=20.0, next_car_after_s=30.0)
    dc = max_w >= 50_000
    return PointConfig(
        id=number,
        name=name,
        max_w=max_w,
        price_group_id=group,
        direct_current=dc,
        ramp_s=15.0 if dc else 5.0,
        driver=driver,
    )


NORMAL_POINTS: tuple[PointConfig, ...] = (
    _normal(101, "AC 3.7 kW", 3_700, 21, "Nissan Leaf 40 kWh"),
    _normal(102, "AC 11 kW", 11_000, 21, "Volkswagen ID.3 58 kWh"),
    _normal(103, "AC 22 kW, start fee", 22_000, 22, "Renault Zoe R110 ZE40"),
    _normal(104, "DC 50 kW, minute fee", 50_000, 23, "Hyundai Kona 64 kWh 11 kW-AC"),
    _normal(105, "DC 150 kW, start and idle fee", 150_000, 24, "Polestar 2"),
    _normal(106, "DC 300 kW", 300_000, 25, "Hyundai Ioniq 5"),
)


def _magic(
    number: int, name: str, faults: PointFaults, driver: Driver = _DEFAULT_DRIVER, group: int = 25
) -> PointConfig:
    return PointConfig(
        id=number,
        name=name,
        max_w=50_000,
        price_group_id=group,
        direct_current=True,
        ramp_s=15.0,
        meter_interval_s=30.0,
        offline=name == "Offline",
        driver=driver,
        faults=faults,
    )


def _at_start(fault_kind: FaultKind, seconds: float = 0.0) -> PointFaults:
    return PointFaults(at_start=Fault(fault_kind, seconds))


def _misreport(**what: Any) -> PointFaults:
    return PointFaults(misreport=Misreport(**what))


_TABLE: tuple[tuple[PointConfig, str], ...] = (
    (_magic(901, "Refused", _at_start(FaultKind.REFUSED)), "POST /charges answers 400; no charge"),
    (_magic(902, "Offline", PointFaults()), "state disconnected; POST /charges answers 400"),
    (
        _magic(903, "Lost answer", _at_start(FaultKind.ANSWER_LOST)),
        "the charge starts, but the connection ends within the answer",
    ),
    (
        _magic(904, "Late effect", _at_start(FaultKind.LATE_EFFECT, 45.0)),
        "POST answers 504; the charge appears 45 s later",
    ),
    (
        _magic(905, "Failed though done", _at_start(FaultKind.FAILED_THOUGH_DONE)),
        "the charge starts, but POST answers 502 with HTML",
    ),
    (
        _magic(906, "Never plugged in", PointFaults(), Driver(arrives_plugged_in=False)),
        "no car is plugged in: the charge stays starting",
    ),
    (
        _magic(907, "Unplugged", PointFaults(), Driver(unplugs_after_wh=3_000, next_car_after_s=30.0)),
        "the driver unplugs after 3 kWh",
    ),
    (
        _magic(908, "Stop ignored three times", PointFaults(stops_ignored=3)),
        "three stops answer 200 and stopping, then charging goes on; the fourth works",
    ),
    (
        _magic(909, "Stop without effect", PointFaults(stops_ignored=FOR_EVER, stop_without_trace=True)),
        "every stop answers 200 and nothing happens; only limits and people end it",
    ),
    (_magic(910, "Webhooks lost", PointFaults(webhooks=WebhookFaults(lost=True))), "no webhook ever comes"),
    (
        _magic(
            911,
            "Webhooks shuffled",
            PointFaults(webhooks=WebhookFaults(late_s=15.0, copies=2, shuffled=True)),
        ),
        "every webhook comes twice, 15 to 35 s late, in any order",
    ),
    (
        _magic(912, "Webhook first", _at_start(FaultKind.WEBHOOK_FIRST)),
        "the webhook of the new charge comes before the answer to POST",
    ),
    (
        _magic(913, "Meter falls", PointFaults(meter_falls_at_sample=3)),
        "the third reading shows half of what was charged, the next is right again",
    ),
    (
        _magic(914, "Limits ignored", PointFaults(limits_ignored=True)),
        "kwhLimit, socLimit and priceLimit do nothing: only a stop ends it",
    ),
    (
        _magic(915, "Full car", PointFaults(), Driver(soc_percent=98.0, next_car_after_s=30.0)),
        "the car is full after about 1 kWh and ends the charge itself",
    ),
    (
        _magic(916, "Restarted by others", PointFaults(restarts_after_s=8.0)),
        "8 s after the first stop another user restarts the charge; the second stop holds",
    ),
    (
        _magic(917, "Payment removed", PointFaults(price_waived=True)),
        "completes with energy and price 0, as after a force stop in Monta Hub",
    ),
    (
        _magic(
            918,
            "Cable left in",
            PointFaults(),
            Driver(unplugs_after_stop_s=1800.0, next_car_after_s=30.0),
            group=24,
        ),
        "stays releasing for 30 min; the idle fee runs, then it completes",
    ),
    (
        _magic(919, "Too many requests", PointFaults(throttled_starts=2)),
        "two POSTs answer 429 with RateLimit-ResetsIn 5, the third starts",
    ),
    (
        _magic(920, "Slow answer", _at_start(FaultKind.SLOW, 20.0)),
        "the charge starts at once, the answer comes 20 s later",
    ),
    (
        _magic(921, "Two charges", _at_start(FaultKind.TWICE)),
        "one POST makes two charges with the same partnerExternalId; the second never gets power",
    ),
    (
        _magic(922, "Wrapped answer", _at_start(FaultKind.WRAPPED)),
        'POST answers {"charge": {...}} instead of the bare charge',
    ),
    (
        _magic(923, "Fails", PointFaults(fails_after_s=60.0)),
        "after 60 s the charge is stopped with failedAt and failureReason, then completes",
    ),
    (
        _magic(
            924, "Plugged in late", PointFaults(), Driver(arrives_plugged_in=False, plugs_in_after_s=60.0)
        ),
        "the driver plugs in 60 s after the start",
    ),
    (
        _magic(925, "Lifetime reading", _misreport(lifetime_reading=True)),
        "the final record shows the meter's reading since it was built, and a price to match",
    ),
    (
        _magic(926, "Gone", _misreport(gone_after_s=120.0)),
        "120 s after the start the charge is 404 everywhere, and its power ends",
    ),
    (
        _magic(927, "Slow clock", _misreport(clock_offset_s=-600.0)),
        "all times of its records are 10 min slow",
    ),
    (
        _magic(928, "Unknown state", _misreport(state_word="suspended_grid", state_word_after_s=60.0)),
        "60 s after the start the state is `suspended_grid`, for ever",
    ),
    (
        _magic(929, "Never ends", _misreport(state_word="stopping", state_word_after_s=60.0)),
        "60 s after the start the state is `stopping`, for ever",
    ),
    (
        _magic(930, "Negative price", _misreport(final_price=Decimal("-0.35"))),
        "the final price is -0.35",
    ),
    (
        _magic(931, "Other currency", _misreport(currency="dkk")),
        "the charge runs in DKK, whatever the price group says",
    ),
)

MAGIC_POINTS: tuple[PointConfig, ...] = tuple(config for config, _ in _TABLE)
MAGIC: tuple[Magic, ...] = tuple(Magic(config.id, config.name, happens) for config, happens in _TABLE)
"""The table that docs/simulator.md and `tapwatt simulator` print."""

ORDINARY: tuple[Magic, ...] = tuple(
    Magic(config.id, config.name, f"a {config.driver.vehicle} is plugged in") for config in NORMAL_POINTS
)
