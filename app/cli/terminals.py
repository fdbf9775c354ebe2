"""Commands about terminals: add, list, show, change, remove, import. Import adds hundreds of them by CSV."""

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from app.cli.common import (
    AsJson,
    OperatorOption,
    check_text,
    fail,
    one_of,
    print_facts,
    say,
    warn,
    with_context,
)
from app.cli.keys import ExpiresIn, OptionalTerminal, TerminalArgument, terminal_key_app, terms, until
from app.cli.output.tables import facts_table
from app.cli.terminal_csv import COLUMNS, id_problem, provider_problem, read_rows
from app.domain.units.csv_text import plain_cell
from app.domain.units.frozen import replace
from app.domain.units.ids import ChargePointId, OperatorId, TerminalId
from app.flows.admin import check_setup, manage_terminals, provision
from app.flows.admin.manage_terminals import TerminalChange
from app.flows.context import Context
from app.flows.make_key import AddedKey
from app.settings import load_settings
from app.store.operators.terminals import ListedTerminal

terminal_app = typer.Typer(no_args_is_help=True, help="Payment terminals.")
terminal_app.add_typer(terminal_key_app, name="key")

Unchecked = Annotated[bool, typer.Option("--unchecked", help="Do not ask Monta about the charge points.")]


@terminal_app.command("add")
def terminal_add(
    operator: OperatorOption,
    *,
    provider: Annotated[str, typer.Option(help="The slug of the terminal's maker on Monta's receipts.")],
    name: Annotated[str, typer.Option(help="For people.")],
    charge_point: Annotated[
        list[str] | None, typer.Option("--charge-point", help="Monta's id; give it once for each.")
    ] = None,
    site: Annotated[
        str | None, typer.Option(help="Monta's id of a site: all charge points that it has now.")
    ] = None,
    unchecked: Unchecked = False,
    expires_in: ExpiresIn = None,
    as_json: AsJson = False,
) -> None:
    """Add a terminal with its first key, and the charge points that it may start."""
    key, points = terms("first", expires_in), _points("--charge-point", charge_point)
    _check_site(site)
    if not points and site is None:
        fail("Give --charge-point once for each charge point, or --site for all of a site.")
    if why := provider_problem(provider):
        fail(f"--provider {why}.")
    check_text("--name", name)
    owner = OperatorId(operator)

    async def add(context: Context) -> tuple[AddedKey, check_setup.Compared]:
        of_site = await check_setup.charge_points_of_site(context, owner, site) if site is not None else []
        everything = points + of_site
        compared = check_setup.Compared(())
        if not unchecked:
            compared = await check_setup.compare_charge_points(context, owner, everything)
        added = await provision.add_terminal(
            context, owner, provider=provider, name=name, charge_point_ids=everything, key=key
        )
        return added, compared

    added, compared = with_context(load_settings(), add)
    warn(compared.warnings)
    print_facts(as_json, terminal_id=added.id, api_key=added.api_key, **until(added))


@terminal_app.command("list")
def terminal_list(
    operator: Annotated[str | None, typer.Option("--operator", help="Those of this operator only.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, as `terminal import` reads it.")] = False,
    as_json: AsJson = False,
) -> None:
    """List terminals and their charge points."""
    owner = OperatorId(operator) if operator else None
    found = with_context(load_settings(), lambda context: manage_terminals.list_terminals(context, owner))
    if as_csv:
        _print_csv(("terminal_id", *COLUMNS), [_csv_row(each) for each in found])
    elif as_json:
        say(json.dumps({"data": [_facts(each) for each in found]}))
    else:
        rows = [_facts(each) | {"charge_points": ", ".join(each.charge_point_ids)} for each in found]
        shown = ("terminal_id", "name", "provider", "operator_id", "charge_points")
        say(facts_table(rows, shown, empty="No terminals."))


@terminal_app.command("show")
def terminal_show(
    terminal: TerminalArgument = None, named: OptionalTerminal = None, as_json: AsJson = False
) -> None:
    """Show a terminal and its charge points; `terminal key list` shows its keys."""
    wanted = TerminalId(one_of("terminal", terminal, named))
    _print(as_json, with_context(load_settings(), lambda c: manage_terminals.show_terminal(c, wanted)))


@terminal_app.command("set")
def terminal_set(
    terminal: TerminalArgument = None,
    named: OptionalTerminal = None,
    *,
    name: Annotated[str | None, typer.Option(help="For people.")] = None,
    charge_point: Annotated[
        list[str] | None, typer.Option("--charge-point", help="Exactly these; give it once for each.")
    ] = None,
    add_charge_point: Annotated[
        list[str] | None, typer.Option("--add-charge-point", help="This one too.")
    ] = None,
    remove_charge_point: Annotated[
        list[str] | None,
        typer.Option("--remove-charge-point", help="No longer this one; what runs there goes on."),
    ] = None,
    site: Annotated[
        str | None, typer.Option(help="Monta's id of a site: all charge points that it has now, too.")
    ] = None,
    unchecked: Unchecked = False,
    as_json: AsJson = False,
) -> None:
    """Change a terminal's name or charge points; its keys and sessions stay."""
    wanted = TerminalId(one_of("terminal", terminal, named))
    if name is not None:
        check_text("--name", name)
    change = TerminalChange(
        name=name,
        charge_points=_points("--charge-point", charge_point) or None,
        add=_points("--add-charge-point", add_charge_point),
        remove=_points("--remove-charge-point", remove_charge_point),
    )
    if change == TerminalChange(add=[], remove=[]) and site is None:
        fail(
            "Nothing to set: give --name, --charge-point, --add-charge-point, --remove-charge-point or --site."
        )
    _check_site(site)
    changed, compared = with_context(
        load_settings(), lambda context: _changed(context, wanted, change, site, unchecked=unchecked)
    )
    warn(compared.warnings)
    _print(as_json, changed)


async def _changed(
    context: Context, terminal_id: TerminalId, change: TerminalChange, site: str | None, *, unchecked: bool
) -> tuple[ListedTerminal, check_setup.Compared]:
    """Changes a terminal, after Monta was asked about the charge points that are new to it."""
    before = await manage_terminals.show_terminal(context, terminal_id)
    owner, compared = before.terminal.operator_id, check_setup.Compared(())
    if site is not None:
        of_site = await check_setup.charge_points_of_site(context, owner, site)
        change = replace(change, add=[*change.add, *of_site])
    new = sorted(change.of(before.charge_point_ids) - set(before.charge_point_ids))
    if new and not unchecked:
        compared = await check_setup.compare_charge_points(context, owner, new)
    return await manage_terminals.change_terminal(context, terminal_id, change), compared


@terminal_app.command("remove")
def terminal_remove(
    terminal: TerminalArgument = None, named: OptionalTerminal = None, as_json: AsJson = False
) -> None:
    """Remove a terminal that never had a payment session. With its keys; revoke the keys of any other."""
    wanted = TerminalId(one_of("terminal", terminal, named))
    with_context(load_settings(), lambda context: manage_terminals.remove_terminal(context, wanted))
    print_facts(as_json, removed=wanted)


@terminal_app.command("import")
def terminal_import(
    operator: OperatorOption,
    file: Annotated[
        Path, typer.Option(help="CSV with the columns provider, name, charge_points; - for standard input.")
    ],
    unchecked: Unchecked = False,
    expires_in: ExpiresIn = None,
    as_json: AsJson = False,
) -> None:
    """Add hundreds of terminals from CSV, all or none; prints CSV with their keys, this once."""
    rows, problems = read_rows(file)
    if problems:
        fail("Nothing was added. --file is not right:\n" + "\n".join(f"  {each}" for each in problems))
    owner, key = OperatorId(operator), terms("first", expires_in)

    async def add(context: Context) -> list[AddedKey]:
        if not unchecked:
            points = [point for row in rows for point in row.charge_point_ids]
            if missing := await check_setup.unknown_charge_points(context, owner, points):
                raise check_setup.EveryStartWouldFail(
                    [f"Monta shows no charge point {point} to this credential" for point in missing[:20]]
                )
        return await manage_terminals.import_terminals(context, owner, rows, key)

    added = with_context(load_settings(), add)
    told = [
        {
            "terminal_id": each.id,
            "provider": row.provider,
            "name": row.name,
            "charge_points": " ".join(row.charge_point_ids),
            "api_key": each.api_key,
        }
        for row, each in zip(rows, added, strict=True)
    ]
    if as_json:
        say(json.dumps({"data": told}))
    else:
        _print_csv(("terminal_id", *COLUMNS, "api_key"), told)


def _check_site(site: str | None) -> None:
    if site is not None and (why := id_problem(site)):
        fail(f"--site {why}.")


def _points(option: str, given: Sequence[str] | None) -> list[ChargePointId]:
    for point in given or ():
        if why := id_problem(point):
            fail(f"{option} {why}.")
    return [ChargePointId(point) for point in dict.fromkeys(given or ())]


def _facts(found: ListedTerminal) -> dict[str, str | None]:
    terminal = found.terminal
    return {
        "terminal_id": terminal.id,
        "operator_id": terminal.operator_id,
        "provider": terminal.provider,
        "name": terminal.name,
        "charge_points": " ".join(found.charge_point_ids),
        "created_at": found.created_at.isoformat(),
    }


def _csv_row(found: ListedTerminal) -> dict[str, str | None]:
    return {name: value for name, value in _facts(found).items() if name in ("terminal_id", *COLUMNS)}


def _print(as_json: bool, found: ListedTerminal) -> None:
    print_facts(as_json, **_facts(found))


def _print_csv(
    columns: Sequence[str], rows: Sequence[dict[str, str | None]] | Sequence[dict[str, str]]
) -> None:
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: plain_cell(value) for name, value in row.items()} for row in rows)
