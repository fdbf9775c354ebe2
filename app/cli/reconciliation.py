"""Command that reconciles a day: holds, captures and Monta's prices."""

from datetime import date, timedelta
from typing import Annotated

import typer

from app.api.reconciliation_views import reconciliation_out
from app.cli.common import AsJson, ExitStatus, fail, say, with_context
from app.cli.output.tables import fitted
from app.domain.reconciliation.csv_tables import sessions_csv
from app.domain.reconciliation.differences import MEANINGS, WHAT_TO_DO
from app.domain.reconciliation.financial_advice import financial_advice
from app.domain.reconciliation.report import DayReport
from app.domain.units.ids import OperatorId, TerminalId
from app.domain.units.money import format_minor
from app.flows.admin.manage_terminals import require
from app.flows.admin.reconciliation import TooManySessions, reconcile_day
from app.flows.context import Context
from app.settings import load_settings
from app.store.sessions.session_filter import SessionFilter
from app.strict_json import dump_json

app = typer.Typer()


@app.command()
def reconcile(
    *,
    day: Annotated[
        str, typer.Option("--date", metavar="DATE", help="As 2026-11-22, or `today` or `yesterday` (UTC).")
    ] = "yesterday",
    operator: Annotated[str | None, typer.Option(metavar="OPERATOR", help="Only this operator.")] = None,
    terminal: Annotated[str | None, typer.Option(metavar="TERMINAL", help="Only this terminal.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one row a session.")] = False,
    advice: Annotated[
        bool,
        typer.Option("--financial-advice", help="Print OCPI 2.3.0 Financial Advice Confirmations as JSON."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare what was held, what the PSP did and what Monta charged. Exits with 3 when something differs."""
    wanted = SessionFilter(
        operator_id=OperatorId(operator) if operator is not None else None,
        terminal_id=TerminalId(terminal) if terminal is not None else None,
    )

    async def find(context: Context) -> DayReport:
        await require(context, wanted.operator_id, wanted.terminal_id)
        return await reconcile_day(context, wanted, _day(day, context.clock.now().date()))

    try:
        found = with_context(load_settings(), find)
    except TooManySessions as error:
        fail(f"{error}.")
    if as_csv:
        typer.echo(sessions_csv(found), nl=False)
    elif advice:
        confirmations = [financial_advice(s.session, s.reports) for s in found.sessions]
        say(dump_json([c for c in confirmations if c is not None]))
    elif as_json:
        say(reconciliation_out(found).model_dump_json())
    else:
        say(_tables(found))
    raise SystemExit(ExitStatus.FOUND if found.differing else ExitStatus.DONE)


def _day(text: str, today: date) -> date:
    named = {"today": today, "yesterday": today - timedelta(days=1)}
    if text in named:
        return named[text]
    try:
        return date.fromisoformat(text)
    except ValueError:
        fail(f"--date {text!r} is no date: write it as 2026-11-22, `today` or `yesterday`.")


def _tables(found: DayReport) -> str:
    if not found.sessions:
        return f"No payment sessions on {found.day.isoformat()}."
    columns = (
        "terminal",
        "sessions",
        "differ",
        "authorized",
        "captured",
        "released",
        "open",
        "above",
        "Monta",
    )
    rows = []
    for t in found.totals:
        amounts = (
            t.authorized_minor,
            t.captured_minor,
            t.released_minor,
            t.open_minor,
            t.above_minor,
            t.monta_minor,
        )
        counts = (t.terminal_id, str(t.sessions), str(t.differing))
        rows.append((*counts, *(format_minor(a, t.currency) for a in amounts)))
    return "\n".join([fitted(columns, rows), *_lines(found)])


def _lines(found: DayReport) -> list[str]:
    if not found.differing:
        return ["", "Hold, captures and Monta agree in every session."]
    lines = [""]
    for each in found.differing:
        lines.append(f"{each.session_id}  {each.session.display_reference}")
        lines += [
            f"  {d.kind}: {format_minor(d.amount_minor, each.balance.currency)}. {MEANINGS[d.kind]} {d.detail}"
            f"\n    What to do: {WHAT_TO_DO[d.kind]}"
            for d in each.differences
        ]
    return lines
