"""Command that lists when terminals and charge points were out of service."""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from app.cli.common import AsJson, fail, say, with_context
from app.cli.output.tables import facts_table
from app.domain.units.ids import OperatorId
from app.flows.admin.manage_terminals import require
from app.flows.availability import Month, read_month
from app.flows.context import Context
from app.settings import load_settings

app = typer.Typer()


@app.command()
def outages(
    month: Annotated[
        str | None, typer.Option(metavar="MONTH", help="As 2026-11 (UTC); the present one when left out.")
    ] = None,
    longer_than: Annotated[
        int, typer.Option("--longer-than", min=0, metavar="MINUTES", help="Leave out shorter ones.")
    ] = 60,
    operator: Annotated[str | None, typer.Option(metavar="OPERATOR", help="Only this operator.")] = None,
    as_json: AsJson = False,
) -> None:
    """List a month's outages of terminals and charge points. With the availability of each in per cent."""
    owner = OperatorId(operator) if operator is not None else None
    of = None if month is None else _month(month)

    async def find(context: Context) -> Month:
        await require(context, owner)
        return await read_month(context, owner, of)

    found = with_context(load_settings(), find)
    rows = _rows(found, timedelta(minutes=longer_than))
    if as_json:
        say(json.dumps({"data": rows}))
    else:
        shown = ("what", "id", "name", "available", "cause", "began_at", "ended_at", "minutes")
        say(facts_table(rows, shown, empty=f"Nothing was out for more than {longer_than} minutes."))


def _month(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        fail(f"--month {text!r} is no month: write it as 2026-11.")


def _rows(found: Month, least: timedelta) -> list[dict[str, str | None]]:
    return [
        {
            "what": "terminal" if watched.equipment.terminal_id else "charge point",
            "id": watched.equipment.terminal_id or watched.equipment.charge_point_id,
            "operator_id": watched.equipment.operator_id,
            "name": watched.equipment.name,
            "available": f"{watched.availability.percent} %",
            "cause": outage.cause,
            "began_at": outage.began_at.isoformat(timespec="seconds"),
            "ended_at": outage.ended_at.isoformat(timespec="seconds") if outage.ended_at else None,
            "minutes": str(outage.lasted(found.now) // timedelta(minutes=1)),
        }
        for watched, those in found.longer_than(least)
        for outage in those
    ]
