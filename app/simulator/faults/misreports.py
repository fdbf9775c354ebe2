"""Falsifies Monta's records: wrong clocks, lifetime readings, absurd prices, charges that vanish."""

from datetime import datetime, timedelta
from decimal import Decimal

from app.domain.charging.charge import ENDED
from app.simulator.faults.catalog import Misreport
from app.simulator.site.charge import Charge
from app.simulator.site.prices import price
from app.simulator.site.site import Site
from app.simulator.wire import JsonObject, JsonValue, kwh, when

_TIMES = (
    "createdAt",
    "updatedAt",
    "cablePluggedInAt",
    "startedAt",
    "stoppedAt",
    "fullyChargedAt",
    "releasedAt",
    "failedAt",
    "timeoutAt",
    "completedAt",
)


def misreported(site: Site, charge: Charge, shown: JsonObject) -> JsonObject:
    """Returns the Charge object with its charge point's misreports applied. `shown` is the true one."""
    misreport = site.points[charge.point_id].config.faults.misreport
    if misreport == Misreport():
        return shown
    changed: dict[str, JsonValue] = dict(shown)
    if misreport.clock_offset_s:
        changed |= _shifted(charge, misreport.clock_offset_s)
    if misreport.lifetime_reading and (charge.state in ENDED or misreport.lifetime_while_running):
        changed |= _lifetime(site, charge)
    if misreport.final_price is not None and charge.state in ENDED:
        changed["price"] = misreport.final_price
        changed["averagePricePerKwh"] = None
    if misreport.currency is not None:
        changed["currency"] = {"identifier": misreport.currency, "name": misreport.currency, "decimals": 2}
    if _shows_word(site, charge, misreport):
        changed["state"] = misreport.state_word
    return changed


def _shows_word(site: Site, charge: Charge, misreport: Misreport) -> bool:
    """Whether the state word applies now. One that says that the charge has ended shows only once it has."""
    if misreport.state_word is None or not _is_due(site, charge, misreport.state_word_after_s):
        return False
    return misreport.state_word not in ENDED or charge.state in ENDED


def is_gone(site: Site, charge: Charge) -> bool:
    """Whether Monta answers 404 for the charge by now. It then no longer lists it."""
    after_s = site.points[charge.point_id].config.faults.misreport.gone_after_s
    return after_s is not None and _is_due(site, charge, after_s)


def _is_due(site: Site, charge: Charge, after_s: float) -> bool:
    return site.now >= charge.created_at + timedelta(seconds=after_s)


def _shifted(charge: Charge, seconds: float) -> dict[str, JsonValue]:
    """Shifts all times of the record, like a wrong clock."""
    times = {
        name: getattr(charge, "".join(f"_{c.lower()}" if c.isupper() else c for c in name)) for name in _TIMES
    }
    return {name: when(_moved(at, seconds)) for name, at in times.items()}


def _moved(at: datetime | None, seconds: float) -> datetime | None:
    return None if at is None else at + timedelta(seconds=seconds)


def _lifetime(site: Site, charge: Charge) -> dict[str, JsonValue]:
    """Reports the meter's lifetime reading as the charge's energy. With a matching price."""
    energy_wh = charge.start_meter_wh + charge.reported_wh
    total = price(charge.price_group, charge.usage_with(energy_wh, site.now)).total
    used_kwh = Decimal(energy_wh) / 1000
    return {
        "consumedKwh": kwh(energy_wh, 2),
        "startMeterKwh": Decimal(0),
        "endMeterKwh": kwh(energy_wh) if charge.state in ENDED else None,
        "price": site.config.currency.rounded(total),
        "averagePricePerKwh": round(total / used_kwh, 4) if used_kwh else None,
    }
