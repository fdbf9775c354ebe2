"""Commands about tariffs."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.common import AsJson, OperatorOption, fail, print_facts, warn, with_context
from app.domain.tariff import InvalidTariff, Tariff, parse_tariff
from app.domain.tariff.time_windows import out_of_force
from app.domain.units.ids import ChargePointId, OperatorId
from app.flows.admin import provision
from app.flows.context import Context
from app.settings import load_settings
from app.store.db.documents import is_json
from app.strict_json import BadJson, load_json

tariff_app = typer.Typer(no_args_is_help=True, help="Tariffs that drivers are shown.")

MAX_TARIFF_BYTES = 256 * 1024


@tariff_app.callback()
def _group() -> None:
    """A group, also while it has one command."""


@tariff_app.command("set")
def tariff_set(
    operator: OperatorOption,
    file: Annotated[Path, typer.Option(help="An OCPI 2.3.0 Tariff object as JSON.")],
    charge_point: Annotated[str | None, typer.Option("--charge-point", help="For this one only.")] = None,
    as_json: AsJson = False,
) -> None:
    """Set the tariff of a charge point, or the default for the operator's others."""
    tariff = _tariff_from(file)
    point = ChargePointId(charge_point) if charge_point else None

    async def set_it(context: Context) -> str | None:
        await provision.set_tariff(context, OperatorId(operator), point, tariff)
        return out_of_force(tariff, context.clock.now())

    not_yet = with_context(load_settings(), set_it)
    if not_yet is not None:
        warn([f"the tariff prices nothing yet, for {not_yet}; until then the next source of prices counts"])
    if tariff.end_date_time is not None:
        warn([f"the tariff ends at {tariff.end_date_time:%Y-%m-%d %H:%M} UTC; set the next one by then"])
    print_facts(as_json, operator_id=operator, charge_point_id=charge_point, currency=tariff.currency)


def _tariff_from(file: Path) -> Tariff:
    try:
        source = load_json(file.read_bytes(), max_bytes=MAX_TARIFF_BYTES)
        if not is_json(source):
            fail("--file holds what cannot be kept: NaN, Infinity, NUL characters or lone surrogates.")
        return parse_tariff(source)
    except OSError as error:
        fail(f"--file cannot be read: {error.strerror}.")
    except BadJson as error:
        fail(f"--file is not JSON that can be used: {error}.")
    except InvalidTariff as error:
        fail(
            "--file is not an OCPI tariff:\n" + "\n".join(f"  {p.field}: {p.message}" for p in error.problems)
        )
