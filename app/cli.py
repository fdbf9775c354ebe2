"""The front door for people: `tapwatt`, and `python -m app`."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from app import running
from app.cli_looks import session_table, time_line
from app.domain.ids import ChargePointId, OperatorId, SessionId
from app.domain.payment_session import Status
from app.domain.tariff import InvalidTariff, Tariff, parse_tariff
from app.embedded import EmbeddedPostgresError
from app.flows import look, provision
from app.flows.tools import Tools
from app.monta.safe_json import BadJson, load_json
from app.settings import Settings, SettingsWrong, load_settings, url_problem
from app.store import payment_sessions
from app.store.database import DATABASE_TROUBLE
from app.store.migrate import migrate as run_migrations
from app.store.secret_box import SecretUnreadable
from app.telemetry import configure_logging
from app.wiring import open_tools

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Card payment at EV chargers on Monta.")
operator_app = typer.Typer(no_args_is_help=True, help="Operators: accounts at Monta.")
terminal_app = typer.Typer(no_args_is_help=True, help="Payment terminals.")
tariff_app = typer.Typer(no_args_is_help=True, help="Tariffs that drivers are shown.")
ops_key_app = typer.Typer(no_args_is_help=True, help="Keys for operations.")
session_app = typer.Typer(no_args_is_help=True, help="One payment session.")
for name, group in (("operator", operator_app), ("terminal", terminal_app), ("tariff", tariff_app),
                    ("ops-key", ops_key_app), ("session", session_app)):
    app.add_typer(group, name=name)

T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object; secrets are shown this once.")]
OperatorOption = Annotated[str, typer.Option("--operator", help="The operator's id, op_...")]
MAX_TARIFF_BYTES = 256 * 1024
KNOWN_TROUBLE = (
    SettingsWrong,
    EmbeddedPostgresError,
    SecretUnreadable,
    running.NotMigrated,
    provision.OperatorUnknown,
    provision.ChargePointNotKnown,
)


@app.command()
def migrate() -> None:
    """Bring the database to what this version needs; safe to repeat."""
    settings = load_settings()
    with running.database_url(settings) as url:
        run_migrations(url)
    typer.echo("The database is up to date.")


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    with_watcher: Annotated[bool, typer.Option("--with-watcher", help="Run a watcher in this process too.")] = False,
) -> None:
    """HTTP for terminals, Monta and operations."""
    settings = _started()
    with running.database_url(settings) as url:
        running.run(running.serve(settings, url, host=host, port=port, with_watcher=with_watcher))


@app.command()
def watch() -> None:
    """The watcher alone: starts, limits, stops and settles charges. Several may run."""
    settings = _started()
    with running.database_url(settings) as url:
        running.run(running.watch(settings, url))


@app.command()
def simulator(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 9000,
    speed: Annotated[float, typer.Option(min=1, max=1000, help="How many times faster than life.")] = 1,
) -> None:
    """A Monta of our own under /api/v1, with magic charge points for every trouble."""
    settings = _started()

    def announce(facts: Mapping[str, object]) -> None:
        typer.echo(json.dumps(facts))
        sys.stdout.flush()

    running.run(running.simulate(settings, host=host, port=port, speed=speed, announce=announce))


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running afterwards, to try it.")] = False,
    speed: Annotated[float, typer.Option(min=1, max=1000, help="How many times faster than life.")] = 60,
) -> None:
    """Watch charges start, tick and get stopped; about a minute."""
    from app.demo import run_demo

    raise typer.Exit(run_demo(keep=keep, speed=speed))


@operator_app.command("add")
def operator_add(
    name: Annotated[str, typer.Option(help="For people.")],
    monta_url: Annotated[str, typer.Option(help="Base URL with /api/v1.")],
    client_id: Annotated[str, typer.Option(help="Of the Partner API credential.")],
    client_secret_file: Annotated[Path, typer.Option(help="A file with the client secret, or - for standard input.")],
    paying_team_id: Annotated[int, typer.Option(min=1, help="Monta's id of the team that charges are booked to.")],
    time_zone: Annotated[str, typer.Option(help="IANA zone of the charge points, for prices by time of day.")] = "UTC",
    as_json: AsJson = False,
) -> None:
    """Add an operator's account at Monta."""
    settings = load_settings()
    problem = url_problem(monta_url, allow_plain_http=settings.allow_plain_http)
    if problem:
        _fail(f"--monta-url {problem}.")
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        _fail("--time-zone must be an IANA name such as Europe/Copenhagen.")
    new = provision.NewOperator(
        name=name,
        monta_url=monta_url,
        client_id=client_id,
        client_secret=_secret_from(client_secret_file),
        paying_team_id=str(paying_team_id),
        time_zone=time_zone,
    )
    added = _with_tools(settings, lambda tools: provision.add_operator(tools, new))
    _print(as_json, operator_id=added.operator_id, webhook_path=added.webhook_path, webhook_secret=added.webhook_secret)


@terminal_app.command("add")
def terminal_add(
    operator: OperatorOption,
    provider: Annotated[str, typer.Option(help="The slug that Monta's receipts name the terminal's maker by.")],
    name: Annotated[str, typer.Option(help="For people.")],
    charge_point: Annotated[list[str], typer.Option("--charge-point", help="Monta's id; give it once for each.")],
    as_json: AsJson = False,
) -> None:
    """Add a terminal and the charge points that it may start."""
    for point in charge_point:
        if not (point.isascii() and point.isdigit() and len(point) <= 19):
            _fail("--charge-point must be Monta's id of the charge point: digits only.")
    if not (provider.isascii() and provider.isprintable() and " " not in provider and 0 < len(provider) <= 64):
        _fail("--provider must be a slug of 64 characters at most, without spaces.")
    points = [ChargePointId(p) for p in charge_point]
    added = _with_tools(
        load_settings(),
        lambda tools: provision.add_terminal(
            tools, OperatorId(operator), provider=provider, name=name, charge_point_ids=points
        ),
    )
    _print(as_json, terminal_id=added.id, api_key=added.api_key)


@tariff_app.command("set")
def tariff_set(
    operator: OperatorOption,
    file: Annotated[Path, typer.Option(help="An OCPI 2.3.0 Tariff object as JSON.")],
    charge_point: Annotated[str | None, typer.Option("--charge-point", help="For this one only.")] = None,
    as_json: AsJson = False,
) -> None:
    """Set the tariff of a charge point, or of all the operator's others."""
    tariff = _tariff_from(file)
    point = ChargePointId(charge_point) if charge_point else None
    _with_tools(
        load_settings(), lambda tools: provision.set_tariff(tools, OperatorId(operator), point, tariff)
    )
    _print(as_json, operator_id=operator, charge_point_id=charge_point, currency=tariff.currency)


@ops_key_app.command("add")
def ops_key_add(
    operator: Annotated[str | None, typer.Option("--operator", help="Sees this operator only; without it, all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key for operations."""
    owner = OperatorId(operator) if operator else None
    added = _with_tools(load_settings(), lambda tools: provision.add_ops_key(tools, owner))
    _print(as_json, ops_key_id=added.id, api_key=added.api_key)


@operator_app.command("list")
def operator_list(as_json: AsJson = False) -> None:
    """All operators, and what is wrong with their access to Monta."""
    found = _with_tools(load_settings(), lambda tools: look.summary(tools, None))
    rows = [
        {"operator_id": o.id, "name": o.name, "monta_url": o.monta_url, "webhook_problem": o.webhook_problem,
         "upkeep_problem": o.upkeep_problem}
        for o in found.operators
    ]
    typer.echo(json.dumps({"data": rows}) if as_json else "\n".join(f"{r['operator_id']}  {r['name']}" for r in rows))


@app.command()
def sessions(
    status: Annotated[Status | None, typer.Option(help="Only these.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=look.MAX_PAGE)] = 30,
) -> None:
    """Payment sessions, newest first."""
    conditions = [payment_sessions.matching("status", status)] if status else []

    async def find(tools: Tools) -> str:
        page = await look.sessions(tools, *conditions, limit=limit)
        return session_table(page.sessions, tools.policy)

    typer.echo(_with_tools(load_settings(), find))


@session_app.command("show")
def session_show(session_id: Annotated[str, typer.Argument(metavar="ID", help="ps_...")]) -> None:
    """One payment session and its time line: every fact, decision and call."""

    async def find(tools: Tools) -> str | None:
        session = await look.session(tools, SessionId(session_id), payment_sessions.of_operator(None))
        if session is None:
            return None
        lines = await look.journal_of(tools, session.id, after=0, limit=1000)
        return time_line(session, lines, tools.policy)

    shown = _with_tools(load_settings(), find)
    if shown is None:
        _fail(f"There is no payment session {session_id!r}; `tapwatt sessions` lists them.")
    typer.echo(shown)


def main() -> None:
    """Known troubles are one clear message and exit status 1; a wrong argument is typer's, with status 2."""
    try:
        app()
    except KNOWN_TROUBLE as error:
        _fail(str(error))
    except DATABASE_TROUBLE as error:
        _fail(f"The database cannot be used ({type(error).__name__}); check TAPWATT_DATABASE_URL, and that it is up.")


def _started() -> Settings:
    settings = load_settings()
    configure_logging(level=settings.log_level, as_json=settings.log_format == "json")
    return settings


def _with_tools(settings: Settings, work: Callable[[Tools], Awaitable[T]]) -> T:
    configure_logging(level="warning", as_json=False)

    async def run(url: str) -> T:
        async with open_tools(settings, url) as tools:
            found = await look.readiness(tools)
            if found.schema is not None:
                raise running.NotMigrated(f"The database's schema {found.schema}.")
            return await work(tools)

    with running.database_url(settings) as url:
        return asyncio.run(run(url))


def _secret_from(file: Path) -> str:
    try:
        secret = (sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        _fail(f"--client-secret-file cannot be read: {type(error).__name__}.")
    if not secret or not secret.isprintable():
        _fail("--client-secret-file must hold the client secret and nothing else.")
    return secret


def _tariff_from(file: Path) -> Tariff:
    try:
        return parse_tariff(load_json(file.read_bytes(), max_bytes=MAX_TARIFF_BYTES))
    except OSError as error:
        _fail(f"--file cannot be read: {error.strerror}.")
    except BadJson as error:
        _fail(f"--file is not JSON that can be used: {error}.")
    except InvalidTariff as error:
        _fail("--file is not an OCPI tariff:\n" + "\n".join(f"  {p.field}: {p.message}" for p in error.problems))


def _print(as_json: bool, **facts: str | None) -> None:
    typer.echo(json.dumps(facts) if as_json else "\n".join(f"{k}: {v}" for k, v in facts.items() if v is not None))


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise SystemExit(1)
