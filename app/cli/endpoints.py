"""Commands about endpoints of terminal makers: where events are sent. Add, list, change, test, pause, remove."""

import json
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from app.cli.common import AsJson, ExitStatus, fail, print_facts, say, with_context
from app.cli.output.tables import facts_table
from app.cli.terminal_csv import provider_problem
from app.domain.events.event import EventType
from app.domain.units.ids import OperatorId, TerminalId
from app.flows.context import Context
from app.flows.events import manage_endpoints
from app.flows.events.manage_endpoints import AddedEndpoint, ShownEndpoint
from app.flows.events.try_endpoint import try_endpoint
from app.settings import Settings, load_settings, outgoing_url_problem
from app.wiring import open_event_outlet

endpoint_app = typer.Typer(no_args_is_help=True, help="Where terminal makers are told of events.")

EndpointArgument = Annotated[
    str, typer.Argument(metavar="ENDPOINT", help="The endpoint's id, whe_..., as `list` shows it.")
]
Events = Annotated[
    list[EventType] | None,
    typer.Option("--event", help="Only events of this type; give it once for each. Without it, all."),
]


@endpoint_app.command("add")
def endpoint_add(
    *,
    provider: Annotated[
        str | None, typer.Option(help="For all terminals of this maker; the slug on Monta's receipts.")
    ] = None,
    terminal: Annotated[
        str | None, typer.Option("--terminal", help="For one terminal, trm_..., instead.")
    ] = None,
    operator: Annotated[
        str | None,
        typer.Option("--operator", help="Whose terminals; needed where several operators have such."),
    ] = None,
    url: Annotated[str, typer.Option(help="Where events are POSTed, https://...")],
    event: Events = None,
    as_json: AsJson = False,
) -> None:
    """Add an endpoint; prints the secret that its events are signed with, this once."""
    settings = load_settings()
    if (provider is None) == (terminal is None):
        fail("Give --provider SLUG for all terminals of a maker, or --terminal TRM for one.")
    if provider is not None and (why := provider_problem(provider)):
        fail(f"--provider {why}.")
    _check_url(settings, url)
    added = with_context(
        settings,
        lambda context: manage_endpoints.add_endpoint(
            context,
            url=url,
            provider=provider,
            terminal_id=None if terminal is None else TerminalId(terminal),
            operator_id=None if operator is None else OperatorId(operator),
            types=list(dict.fromkeys(event or ())),
        ),
    )
    print_facts(as_json, endpoint_id=added.id, signing_secret=added.signing_secret)


@endpoint_app.command("list")
def endpoint_list(
    operator: Annotated[str | None, typer.Option("--operator", help="Those of this operator only.")] = None,
    as_json: AsJson = False,
) -> None:
    """List endpoints, whether each takes its events, and how many wait."""
    owner = OperatorId(operator) if operator else None
    found = with_context(load_settings(), lambda context: manage_endpoints.list_endpoints(context, owner))
    rows = [_facts(each) for each in found]
    shown = ("endpoint_id", "for", "url", "events", "state", "waiting", "problem")
    say(json.dumps({"data": rows}) if as_json else facts_table(rows, shown, empty="No endpoints."))


@endpoint_app.command("show")
def endpoint_show(endpoint: EndpointArgument, as_json: AsJson = False) -> None:
    """Show one endpoint, never its secret."""
    _run(as_json, lambda context: manage_endpoints.show_endpoint(context, endpoint))


@endpoint_app.command("set")
def endpoint_set(
    endpoint: EndpointArgument,
    *,
    url: Annotated[str | None, typer.Option(help="The new address; the secret stays.")] = None,
    event: Events = None,
    all_events: Annotated[bool, typer.Option("--all-events", help="Events of every type.")] = False,
    as_json: AsJson = False,
) -> None:
    """Change an endpoint's URL or events. What waits is sent to the new URL at once."""
    if event and all_events:
        fail("--event and --all-events contradict each other.")
    if url is None and not event and not all_events:
        fail("Nothing to set: give --url, --event or --all-events.")
    if url is not None:
        _check_url(load_settings(), url)
    types = list(dict.fromkeys(event or ())) if event or all_events else None
    _run(as_json, lambda context: manage_endpoints.change_endpoint(context, endpoint, url=url, types=types))


@endpoint_app.command("test")
def endpoint_test(endpoint: EndpointArgument, as_json: AsJson = False) -> None:
    """Send a signed test event now; exits with 3 unless it is answered with 2xx."""
    settings = load_settings()

    async def send(context: Context) -> str | None:
        async with open_event_outlet(settings) as outlet:
            return await try_endpoint(context, outlet, endpoint)

    problem = with_context(settings, send)
    print_facts(as_json, endpoint_id=endpoint, result="failed" if problem else "taken", problem=problem)
    raise SystemExit(ExitStatus.FOUND if problem else ExitStatus.DONE)


@endpoint_app.command("pause")
def endpoint_pause(endpoint: EndpointArgument, as_json: AsJson = False) -> None:
    """Send nothing more to an endpoint; its events wait, for 7 days."""
    _run(as_json, lambda context: manage_endpoints.pause_endpoint(context, endpoint))


@endpoint_app.command("resume")
def endpoint_resume(endpoint: EndpointArgument, as_json: AsJson = False) -> None:
    """Send to an endpoint again; what waits goes at once, also to one that failed."""
    _run(as_json, lambda context: manage_endpoints.resume_endpoint(context, endpoint))


@endpoint_app.command("rotate-secret")
def endpoint_rotate_secret(
    endpoint: EndpointArgument,
    *,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Forget the secret before now, since it leaked or is damaged.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a new signing secret; for a day the one before signs too."""

    async def rotate(context: Context) -> AddedEndpoint:
        return await manage_endpoints.rotate_secret(context, endpoint, at_once=at_once)

    added = with_context(load_settings(), rotate)
    until = added.previous_until
    print_facts(
        as_json,
        endpoint_id=added.id,
        signing_secret=added.signing_secret,
        previous_signs_until=None if until is None else until.isoformat(),
    )


@endpoint_app.command("remove")
def endpoint_remove(endpoint: EndpointArgument, as_json: AsJson = False) -> None:
    """Remove an endpoint; what it has not taken is not sent."""
    with_context(load_settings(), lambda context: manage_endpoints.remove_endpoint(context, endpoint))
    print_facts(as_json, removed=endpoint)


def _check_url(settings: Settings, url: str) -> None:
    if why := outgoing_url_problem(url, settings.egress):
        fail(f"--url {why}.")


def _run(as_json: bool, work: Callable[[Context], Awaitable[ShownEndpoint]]) -> None:
    print_facts(as_json, **_facts(with_context(load_settings(), work)))


def _facts(found: ShownEndpoint) -> dict[str, str | None]:
    endpoint = found.endpoint
    at = {
        "created_at": endpoint.created_at,
        "paused_at": endpoint.paused_at,
        "failing_since": endpoint.failing_since,
        "last_taken_at": endpoint.delivered_at,
        "previous_secret_signs_until": endpoint.previous_secret_until,
    }
    return {
        "endpoint_id": endpoint.id,
        "operator_id": endpoint.operator_id,
        "for": endpoint.terminal_id or endpoint.provider,
        "url": endpoint.url,
        "events": " ".join(endpoint.types) or "all",
        "state": endpoint.state,
        "waiting": str(found.waiting),
        "given_up": str(endpoint.given_up),
        "problem": endpoint.problem,
        **{name: None if moment is None else moment.isoformat() for name, moment in at.items()},
    }
