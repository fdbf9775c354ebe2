"""Commands about payment sessions: list, show, settle, acknowledge, close."""

from typing import Annotated

import typer

from app.cli.common import fail, with_context
from app.cli.tables import session_table, time_line
from app.domain.session.payment_session import Status
from app.domain.units.ids import SessionId
from app.flows.admin import queries
from app.flows.admin.acknowledge import AttentionUnknown
from app.flows.admin.acknowledge import acknowledge as acknowledge_item
from app.flows.admin.settle_manually import (
    AboveAuthorized,
    AlreadyEnded,
    AlreadySettled,
    NotEnded,
    close_manually,
    settle_manually,
)
from app.flows.context import Context, SessionUnknown
from app.settings import load_settings
from app.store.sessions.session_filter import EVERY_SESSION, SessionFilter

app = typer.Typer()
session_app = typer.Typer(no_args_is_help=True, help="One payment session.")


@app.command()
def sessions(
    status: Annotated[Status | None, typer.Option(help="Only sessions with this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=queries.MAX_PAGE)] = 30,
) -> None:
    """List payment sessions, newest first."""

    async def find(context: Context) -> str:
        page = await queries.sessions(context, SessionFilter(status=status), limit=limit)
        return session_table(page.sessions, context.policy)

    typer.echo(with_context(load_settings(), find))


@session_app.command("settle")
def session_settle(
    session_id: Annotated[str, typer.Argument(metavar="ID", help="ps_...")],
    amount: Annotated[int, typer.Option(min=0, help="What the driver pays, in minor units.")],
    reason: Annotated[str, typer.Option(help="Stays in the journal.")],
) -> None:
    """Settle an ended charge whose price Tapwatt holds for operations."""

    async def decide(context: Context) -> str:
        session = await settle_manually(
            context,
            SessionId(session_id),
            EVERY_SESSION,
            amount_minor=amount,
            reason=reason[:200],
        )
        lines = await queries.journal_of(context, session.id, after=0, limit=1000)
        return time_line(session, lines, context.policy)

    try:
        typer.echo(with_context(load_settings(), decide))
    except SessionUnknown:
        fail(f"There is no payment session {session_id!r}; `tapwatt sessions` lists them.")
    except (NotEnded, AlreadySettled) as error:
        fail(f"{error}.")


@session_app.command("acknowledge")
def session_acknowledge(
    session_id: Annotated[str, typer.Argument(metavar="ID", help="ps_...")],
    code: Annotated[str, typer.Argument(metavar="CODE", help="As `session show` names it.")],
    note: Annotated[str, typer.Option(help="Stays in the journal.")],
) -> None:
    """Acknowledge why a session needs attention."""

    async def see(context: Context) -> str:
        session = await acknowledge_item(
            context,
            SessionId(session_id),
            EVERY_SESSION,
            code=code,
            by="command line",
            note=note[:200],
        )
        lines = await queries.journal_of(context, session.id, after=0, limit=1000)
        return time_line(session, lines, context.policy)

    try:
        typer.echo(with_context(load_settings(), see))
    except SessionUnknown:
        fail(f"There is no payment session {session_id!r}; `tapwatt sessions` lists them.")
    except AttentionUnknown:
        fail(f"This payment session has no attention item {code!r}; `tapwatt session show` lists them.")


@session_app.command("close")
def session_close(
    session_id: Annotated[str, typer.Argument(metavar="ID", help="ps_...")],
    amount: Annotated[
        int, typer.Option(min=0, help="What the driver pays, in minor units; 0 releases it all.")
    ],
    reason: Annotated[str, typer.Option(help="Stays in the journal.")],
) -> None:
    """End a payment session in any state; its charge is stopped if one may run."""

    async def end(context: Context) -> str:
        session = await close_manually(
            context,
            SessionId(session_id),
            EVERY_SESSION,
            amount_minor=amount,
            reason=reason[:200],
            by="command line",
        )
        lines = await queries.journal_of(context, session.id, after=0, limit=1000)
        return time_line(session, lines, context.policy)

    try:
        typer.echo(with_context(load_settings(), end))
    except SessionUnknown:
        fail(f"There is no payment session {session_id!r}; `tapwatt sessions` lists them.")
    except AlreadyEnded as error:
        fail(f"{error}.")
    except AboveAuthorized as error:
        fail(f"--amount {error}.")


@session_app.command("show")
def session_show(session_id: Annotated[str, typer.Argument(metavar="ID", help="ps_...")]) -> None:
    """Show one payment session and its time line: every fact, decision and call."""

    async def find(context: Context) -> str | None:
        session = await queries.session(context, SessionId(session_id), EVERY_SESSION)
        if session is None:
            return None
        lines = await queries.journal_of(context, session.id, after=0, limit=1000)
        return time_line(session, lines, context.policy)

    shown = with_context(load_settings(), find)
    if shown is None:
        fail(f"There is no payment session {session_id!r}; `tapwatt sessions` lists them.")
    typer.echo(shown)
