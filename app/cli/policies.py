"""Commands that set an operator's policies: top-ups, how long holds are valid, amounts."""

from typing import Annotated

import typer

from app.cli.common import AsJson, fail, print_facts, with_context
from app.cli.provisioning import OperatorOption, operator_app
from app.domain.charging.charge import PriceUnit
from app.domain.units.ids import OperatorId
from app.flows.admin import provision
from app.flows.context import Context
from app.settings import load_settings

__all__ = [
    "operator_app",
]


TopUpMax = Annotated[
    int | None,
    typer.Option(min=0, help="Top-ups may raise an authorization to this amount, in minor units."),
]
NoTopUpMax = Annotated[
    bool, typer.Option("--no-top-up-max", help="Remove the policy: Monta's limit is the first authorization.")
]
HoldDays = Annotated[
    int | None,
    typer.Option(min=1, max=60, help="Days that a hold is valid when the terminal does not say."),
]
HoldMax = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1_000_000,
        help="Most that one session may hold, in EUR; converted roughly for other currencies.",
    ),
]
PriceUnitChange = Annotated[
    PriceUnit | None,
    typer.Option(
        help="The unit of the prices that Monta shows of charges: EUR 1.23 is 1.23 major, 123 minor."
        " It applies to all that is read from now on, running charges included."
    ),
]
LeastCapture = Annotated[
    int | None,
    typer.Option(
        min=0, max=10_000, help="A final price below this, in minor units, is released; 0: none is."
    ),
]
LeastEnergy = Annotated[
    int | None,
    typer.Option(min=0, max=10_000, help="The price of less energy, in Wh, is released; 0: none is."),
]
Brand = Annotated[str | None, typer.Option(help="The days are for this card scheme only, such as visa.")]


@operator_app.command("set")
def operator_set(
    operator: OperatorOption,
    *,
    top_up_max: TopUpMax = None,
    no_top_up_max: NoTopUpMax = False,
    hold_days: HoldDays = None,
    hold_max: HoldMax = None,
    brand: Brand = None,
    least_capture: LeastCapture = None,
    least_energy: LeastEnergy = None,
    price_unit: PriceUnitChange = None,
    as_json: AsJson = False,
) -> None:
    """Set an operator's policies; they apply to new sessions."""
    policies = {
        "top_up_max": top_up_max,
        "hold_days": hold_days,
        "hold_max": hold_max,
        "least_capture": least_capture,
        "least_energy": least_energy,
        "price_unit": price_unit,
    }
    if not no_top_up_max and set(policies.values()) == {None}:
        fail("Nothing to set: `tapwatt operator set --help` lists the policies.")
    if top_up_max is not None and no_top_up_max:
        fail("--top-up-max and --no-top-up-max contradict each other.")
    owner = OperatorId(operator)

    async def change(context: Context) -> None:
        if top_up_max is not None or no_top_up_max:
            await provision.set_top_up_max(context, owner, top_up_max)
        if hold_days is not None:
            await provision.set_hold_days(context, owner, brand, hold_days)
        if hold_max is not None:
            await provision.set_hold_max(context, owner, hold_max)
        await _set_least(context, owner, least_capture, least_energy)
        if price_unit is not None:
            await provision.set_price_unit(context, owner, price_unit.value)

    with_context(load_settings(), change)
    print_facts(as_json, operator_id=operator, brand=brand, **{n: _text(v) for n, v in policies.items()})


async def _set_least(
    context: Context, owner: OperatorId, capture_minor: int | None, energy_wh: int | None
) -> None:
    if capture_minor is not None or energy_wh is not None:
        await provision.set_least_settlement(context, owner, capture_minor=capture_minor, energy_wh=energy_wh)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
