"""Builds the Charge object as Monta lists it. Every required field, money in major units, energy in kWh.

A nullable object without a value is left out rather than null: a strict reading of the reference allows null
for plain types only, and readers of this API have to treat both alike.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from app.simulator.faults.misreports import misreported
from app.simulator.site.charge import Charge
from app.simulator.site.prices import Currency
from app.simulator.site.site import Point, Site
from app.simulator.wire import JsonObject, JsonValue, kwh, when

COST_PER_KWH = Decimal("0.18")
"""What the operator pays for electricity: Charge.cost. It must never be billed."""
QUARTER_S, HOUR_S = 900, 3600
LATITUDE, LONGITUDE = Decimal("55.6761"), Decimal("12.5683")
"""Location of every charge point: they are all at one address."""


def charge_json(site: Site, charge: Charge) -> JsonObject:
    """Builds the Charge object now, with its charge point's misreports."""
    everything = (
        _identity(charge) | _times(charge) | _meter(charge) | _money(site, charge) | _parties(site, charge)
    )
    present = _present(
        {
            "soc": _soc(charge),
            "chargeAuth": _auth(charge),
            "genericPaymentSession": charge.payment_session,
        }
    )
    return misreported(site, charge, everything | present)


def _present(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {key: value for key, value in values.items() if value is not None}


def _identity(charge: Charge) -> dict[str, JsonValue]:
    return {
        "id": charge.id,
        "humanReadableId": charge.human_id,
        "type": "external",
        "state": charge.state.value,
        "startSource": charge.order.start_source,
        "failureReason": charge.failure_reason,
        "stopReason": charge.stop_reason,
        "note": None,
        "partnerExternalId": charge.partner_external_id,
        "partnerCustomPayload": charge.custom_payload,
        "smartChargeId": None,
        "vehicleId": None,
        "vid": None,
        "emaidProviderId": "",
        "protocolData": {},
    }


def _times(charge: Charge) -> dict[str, JsonValue]:
    return {
        "createdAt": when(charge.created_at),
        "updatedAt": when(charge.updated_at),
        "cablePluggedInAt": when(charge.cable_plugged_in_at),
        "startedAt": when(charge.started_at),
        "stoppedAt": when(charge.stopped_at),
        "fullyChargedAt": when(charge.fully_charged_at),
        "releasedAt": when(charge.released_at),
        "failedAt": when(charge.failed_at),
        "timeoutAt": when(charge.timeout_at),
        "completedAt": when(charge.completed_at),
    }


def _meter(charge: Charge) -> dict[str, JsonValue]:
    ended = charge.stopped_at is not None
    return {
        "consumedKwh": kwh(charge.reported_wh, 2) if charge.legs or ended else None,
        "kwhLimit": charge.order.kwh_limit,
        "socLimit": charge.order.soc_limit,
        "kwhPerHour": energy_by_period(charge, HOUR_S),
        "kwhPerMaxResolution": energy_by_period(charge, QUARTER_S),
        "startMeterKwh": kwh(charge.start_meter_wh),
        "endMeterKwh": kwh(charge.start_meter_wh + charge.metered_wh) if ended else None,
        "averageCo2PerKwh": None,
        "averageRenewablePerKwh": None,
    }


def _money(site: Site, charge: Charge) -> dict[str, JsonValue]:
    currency = site.config.currency
    used_kwh = Decimal(charge.metered_wh) / 1000
    average = None if charge.price is None or not used_kwh else round(charge.price / used_kwh, 4)
    hourly: list[JsonValue] = [
        {"time": when(start), "value": currency.rounded(charge.price_group.kwh_price * energy_wh / 1000)}
        for start, energy_wh in periods(charge, HOUR_S)
    ]
    return {
        "price": _shown(site, charge.price),
        "priceLimit": charge.order.price_limit,
        "averagePricePerKwh": _shown(site, average),
        "cost": currency.rounded(COST_PER_KWH * used_kwh),
        "priceGroupId": charge.price_group.id,
        "costPriceGroupId": None,
        "memberCostPriceGroupId": None,
        "promotionCodeId": None,
        "sponsoredChargePointId": None,
        "paymentMethod": "payment" if charge.payment_session else "source",
        "currency": currency_json(currency),
        "priceBreakdown": hourly,
        "costBreakdown": [],
    }


def _shown(site: Site, price: Decimal | None) -> JsonValue:
    if price is None or not site.config.prices_in_minor_units:
        return price
    shifted = price.scaleb(site.config.currency.decimals)
    return int(shifted) if shifted == int(shifted) else shifted


def _parties(site: Site, charge: Charge) -> dict[str, JsonValue]:
    config, point = site.config, site.points[charge.point_id]
    return {
        "user": {"id": 10, "displayName": "API charge"},
        "chargePointId": charge.point_id,
        "chargePointKw": Decimal(point.config.max_w) / 1000,
        "siteId": None,
        "publicChargePoint": public_point_json(site, point),
        "payingTeam": {
            "id": charge.order.paying_team_id,
            "publicName": f"Team {charge.order.paying_team_id}",
            "operatorId": config.operator_id,
        },
        "operator": operator_json(site),
    }


def _soc(charge: Charge) -> JsonValue:
    if charge.soc_percent is None:
        return None
    return {"percentage": Decimal(str(charge.soc_percent)), "source": "charge-point"}


def _auth(charge: Charge) -> JsonValue:
    return None if charge.order.rfid is None else {"type": "rfid", "id": charge.order.rfid}


def periods(charge: Charge, size_s: int) -> list[tuple[datetime, int]]:
    """(start, Wh) for each period of `size_s` up to the last reading. They add up to that reading."""
    if not charge.legs or charge.metered_at is None:
        return []
    first = charge.legs[0].started_at
    start = first - timedelta(seconds=first.timestamp() % size_s)
    found: list[tuple[datetime, int]] = []
    counted = 0
    while start < charge.metered_at:
        end = start + timedelta(seconds=size_s)
        last = end >= charge.metered_at
        total = charge.metered_wh if last else int(charge.delivered_wh(end))
        found.append((start, total - counted))
        counted, start = total, end
    return found


def energy_by_period(charge: Charge, size_s: int) -> list[JsonValue]:
    """`[{time, value in kWh}]` as in kwhPerHour."""
    return [{"time": when(start), "value": kwh(energy_wh)} for start, energy_wh in periods(charge, size_s)]


def currency_json(currency: Currency) -> JsonObject:
    return {"identifier": currency.identifier, "name": currency.name, "decimals": currency.decimals}


def operator_json(site: Site) -> JsonObject:
    return {
        "id": site.config.operator_id,
        "name": site.config.operator_name,
        "identifier": "simulated-monta",
        "partnerId": None,
        "vatNumber": None,
    }


def location_json() -> JsonObject:
    return {
        "coordinates": {"latitude": LATITUDE, "longitude": LONGITUDE},
        "addressLabel": "1 Test Street, 1000 Boxville",
        "address": {"address1": "1 Test Street", "zip": "1000", "city": "Boxville", "country": "Denmark"},
    }


def public_point_json(site: Site, point: Point) -> JsonObject:
    """Builds what a charge shows of its charge point."""
    return {
        "id": point.config.id,
        "evseId": evse_id(point),
        "name": point.config.name,
        "chargePointOperatorId": site.config.operator_id,
        "chargePointOperatorName": site.config.operator_name,
        "location": location_json(),
        "maxKw": Decimal(point.config.max_w) / 1000,
        "brandName": "Box",
        "modelName": "DC" if point.config.direct_current else "AC",
        "deletedAt": None,
    }


def evse_id(point: Point) -> str:
    return f"DK*BOX*E{point.config.id}"
