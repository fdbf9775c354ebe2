"""Operations' endpoint for availability of charge points and terminals. In a month, with their outages."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from app.api.docs import ops_examples as examples
from app.api.http.auth import CallingOps, ContextHere
from app.api.http.requests import StrictRoute
from app.api.models.money import Moment
from app.domain.charging.availability import Outage
from app.flows.availability import Month, Watched, read_month

router = APIRouter(prefix="/v1/ops/availability", route_class=StrictRoute, tags=["operations"])

MONTH = r"^20[2-9][0-9]-(0[1-9]|1[0-2])$"


class MonthQuery(BaseModel):
    """Which calendar month (UTC), and the shortest outage to list."""

    month: Annotated[
        str | None, Field(pattern=MONTH, description="the present one when left out", examples=["2026-11"])
    ] = None
    longer_than_min: Annotated[
        int,
        Field(ge=0, le=44_640, description="outages of at most so many minutes are left out", examples=[60]),
    ] = 0

    model_config = {"extra": "forbid"}

    def moment(self) -> datetime | None:
        return datetime.strptime(self.month, "%Y-%m").replace(tzinfo=UTC) if self.month else None


class OutageOut(BaseModel):
    cause: str = Field(description="Monta's state, `deleted`, `out_of_order` or `offline`")
    began_at: Moment
    ended_at: Moment | None = Field(description="null: it lasts")
    seconds: int


class AvailabilityOut(BaseModel):
    operator_id: str
    charge_point_id: str | None = Field(description="null: a terminal")
    terminal_id: str | None = Field(description="null: a charge point")
    name: str | None
    available_percent: str | None = Field(
        description="share of the observed time, in two decimals, rounded down; null: nothing was observed"
    )
    observed_s: int
    out_s: int
    outages: list[OutageOut] = Field(description="oldest first; one may have begun before the month")


class MonthOut(BaseModel):
    month_start: Moment
    as_of: Moment
    terminals: list[AvailabilityOut]
    charge_points: list[AvailabilityOut]


@router.get(
    "",
    summary="Availability of a month",
    operation_id="opsGetAvailability",
    responses=examples.AVAILABILITY,
)
async def availability(
    context: ContextHere, key: CallingOps, wanted: Annotated[MonthQuery, Query()]
) -> MonthOut:
    """Shows how available each terminal and charge point was in a month.

    A charge point by the states that Monta shows, a terminal by its heartbeats; from when it was first seen.
    """
    month = await read_month(context, key.operator_id, wanted.moment())
    least = timedelta(minutes=wanted.longer_than_min)
    return MonthOut(
        month_start=month.window.start,
        as_of=month.now,
        terminals=[_out(each, month, least) for each in month.terminals],
        charge_points=[_out(each, month, least) for each in month.points],
    )


def _out(watched: Watched, month: Month, least: timedelta) -> AvailabilityOut:
    found = watched.availability
    return AvailabilityOut(
        operator_id=watched.equipment.operator_id,
        charge_point_id=watched.equipment.charge_point_id,
        terminal_id=watched.equipment.terminal_id,
        name=watched.equipment.name,
        available_percent=found.percent,
        observed_s=found.observed // timedelta(seconds=1),
        out_s=found.out // timedelta(seconds=1),
        outages=[_outage(o, month.now) for o in watched.outages if o.lasted(month.now) > least],
    )


def _outage(outage: Outage, now: datetime) -> OutageOut:
    return OutageOut(
        cause=outage.cause,
        began_at=outage.began_at,
        ended_at=outage.ended_at,
        seconds=outage.lasted(now) // timedelta(seconds=1),
    )
