"""Builds Monta's price groups, forecasts, breakdowns and receipts. Each with its own unit of money."""

from datetime import timedelta
from decimal import Decimal

from app.simulator.shapes.charge import COST_PER_KWH, HOUR_S, currency_json, operator_json, periods
from app.simulator.site.charge import Charge
from app.simulator.site.prices import PriceGroup, price
from app.simulator.site.site import Site
from app.simulator.wire import JsonObject, JsonValue, kwh, when

_FORECAST_HOURS = 24


def group_json(site: Site, group: PriceGroup) -> JsonObject:
    """The PriceGroup object; amounts in minor units."""
    applied: list[JsonValue] = [
        point.config.id for point in site.points.values() if point.config.price_group_id == group.id
    ]
    fees: list[tuple[str, str, Decimal, int | None]] = [
        ("starting", "Starting fee", group.start_fee, None),
        ("minute", "Minute fee", group.minute_fee, group.minute_fee_after_min),
        ("idle", "Idle fee", group.idle_fee, group.idle_fee_after_min),
    ]
    return {
        "id": group.id,
        "teamId": site.config.owner_team_id,
        "name": group.name,
        "default": False,
        "type": "public",
        "masterPrice": _pricing(site, group, 0, ("kwh", None, group.kwh_price, None)),
        "tariffs": [],
        "fees": [_pricing(site, group, n, fee) for n, fee in enumerate(fees, start=1) if fee[2]],
        "teamMemberCount": 0,
        "chargePointCount": len(applied),
        "appliedTo": {"chargePoints": applied, "sites": [], "teamMembers": []},
        "createdAt": when(site.opened_at),
        "updatedAt": when(site.opened_at),
    }


def _pricing(
    site: Site, group: PriceGroup, number: int, fee: tuple[str, str | None, Decimal, int | None]
) -> JsonObject:
    kind, description, amount, after_min = fee
    pricing: dict[str, JsonValue] = {
        "id": group.id * 10 + number + 1,
        "description": description,
        "type": kind,
        "master": number == 0,
        "dynamicPricing": False,
        "endAtFullyCharged": kind == "minute",
        "vat": False,
        "percentage": None,
        "tariffId": None,
        "applyAfterMinutes": after_min,
        "price": _money(site, amount),
        "additional": [],
        "from": None,
        "to": None,
        "tagId": None,
        "updatedAt": when(site.opened_at),
    }
    if kind == "idle" and group.idle_fee_max is not None:
        pricing["feePriceMax"] = _money(site, group.idle_fee_max)
    return pricing


def _money(site: Site, amount: Decimal) -> JsonObject:
    currency = site.config.currency
    return {
        "amount": currency.minor(amount),
        "currency": {
            "id": 1,
            "master": True,
            "identifier": currency.identifier.upper(),
            "name": currency.name,
            "decimals": currency.decimals,
        },
        "locale": "en",
    }


def forecast_json(site: Site, group: PriceGroup) -> JsonObject:
    """Prices of the coming hours; pricePerKwh in 1/10,000 of the currency."""
    hour = site.now.replace(minute=0, second=0, microsecond=0)
    label = f"{group.kwh_price:.2f} {site.config.currency.identifier.upper()}/kWh"
    entries: list[JsonValue] = [
        {
            "time": when(hour + timedelta(hours=number)),
            "pricePerKwh": int(group.kwh_price * 10_000),
            "name": label,
        }
        for number in range(_FORECAST_HOURS)
    ]
    return {
        "operator": operator_json(site),
        "currency": currency_json(site.config.currency),
        "priceGroup": group_json(site, group),
        "forecasts": entries,
    }


def breakdown_json(site: Site, charge: Charge) -> JsonObject:
    """The ChargeBreakdown object; every amount in minor units."""
    return {
        "chargeId": charge.id,
        "priceBreakdown": _detailed(site, charge, charge.price_group),
        "costBreakdown": _detailed(site, charge, PriceGroup(id=1, name="Cost", kwh_price=COST_PER_KWH)),
    }


def _detailed(site: Site, charge: Charge, group: PriceGroup) -> JsonObject:
    currency, parts = site.config.currency, price(group, charge.usage(site.now))
    total = currency.minor(parts.total)
    fees = {
        "starting-fee": currency.minor(parts.start_fee),
        "duration-fee": currency.minor(parts.minute_fee),
        "idle-fee": currency.minor(parts.idle_fee),
    }
    adjustment = -total if charge.price_waived else 0
    # Rounding is done once, on the total: what is left of it belongs to the energy.
    energy = total - sum(fees.values())
    return {
        "summary": {
            "totalMasterPrice": energy,
            "totalSecondaryPrice": 0,
            "totalFees": sum(fees.values()),
            "totalAdjustments": adjustment,
            "totalPrice": total + adjustment,
            "totalDiscount": None,
        },
        "currency": currency_json(currency),
        "breakdown": _hours(site, charge, group, energy),
        "fees": [_component(kind, amount, kind) for kind, amount in fees.items() if amount],
        "adjustments": [_component("adjustment", adjustment, "Payment removed")] if adjustment else [],
    }


def _hours(site: Site, charge: Charge, group: PriceGroup, energy_minor: int) -> list[JsonValue]:
    currency = site.config.currency
    found: list[JsonValue] = []
    hours = periods(charge, HOUR_S)
    for number, (start, energy_wh) in enumerate(hours, start=1):
        # The last hour takes the rounding, so that the hours add up to the total.
        amount = energy_minor if number == len(hours) else currency.minor(group.kwh_price * energy_wh / 1000)
        energy_minor -= amount
        text = f"{kwh(energy_wh)} kWh at {group.kwh_price} {currency.identifier.upper()}"
        found.append(
            {
                "from": when(start),
                "to": when(start + timedelta(seconds=HOUR_S - 1)),
                "subTotalPrice": amount,
                "subTotalMasterPrice": amount,
                "subTotalSecondaryPrice": 0,
                "components": [_component("fixed-kwh", amount, text)],
            }
        )
    return found


def _component(kind: str, amount_minor: int, description: str) -> JsonObject:
    return {
        "type": kind,
        "price": amount_minor,
        "description": description,
        "masterPricing": kind == "fixed-kwh",
    }


def receipt_json(site: Site, charge: Charge) -> JsonObject:
    """The Receipt object of a completed charge."""
    total = charge.price or Decimal(0)
    net = site.config.currency.rounded(total / (1 + charge.price_group.vat_percent / 100))
    return {
        "id": charge.id % 10**9,
        "version": 1,
        "totalAmount": total,
        "currency": currency_json(site.config.currency),
        "entries": [
            {
                "title": f"Charge {charge.human_id}",
                "subTitle": f"{kwh(charge.metered_wh)} kWh",
                "amount": total,
                "subAmount": net,
            }
        ],
        "vat": total - net,
        "pdfUrl": None,
        "createdAt": when(charge.completed_at),
    }
