"""Commands about charges at Monta without a payment session. They have our reference."""

from typing import Annotated

import typer

from app.api.models.sessions import Page
from app.api.orphan_views import orphan_out
from app.cli.common import AsJson, fail, print_facts, say, with_context
from app.cli.output.tables import orphan_table
from app.cli.sessions import CALLER, MAX_WORDS
from app.domain.units.ids import ChargeId, OperatorId
from app.flows.admin import queries
from app.flows.context import Context
from app.flows.operator.reconcile import OrphanUnknown, close_orphan
from app.settings import load_settings
from app.store.operators.orphans import Orphan, SeveralOrphans

app = typer.Typer()
orphan_app = typer.Typer(no_args_is_help=True, help="One charge without a payment session.")


@app.command()
def orphans(
    closed: Annotated[
        bool, typer.Option("--closed", help="Include those that operations have closed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List charges at Monta with our reference but without a payment session: stopped, never captured."""

    async def find(context: Context) -> str:
        found = await queries.orphans_of(context, None, closed=closed)
        if as_json:
            return Page(data=[orphan_out(each) for each in found]).model_dump_json()
        return orphan_table(found)

    say(with_context(load_settings(), find))


@orphan_app.command("close")
def orphan_close(
    charge_id: Annotated[str, typer.Argument(metavar="CHARGE", help="Monta's charge id.")],
    reason: Annotated[str, typer.Option(help="What was done about it; kept.")],
    operator: Annotated[
        str | None,
        typer.Option(metavar="OPERATOR", help="The operator, where several have a charge with this id."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Close one: it is no longer listed, and neither stopped nor read again."""

    async def done(context: Context) -> Orphan:
        whose = OperatorId(operator) if operator else None
        return await close_orphan(context, whose, ChargeId(charge_id), because=reason[:MAX_WORDS], by=CALLER)

    try:
        found = with_context(load_settings(), done)
    except SeveralOrphans as error:
        fail(f"{error}; name one with --operator.")
    except OrphanUnknown:
        fail(f"There is no orphan charge {charge_id!r}; `tapwatt orphans` lists them.")
    print_facts(as_json, closed=found.charge_id, because=found.closed_because)
