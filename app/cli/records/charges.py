"""The command that lists a month's charges for the books. With energy, amounts and tax."""

from datetime import date
from typing import Annotated

import typer

from app.api.charge_views import charges_out
from app.cli.common import AsJson, fail, say, with_context
from app.cli.output.tables import fitted
from app.domain.reconciliation.charges import MonthOfCharges, charges_csv
from app.domain.units.ids import OperatorId, TerminalId
from app.domain.units.money import format_minor
from app.flows.admin.manage_terminals import require
from app.flows.admin.reconciliation import TooManySessions, charges_of_month
from app.flows.context import Context
from app.settings import load_settings
from app.store.sessions.session_filter import SessionFilter

app = typer.Typer()


@app.command()
def charges(
    *,
    month: Annotated[str, typer.Option(metavar="MONTH", help="As 2026-11.")],
    operator: Annotated[str | None, typer.Option(metavar="OPERATOR", help="Only this operator.")] = None,
    terminal: Annotated[str | None, typer.Option(metavar="TERMINAL", help="Only this terminal.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one row a charge.")] = False,
    as_json: AsJson = False,
) -> None:
    """List a month's charges with place, energy, net, tax and gross."""
    first = _first_day(month)
    wanted = SessionFilter(
        operator_id=OperatorId(operator) if operator is not None else None,
        terminal_id=TerminalId(terminal) if terminal is not None else None,
    )

    async def find(context: Context) -> MonthOfCharges:
        await require(context, wanted.operator_id, wanted.terminal_id)
        return await charges_of_month(context, wanted, first)

    try:
        found = with_context(load_settings(), find)
    except TooManySessions as error:
        fail(f"{error}.")
    if as_csv:
        typer.echo(charges_csv(found), nl=False)
    elif as_json:
        say(charges_out(found).model_dump_json())
    else:
        say(_table(found))


def _first_day(month: str) -> date:
    try:
        return date.fromisoformat(f"{month}-01")
    except ValueError:
        fail(f"--month {month!r} is no month: write it as 2026-11.")


def _table(found: MonthOfCharges) -> str:
    if not found.charges:
        return f"No charges in {found.month:%Y-%m}."
    columns = ("session", "evse", "started", "kWh", "net", "tax", "gross")
    rows = [
        (
            c.session.id,
            c.place.evse_id or c.session.charge_point_id,
            f"{c.started_at:%Y-%m-%d %H:%M}",
            f"{c.energy_wh / 1000:.3f}",
            "" if c.net_minor is None else format_minor(c.net_minor, c.currency),
            "" if c.tax_minor is None else format_minor(c.tax_minor, c.currency),
            format_minor(c.gross_minor, c.currency),
        )
        for c in found.charges
    ]
    sums = [
        f"{t.currency}: {t.charges} charges, {t.energy_wh / 1000:.3f} kWh,"
        f" gross {format_minor(t.gross_minor, t.currency)},"
        f" tax {format_minor(t.tax_minor, t.currency)},"
        f" of unknown tax {format_minor(t.untaxed_minor, t.currency)}"
        for t in found.totals
    ]
    return "\n".join([fitted(columns, rows), "", *sums])
