"""Commands about operators: add, list, show, check, disable, remove."""

import json
import sys
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from app.cli.common import (
    AsJson,
    OperatorArgument,
    OptionalOperator,
    check_text,
    fail,
    print_facts,
    say,
    the_operator,
    warn,
    with_context,
)
from app.domain.charging.charge import PriceUnit
from app.domain.units.ids import OperatorId
from app.flows.admin import check_setup, manage_operators, provision, queries
from app.flows.admin.manage_operators import OperatorDetails
from app.flows.context import Context
from app.settings import Settings, load_settings, outgoing_url_problem

operator_app = typer.Typer(no_args_is_help=True, help="Operators: accounts at Monta.")

PriceUnitOption = Annotated[
    PriceUnit,
    typer.Option(
        help="The unit of the prices that Monta shows of charges: EUR 1.23 is 1.23 major, 123 minor."
    ),
]


@operator_app.command("add")
def operator_add(
    *,
    name: Annotated[str, typer.Option(help="For people.")],
    monta_url: Annotated[str, typer.Option(help="Base URL with /api/v1.")],
    client_id: Annotated[str, typer.Option(help="Of the Partner API credential.")],
    client_secret_file: Annotated[
        Path, typer.Option(help="A file with the client secret, or - for standard input.")
    ],
    paying_team_id: Annotated[
        int, typer.Option(min=1, help="Monta's id of the team that charges are booked to.")
    ],
    time_zone: Annotated[
        str, typer.Option(help="IANA zone of the charge points, for prices by time of day.")
    ] = "UTC",
    price_unit: PriceUnitOption = PriceUnit.MAJOR,
    as_json: AsJson = False,
) -> None:
    """Add an operator's account at Monta."""
    settings = load_settings()
    for option, text in (("--name", name), ("--client-id", client_id)):
        check_text(option, text)
    check_access(settings, monta_url, time_zone)
    new = provision.NewOperator(
        name=name,
        monta_url=monta_url,
        client_id=client_id,
        client_secret=secret_from(client_secret_file),
        paying_team_id=str(paying_team_id),
        price_unit=price_unit.value,
        time_zone=time_zone,
    )
    added, compared = with_context(settings, lambda context: _added(context, new))
    warn(compared.warnings)
    print_facts(
        as_json,
        operator_id=added.operator_id,
        webhook_path=added.webhook_path,
        webhook_secret=added.webhook_secret,
    )


async def _added(
    context: Context, new: provision.NewOperator
) -> tuple[provision.AddedOperator, check_setup.Compared]:
    added = await provision.add_operator(context, new)
    return added, await check_setup.compare_operator(context, added.operator_id)


@operator_app.command("change-webhook-secret")
def operator_change_webhook_secret(
    operator: OperatorArgument = None,
    named: OptionalOperator = None,
    *,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Drop the present secret at once, because it has leaked.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a new webhook secret. Deliveries signed with the present one are accepted for one more hour."""
    owner = the_operator(operator, named)
    changed = with_context(
        load_settings(), lambda context: provision.change_webhook_secret(context, owner, at_once=at_once)
    )
    until = changed.before_until
    print_facts(
        as_json,
        operator_id=owner,
        webhook_secret=changed.webhook_secret,
        previous_valid_until=until.isoformat() if until else None,
    )


@operator_app.command("list")
def operator_list(as_json: AsJson = False) -> None:
    """List all operators, and problems with their access to Monta."""
    found = with_context(load_settings(), lambda context: queries.summary(context, None))
    rows: list[dict[str, str | None]] = [
        {
            "operator_id": o.id,
            "name": o.name,
            "monta_url": o.monta_url,
            "webhook_problem": o.webhook_problem,
            "sync_problem": o.sync_problem,
            "setup_problem": o.setup_problem,
            "clock_problem": _clock_told(o.monta_clock_ahead_s),
            "disabled_at": o.disabled_at.isoformat() if o.disabled_at else None,
        }
        for o in found.operators
    ]
    lines = [line for row in rows for line in _operator_lines(row)]
    say(json.dumps({"data": rows}) if as_json else "\n".join(lines))


def _clock_told(ahead_s: int | None) -> str | None:
    if ahead_s is None:
        return None
    return f"Monta's clock is {abs(ahead_s)} s {'ahead of' if ahead_s > 0 else 'behind'} ours"


def _operator_lines(row: dict[str, str | None]) -> list[str]:
    problems = [f"  {name}: {row[name]}" for name in row if name.endswith("_problem") and row[name]]
    disabled = f"  (disabled since {row['disabled_at']})" if row["disabled_at"] else ""
    return [f"{row['operator_id']}  {row['name']}{disabled}", *problems]


@operator_app.command("show")
def operator_show(
    operator: OperatorArgument = None, named: OptionalOperator = None, as_json: AsJson = False
) -> None:
    """Show an operator: its account, policies and problems; never a secret."""
    owner = the_operator(operator, named)
    found = with_context(load_settings(), lambda context: manage_operators.details_of(context, owner))
    print_facts(as_json, **_shown(found))


@operator_app.command("check")
def operator_check(
    operator: OperatorArgument = None, named: OptionalOperator = None, as_json: AsJson = False
) -> None:
    """Ask Monta whether the credential, scopes and paying team are right. Status 1 when they are not."""
    owner = the_operator(operator, named)

    async def compare(context: Context) -> check_setup.Compared:
        await manage_operators.details_of(context, owner)
        return await check_setup.compare_operator(context, owner)

    compared = with_context(load_settings(), compare)
    problems = list(compared.warnings)
    if as_json:
        say(json.dumps({"operator_id": owner, "ok": not problems, "problems": problems}))
    else:
        say(
            "\n".join(problems)
            or f"{owner}: Monta takes the credential, with all scopes and the paying team."
        )
    if problems:
        raise typer.Exit(1)


@operator_app.command("disable")
def operator_disable(
    operator: OperatorArgument = None, named: OptionalOperator = None, as_json: AsJson = False
) -> None:
    """Take no new payments of an operator; running charges are limited, stopped and settled as before."""
    _set_enabled(the_operator(operator, named), enabled=False, as_json=as_json)


@operator_app.command("enable")
def operator_enable(
    operator: OperatorArgument = None, named: OptionalOperator = None, as_json: AsJson = False
) -> None:
    """Take payments of a disabled operator again."""
    _set_enabled(the_operator(operator, named), enabled=True, as_json=as_json)


@operator_app.command("remove")
def operator_remove(
    operator: OperatorArgument = None, named: OptionalOperator = None, as_json: AsJson = False
) -> None:
    """Remove an operator without terminals and payment sessions; disable any other."""
    owner = the_operator(operator, named)
    with_context(load_settings(), lambda context: manage_operators.remove_operator(context, owner))
    warn(["a webhook that Monta has for this operator stays there; delete it in Monta's portal"])
    print_facts(as_json, removed=owner)


def _set_enabled(owner: OperatorId, *, enabled: bool, as_json: bool) -> None:
    found = with_context(
        load_settings(), lambda context: manage_operators.set_enabled(context, owner, enabled=enabled)
    )
    since = found.disabled_at
    print_facts(as_json, operator_id=owner, disabled_at=since.isoformat() if since else None)


def _shown(found: OperatorDetails) -> dict[str, str | None]:
    plain = {
        name: getattr(found.facts, name) for name in ("name", "monta_url", "webhook_problem", "sync_problem")
    }
    plain |= {
        name: getattr(found.facts, name) for name in ("setup_problem", "access_problem", "reconcile_problem")
    }
    return {
        "operator_id": found.facts.id,
        **plain,
        "clock_problem": _clock_told(found.facts.monta_clock_ahead_s),
        **{name: None if value is None else str(value) for name, value in found.columns.items()},
        "hold_days": ", ".join(f"{brand or 'all others'} {days}" for brand, days in found.hold_days) or None,
        "terminals": str(found.terminals),
        "payment_sessions": str(found.sessions),
    }


def check_access(settings: Settings, monta_url: str | None, time_zone: str | None) -> None:
    """Exits with a message for an unusable address or time zone."""
    problem = monta_url and outgoing_url_problem(monta_url, settings.egress)
    if problem:
        fail(f"--monta-url {problem}.")
    try:
        ZoneInfo(time_zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        fail("--time-zone must be an IANA name such as Europe/Copenhagen.")


def secret_from(file: Path) -> str:
    try:
        secret = (sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"--client-secret-file cannot be read: {type(error).__name__}.")
    if not secret or not secret.isprintable():
        fail("--client-secret-file must hold the client secret and nothing else.")
    return secret
