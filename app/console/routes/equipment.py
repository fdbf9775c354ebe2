"""Terminals and charge points: state, what holds them, price, latest use."""

from datetime import timedelta

from fastapi import APIRouter, Request, Response

from app.api.http.auth import ContextHere
from app.console.http.pages import ConsoleRoute, page
from app.console.http.signed_in import Viewer
from app.console.views.prices import price_words
from app.domain.charging.charge_point import OUT_OF_SERVICE
from app.flows.console.equipment import MOST_SHOWN, USED_WITHIN, list_equipment

router = APIRouter(prefix="/console", route_class=ConsoleRoute)

LONG = timedelta(hours=1)
"""Outages that lasted longer are listed one by one."""


@router.get("/equipment")
async def equipment_page(request: Request, context: ContextHere, viewer: Viewer) -> Response:
    found = await list_equipment(context, viewer.key.operator_id)
    return page(
        request,
        "equipment.html",
        viewer,
        e=found,
        prices={place: price_words(price) for place, price in found.prices.items()},
        troubled=OUT_OF_SERVICE,
        points={(w.equipment.operator_id, w.equipment.charge_point_id): w for w in found.month.points},
        terminals={w.equipment.terminal_id: w for w in found.month.terminals},
        long_outages=list(found.month.longer_than(LONG)),
        most=MOST_SHOWN,
        days=USED_WITHIN.days,
        several_operators=viewer.key.operator_id is None,
    )
