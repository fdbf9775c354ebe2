"""The command that sets an operator's account and policies. Top-ups, how long holds are valid, amounts."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from app.cli.common import (
    AsJson,
    OperatorArgument,
    OptionalOperator,
    check_text,
    fail,
    print_facts,
    the_operator,
    warn,
    with_context,
)
from app.cli.operators import check_access, operator_app, secret_from
from app.domain.charging.charge import PriceUnit
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId
from app.flows.admin import check_setup, manage_operators, provision
from app.flows.admin.manage_operators import AccountChange
from app.flows.context import Context
from app.settings import Settings, load_settings

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
ClientSecretFile = Annotated[
    Path | None, typer.Option(help="A file with the client secret, or - for standard input.")
]
PayingTeam = Annotated[
    int | None, typer.Option(min=1, help="Monta's id of the team that charges are booked to.")
]
Brand = Annotated[str | None, typer.Option(help="The days are for this card scheme only, such as visa.")]


@operator_app.command("set")
def operator_set(  # noqa: PLR0913 - one for each option
    operator: OperatorArgument = None,
    named: OptionalOperator = None,
    *,
    name: Annotated[str | None, typer.Option(help="For people.")] = None,
    monta_url: Annotated[str | None, typer.Option(help="Base URL with /api/v1.")] = None,
    client_id: Annotated[str | None, typer.Option(help="Of the Partner API credential.")] = None,
    client_secret_file: ClientSecretFile = None,
    paying_team_id: PayingTeam = None,
    time_zone: Annotated[str | None, typer.Option(help="IANA zone, for prices by time of day.")] = None,
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
    """Change an operator's account at Monta, and its policies, which apply to new sessions."""
    owner, settings = the_operator(operator, named), load_settings()
    texts = {"name": name, "client_id": client_id}
    access = {"monta_url": monta_url, "time_zone": time_zone}
    account = _account(settings, texts, access, client_secret_file, paying_team_id)
    policies = _Policies(
        top_up_max=top_up_max,
        no_top_up_max=no_top_up_max,
        hold_days=hold_days,
        brand=brand,
        hold_max=hold_max,
        least_capture=least_capture,
        least_energy=least_energy,
        price_unit=price_unit,
    )
    _check_given(account, policies)
    warn(with_context(settings, lambda context: _change(context, owner, account, policies)))
    given = asdict(account) if account else {}
    shown = given | asdict(policies)
    print_facts(as_json, operator_id=owner, **{n: _text(v) for n, v in shown.items() if n not in UNSHOWN})


UNSHOWN = ("client_secret", "no_top_up_max")


@frozen(kw_only=True)
class _Policies:
    """What to set; None: as it is."""

    top_up_max: int | None
    no_top_up_max: bool
    hold_days: int | None
    brand: str | None
    hold_max: int | None
    least_capture: int | None
    least_energy: int | None
    price_unit: PriceUnit | None


def _check_given(account: AccountChange | None, policies: _Policies) -> None:
    given = {name: value for name, value in asdict(policies).items() if name != "brand"}
    if account is None and not any(value is not None and value is not False for value in given.values()):
        fail("Nothing to set: `tapwatt operator set --help` lists what can be set.")
    if policies.top_up_max is not None and policies.no_top_up_max:
        fail("--top-up-max and --no-top-up-max contradict each other.")


async def _change(
    context: Context, owner: OperatorId, account: AccountChange | None, policies: _Policies
) -> tuple[str, ...]:
    """Changes what is given. Returns what Monta shows of a changed account that does not fit."""
    if account is not None:
        await manage_operators.change_account(context, owner, account)
    await _set_policies(context, owner, policies)
    if account is None:
        return ()
    return (await check_setup.compare_operator(context, owner)).warnings


async def _set_policies(context: Context, owner: OperatorId, given: _Policies) -> None:
    if given.top_up_max is not None or given.no_top_up_max:
        await provision.set_top_up_max(context, owner, given.top_up_max)
    if given.hold_days is not None:
        await provision.set_hold_days(context, owner, given.brand, given.hold_days)
    if given.hold_max is not None:
        await provision.set_hold_max(context, owner, given.hold_max)
    await _set_least(context, owner, given.least_capture, given.least_energy)
    if given.price_unit is not None:
        await provision.set_price_unit(context, owner, given.price_unit.value)


def _account(
    settings: Settings,
    texts: Mapping[str, str | None],
    access: Mapping[str, str | None],
    client_secret_file: Path | None,
    paying_team_id: int | None,
) -> AccountChange | None:
    """What changes of the account. None: nothing."""
    for option, text in texts.items():
        if text is not None:
            check_text(f"--{option.replace('_', '-')}", text)
    check_access(settings, **access)
    change = AccountChange(
        client_secret=None if client_secret_file is None else secret_from(client_secret_file),
        paying_team_id=_text(paying_team_id),
        **texts,
        **access,
    )
    return None if change == AccountChange() else change


async def _set_least(
    context: Context, owner: OperatorId, capture_minor: int | None, energy_wh: int | None
) -> None:
    if capture_minor is not None or energy_wh is not None:
        await provision.set_least_settlement(context, owner, capture_minor=capture_minor, energy_wh=energy_wh)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
