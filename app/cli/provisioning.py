"""Commands that provision operators, terminals and tariffs."""

import json
import sys
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from app.cli.common import AsJson, check_text, fail, print_facts, warn, with_context
from app.cli.keys import ExpiresIn, terminal_key_app, terms, until
from app.domain.charging.charge import PriceUnit
from app.domain.tariff import InvalidTariff, Tariff, parse_tariff
from app.domain.tariff.time_windows import out_of_force
from app.domain.units.ids import ChargePointId, OperatorId
from app.flows.admin import check_setup, provision, queries
from app.flows.context import Context
from app.flows.make_key import AddedKey
from app.settings import Settings, load_settings, url_problem
from app.store.db.documents import is_json
from app.strict_json import BadJson, load_json

operator_app = typer.Typer(no_args_is_help=True, help="Operators: accounts at Monta.")
terminal_app = typer.Typer(no_args_is_help=True, help="Payment terminals.")
terminal_app.add_typer(terminal_key_app, name="key")
tariff_app = typer.Typer(no_args_is_help=True, help="Tariffs that drivers are shown.")

OperatorOption = Annotated[str, typer.Option("--operator", help="The operator's id, op_...")]
PriceUnitOption = Annotated[
    PriceUnit,
    typer.Option(
        help="The unit of the prices that Monta shows of charges: EUR 1.23 is 1.23 major, 123 minor."
    ),
]
MAX_TARIFF_BYTES = 256 * 1024


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
    _check_access(settings, monta_url, time_zone)
    new = provision.NewOperator(
        name=name,
        monta_url=monta_url,
        client_id=client_id,
        client_secret=_secret_from(client_secret_file),
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
    operator: OperatorOption,
    *,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Drop the present secret at once, because it has leaked.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a new webhook secret; deliveries signed with the present one are accepted for one more hour."""
    owner = OperatorId(operator)
    changed = with_context(
        load_settings(), lambda context: provision.change_webhook_secret(context, owner, at_once=at_once)
    )
    until = changed.before_until
    print_facts(
        as_json,
        operator_id=operator,
        webhook_secret=changed.webhook_secret,
        previous_valid_until=until.isoformat() if until else None,
    )


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
        }
        for o in found.operators
    ]
    lines = [line for row in rows for line in _operator_lines(row)]
    typer.echo(json.dumps({"data": rows}) if as_json else "\n".join(lines))


def _clock_told(ahead_s: int | None) -> str | None:
    if ahead_s is None:
        return None
    return f"Monta's clock is {abs(ahead_s)} s {'ahead of' if ahead_s > 0 else 'behind'} ours"


def _operator_lines(row: dict[str, str | None]) -> list[str]:
    problems = [f"  {name}: {row[name]}" for name in row if name.endswith("_problem") and row[name]]
    return [f"{row['operator_id']}  {row['name']}", *problems]


def _check_access(settings: Settings, monta_url: str, time_zone: str) -> None:
    problem = url_problem(monta_url, allow_plain_http=settings.allow_plain_http)
    if problem:
        fail(f"--monta-url {problem}.")
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        fail("--time-zone must be an IANA name such as Europe/Copenhagen.")


def _secret_from(file: Path) -> str:
    try:
        secret = (sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"--client-secret-file cannot be read: {type(error).__name__}.")
    if not secret or not secret.isprintable():
        fail("--client-secret-file must hold the client secret and nothing else.")
    return secret


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
