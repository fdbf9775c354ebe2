"""Commands about terminals: add, list, show, change, remove; hundreds of them by CSV."""

from typing import Annotated

import typer

from app.cli.common import AsJson, OperatorOption, check_text, fail, print_facts, warn, with_context
from app.cli.keys import ExpiresIn, terminal_key_app, terms, until
from app.domain.units.ids import ChargePointId, OperatorId
from app.flows.admin import check_setup, provision
from app.flows.context import Context
from app.flows.make_key import AddedKey
from app.settings import load_settings

terminal_app = typer.Typer(no_args_is_help=True, help="Payment terminals.")
terminal_app.add_typer(terminal_key_app, name="key")


@terminal_app.command("add")
def terminal_add(
    operator: OperatorOption,
    *,
    provider: Annotated[str, typer.Option(help="The slug of the terminal's maker on Monta's receipts.")],
    name: Annotated[str, typer.Option(help="For people.")],
    charge_point: Annotated[
        list[str], typer.Option("--charge-point", help="Monta's id; give it once for each.")
    ],
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Add it without asking Monta about its charge points.")
    ] = False,
    expires_in: ExpiresIn = None,
    as_json: AsJson = False,
) -> None:
    """Add a terminal with its first key, and the charge points that it may start."""
    key = terms("first", expires_in)
    for point in charge_point:
        if not (point.isascii() and point.isdigit() and len(point) <= 19):
            fail("--charge-point must be Monta's id of the charge point: digits only.")
    if not (
        provider.isascii() and provider.isprintable() and " " not in provider and 0 < len(provider) <= 64
    ):
        fail("--provider must be a slug of 64 characters at most, without spaces.")
    check_text("--name", name)
    points = [ChargePointId(p) for p in charge_point]
    owner = OperatorId(operator)

    async def add(context: Context) -> tuple[AddedKey, check_setup.Compared]:
        compared = (
            check_setup.Compared(())
            if unchecked
            else await check_setup.compare_charge_points(context, owner, points)
        )
        added = await provision.add_terminal(
            context, owner, provider=provider, name=name, charge_point_ids=points, key=key
        )
        return added, compared

    added, compared = with_context(load_settings(), add)
    warn(compared.warnings)
    print_facts(as_json, terminal_id=added.id, api_key=added.api_key, **until(added))
