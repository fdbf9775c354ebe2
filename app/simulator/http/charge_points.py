"""Endpoints for charge points and prices."""

import re
from decimal import Decimal

from app.simulator.http.answers import Answer, Call, bad_request, json_answer
from app.simulator.http.fields import path_id, query_choice, query_date, query_flag, query_id
from app.simulator.http.lists import check_operator, page
from app.simulator.shapes.charge import LATITUDE, LONGITUDE
from app.simulator.shapes.charge_point import point_json, point_state
from app.simulator.shapes.price import forecast_json, group_json
from app.simulator.site.site import Point, Site

POINT_STATES = frozenset(
    {
        "available",
        "busy",
        "busy-blocked",
        "busy-charging",
        "busy-non-charging",
        "busy-non-released",
        "busy-reserved",
        "busy-scheduled",
        "error",
        "disconnected",
        "passive",
        "maintenance",
        "other",
    }
)
_DECIMAL = r"(-?[0-9]*\.[0-9]+|[0-9]+\.[0-9]*)"
_PLACE = re.compile(f"{_DECIMAL},{_DECIMAL}")
_COORDINATE = re.compile(r"-?[0-9]{1,3}(\.[0-9]{1,20})?")


class ChargePointEndpoints:
    """Endpoints of charge points, price groups and forecasts. Each takes the call and the id in its path, and answers.
    Refusals are raised."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def list_points(self, call: Call, _id: str) -> Answer:
        """Ordered by id, ascending."""
        team_id, site_id = query_id(call, "teamId"), query_id(call, "siteId")
        state = query_choice(call, "state", POINT_STATES)
        updated_since = query_date(call, "fromUpdatedDate")
        external_id = call.query.get("partnerExternalId")
        in_box = _is_in_box(call)
        _check_what_changes_nothing(call)
        check_operator(self._site, call)

        def wanted(point: Point) -> bool:
            return (
                in_box
                and team_id in {None, self._site.config.owner_team_id}
                and site_id in {None, self._site.config.site_id}
                and state in {None, point_state(point)}
                and external_id in {None, ""}
                and (updated_since is None or point.updated_at >= updated_since)
            )

        rows = [point for _, point in sorted(self._site.points.items()) if wanted(point)]
        return page(call, rows, lambda point: point_json(self._site, point))

    def read_point(self, _call: Call, point_id: str) -> Answer:
        return json_answer(point_json(self._site, self._site.point(path_id(point_id))))

    def list_groups(self, call: Call, _id: str) -> Answer:
        team_id = query_id(call, "teamId")
        if team_id is None:
            raise bad_request("teamId: must not be null")
        rows = list(self._site.groups.values()) if team_id == self._site.config.owner_team_id else []
        return page(call, rows, lambda group: group_json(self._site, group))

    def read_group(self, _call: Call, group_id: str) -> Answer:
        return json_answer(group_json(self._site, self._site.group(path_id(group_id))))

    def forecast(self, call: Call, _id: str) -> Answer:
        group_id, point_id = _above_0(call, "priceGroupId"), _above_0(call, "chargePointId")
        query_id(call, "teamMemberId")
        if group_id is None and point_id is None:
            raise bad_request("chargePointId or priceGroupId: one of them is needed")
        if group_id is None and point_id is not None:
            group_id = self._site.point(point_id).config.price_group_id
        return json_answer(forecast_json(self._site, self._site.group(group_id or 0)))


def _above_0(call: Call, name: str) -> int | None:
    value = query_id(call, name)
    if value is not None and value <= 0:
        raise bad_request(f"{name}: must be greater than 0")
    return value


def _check_what_changes_nothing(call: Call) -> None:
    """Validates filters that have no effect here. No charge point is deleted or foreign, and all are at one
    location."""
    for name in ("includeDeleted", "includePublic"):
        query_flag(call, name)
    place = call.query.get("sortByLocation")
    if place is not None and not _PLACE.fullmatch(place):
        raise bad_request("sortByLocation: must be latitude and longitude such as 55.7096,12.5856")


def _is_in_box(call: Call) -> bool:
    """Whether the filter boundingBox (minLat,minLon,maxLat,maxLon) holds the charge points' location."""
    box = call.query.get("boundingBox")
    if box is None:
        return True
    parts = box.split(",")
    if len(parts) != 4 or not all(_COORDINATE.fullmatch(part) for part in parts):
        raise bad_request("boundingBox: must be minLat,minLon,maxLat,maxLon")
    south, west, north, east = (Decimal(part) for part in parts)
    return south <= LATITUDE <= north and west <= LONGITUDE <= east
