"""The ChargePoint object as Monta lists it."""

from decimal import Decimal

from app.domain.charging.charge import ChargeState
from app.simulator.shapes.charge import evse_id, location_json, operator_json
from app.simulator.site.site import Point, Site
from app.simulator.wire import JsonObject, JsonValue, kwh, when

_BUSY = {
    ChargeState.RESERVED: "busy-reserved",
    ChargeState.SCHEDULED: "busy-scheduled",
    ChargeState.STARTING: "busy",
    ChargeState.CHARGING: "busy-charging",
    ChargeState.RELEASING: "busy-non-released",
    ChargeState.RELEASED: "available",
}
_OCPP = {"available": "available", "busy-charging": "charging", "disconnected": "offline"}


def point_state(point: Point) -> str:
    """`available` does not mean unplugged: a car may wait for its start."""
    if point.offline:
        return "disconnected"
    if point.charge is None:
        return "available"
    return _BUSY.get(point.charge.state, "busy-non-charging")


def point_json(site: Site, point: Point) -> JsonObject:
    """The ChargePoint object."""
    return _hardware(site, point) | _condition(site, point) | _ownership(site, point)


def _hardware(site: Site, point: Point) -> dict[str, JsonValue]:
    config = point.config
    connector = "ccs" if config.direct_current else "type2"
    return {
        "id": config.id,
        "serialNumber": f"BOX-{config.id}",
        "name": config.name,
        "evseId": evse_id(point),
        "maxKW": Decimal(config.max_w) / 1000,
        "maxKw": Decimal(config.max_w) / 1000,
        "type": "dc" if config.direct_current else "ac",
        "connectors": [{"id": 1, "identifier": connector, "name": connector.upper()}],
        "meterId": f"M{config.id}",
        "brandName": "Box",
        "modelName": "DC" if config.direct_current else "AC",
        "firmwareVersion": "1.0.0",
        "integrationType": "ocpp",
        "location": location_json(),
        "lastConnectedAt": when(site.opened_at),
    }


def _condition(site: Site, point: Point) -> dict[str, JsonValue]:
    state = point_state(point)
    return {
        "state": state,
        "cablePluggedIn": point.plugged is not None,
        "lastMeterReadingKwh": kwh(point.meter_wh),
        "occupied": None,
        "disconnectedAt": when(point.updated_at) if point.offline else None,
        "protocolData": {
            "ocpp": {"status": _OCPP.get(state, "occupied"), "updatedAt": when(point.updated_at)}
        },
        "createdAt": when(site.opened_at),
        "activeAt": when(site.opened_at),
        "updatedAt": when(point.updated_at),
        "deletedAt": None,
    }


def _ownership(site: Site, point: Point) -> dict[str, JsonValue]:
    config = point.config
    return {
        "teamId": site.config.owner_team_id,
        "siteId": site.config.site_id,
        "operator": operator_json(site),
        "partnerExternalId": None,
        "partnerCustomPayload": None,
        "visibility": "public",
        "note": None,
        "operatorNote": None,
        "deeplinks": {
            "app": f"https://app.example.invalid/charge/{config.id}",
            "web": f"https://web.example.invalid/charge/{config.id}",
        },
        "priceGroupId": config.price_group_id,
        "costGroupId": None,
        "roamingPriceGroupId": None,
        "sponsoredPriceGroupId": None,
        "isActive": True,
        "reservable": True,
        "reservationTime": 15,
        "roaming": False,
        "showOnMap": True,
    }
