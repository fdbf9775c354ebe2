"""Command that examines an installation and says what to do: `tapwatt doctor`."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import typer

from app.cli.common import AsJson, ExitStatus, style, with_context
from app.domain.alerts import examination
from app.domain.alerts.examination import ADVICE, Finding, Verdict
from app.flows.admin import queries
from app.flows.admin.check_setup import compare_operator
from app.flows.admin.stored_state import stored_state
from app.flows.context import Context
from app.settings import load_settings

app = typer.Typer()

EXIT = {
    Verdict.OK: ExitStatus.DONE,
    Verdict.WARNING: ExitStatus.DONE,
    Verdict.WRONG: ExitStatus.FOUND,
}
"""Exit status by the worst that was found."""
MARKS = {
    Verdict.OK: ("ok     ", "green"),
    Verdict.WARNING: ("warning", "yellow"),
    Verdict.WRONG: ("WRONG  ", "red"),
}


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Examine database, clock, secret key, watchers, accounts at Monta, webhooks and keys. Exits with 3 when something
    is wrong."""
    found = with_context(load_settings(), _examine)
    if as_json:
        typer.echo(json.dumps([asdict(f) for f in found]))
    else:
        for finding in found:
            _print(finding)
    raise SystemExit(EXIT[examination.worst(found)])


async def _examine(context: Context) -> Sequence[Finding]:
    """Changes nothing; Monta is asked for each operator's account."""
    now, ready, state = context.clock.now(), await queries.readiness(context), await stored_state(context)
    found = examination.of_process({name: getattr(ready, name) for name in ADVICE})
    found.append(examination.of_isolation(bound=state.is_bound))
    found += examination.of_watchers(state.clocks_ahead)
    for account in state.accounts:
        compared = await compare_operator(context, account.id)
        found += examination.of_account(account, compared.warnings, now)
    for key in state.keys:
        found += examination.of_key(key.id, key.name, key.expires_at, now)
    return found


def _print(finding: Finding) -> None:
    mark, colour = MARKS[finding.verdict]
    typer.echo(f"{style(mark, colour)}  {finding.about}: {finding.found}")
    if finding.what_to_do:
        typer.echo(f"         {finding.what_to_do}")
