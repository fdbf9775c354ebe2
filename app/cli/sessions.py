"""Commands about payment sessions: list, show, settle, acknowledge, close."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from app.cli.common import AsJson, fail, say, with_context
from app.cli.output.json_text import session_text, sessions_text
from app.cli.output.tables import session_table, time_line
from app.domain.session.machine import Caller
from app.domain.session.payment_session import PaymentSession, Status
from app.domain.units.ids import OperatorId, SessionId, TerminalId
from app.flows.admin import queries
from app.flows.admin.acknowledge import AttentionUnknown
from app.flows.admin.acknowledge import acknowledge as acknowledge_item
from app.flows.admin.manage_terminals import require
from app.flows.admin.settle_manually import (
    AboveAuthorized,
    AlreadyEnded,
    AlreadySettled,
    NotEnded,
    close_manually,
    settle_manually,
)
from app.flows.console.session import read_session
from app.flows.context import Context, SessionUnknown
from app.settings import load_settings
from app.store.sessions.session_filter import EVERY_SESSION, SessionFilter

CALLER = Caller("command line", f"user {os.getuid()}")
"""Who settles, acknowledges or closes, in the journal."""
MAX_WORDS = 200
"""Longer reasons and notes are cut, as the API refuses them."""

AnyId = Annotated[
    str | None,
    typer.Option("--id", metavar="ID", help="Only with this id, of the receipt, the charge or the hold."),
]

app = typer.Typer()
session_app = typer.Typer(no_args_is_help=True, help="One payment session.")


@app.command()
def sessions(
    *,
    status: Annotated[Status | None, typer.Option(help="Only sessions with this status.")] = None,
    active: Annotated[bool, typer.Option("--active", help="Only sessions that have not ended.")] = False,
    operator: Annotated[str | None, typer.Option(metavar="OPERATOR", help="Only this operator.")] = None,
    terminal: Annotated[str | None, typer.Option(metavar="TERMINAL", help="Only this terminal.")] = None,
    any_id: AnyId = None,
    limit: Annotated[int, typer.Option(min=1, max=queries.MAX_PAGE)] = 30,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Show them as they change, until Ctrl-C; in a pipe a line a change."),
    ] = False,
    interval: Annotated[
        float, typer.Option(min=0.2, max=3600, help="With --watch: seconds between looks.")
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """List payment sessions, newest first."""
    wanted = SessionFilter(
        status=status,
        active=active,
        operator_id=OperatorId(operator) if operator is not None else None,
        terminal_id=TerminalId(terminal) if terminal is not None else None,
        any_id=any_id,
    )
    if watch:
        if as_json:
            fail("--watch and --json exclude each other.")
        with suppress(KeyboardInterrupt):
            with_context(load_settings(), lambda context: _watch(context, wanted, limit, interval))
        return

    async def find(context: Context) -> str:
        await require(context, wanted.operator_id, wanted.terminal_id)
        page = await queries.sessions(context, wanted, limit=limit)
        shown = sessions_text if as_json else session_table
        return shown(page.sessions, context.policy)

    say(with_context(load_settings(), find))


async def _watch(context: Context, wanted: SessionFilter, limit: int, interval_s: float) -> None:
    """Looks again and again; endless. Sleeps on the machine's clock, also in the demo."""
    from app.cli.output.live import LiveSessions

    live = LiveSessions(context.policy)
    with live.showing():
        while True:
            page = await queries.sessions(context, wanted, limit=limit)
            live.show(page.sessions, context.clock.now())
            await asyncio.sleep(interval_s)


@session_app.command("settle")
def session_settle(
    session_id: Annotated[str, typer.Argument(metavar="ID", help="ps_...")],
    amount: Annotated[int, typer.Option(min=0, help="What the driver pays, in minor units.")],
    reason: Annotated[str, typer.Option(help="Stays in the journal.")],
    as_json: AsJson = False,
) -> None:
    """Settle an ended charge whose price Tapwatt holds for operations."""

    async def settle(context: Context) -> PaymentSession:
        found = SessionId(session_id)
        return await settle_manually(
            context, found, EVERY_SESSION, amount_minor=amount, reason=reason[:MAX_WORDS], by=CALLER
        )

    try:
        _show_after(session_id, settle, as_json=as_json)
    except (NotEnded, AlreadySettled) as error:
        fail(f"{error}.")


@session_app.command("acknowledge")
def session_acknowledge(
    session_id: Annotated[str, typer.Argument(metavar="ID", help="ps_...")],
    code: Annotated[str, typer.Argument(metavar="CODE", help="As `session show` names it.")],
    note: Annotated[str, typer.Option(help="Stays in the journal.")],
    as_json: AsJson = False,
) -> None:
    """Acknowledge why a session needs attention."""

    async def acknowledge(context: Context) -> PaymentSession:
        found = SessionId(session_id)
        return await acknowledge_item(
            context, found, EVERY_SESSION, code=code, by=CALLER, note=note[:MAX_WORDS]
        )

    try:
        _show_after(session_id, acknowledge, as_json=as_json)
    except AttentionUnknown:
        fail(f"This payment session has no attention item {code!r}; `tapwatt session show` lists them.")


@session_app.command("close")
def session_close(
    session_id: Annotated[str, typer.Argument(metavar="ID", help="ps_...")],
    amount: Annotated[
        int, typer.Option(min=0, help="What the driver pays, in minor units; 0 releases it all.")
    ],
    reason: Annotated[str, typer.Option(help="Stays in the journal.")],
    as_json: AsJson = False,
) -> None:
    """End a payment session in any state; its charge is stopped if one may run."""

    async def close(context: Context) -> PaymentSession:
        found = SessionId(session_id)
        return await close_manually(
            context, found, EVERY_SESSION, amount_minor=amount, reason=reason[:MAX_WORDS], by=CALLER
        )

    try:
        _show_after(session_id, close, as_json=as_json)
    except AlreadyEnded as error:
        fail(f"{error}.")
    except AboveAuthorized as error:
        fail(f"--amount {error}.")


@session_app.command("show")
def session_show(
    session_id: Annotated[str, typer.Argument(metavar="ID", help="ps_...")], as_json: AsJson = False
) -> None:
    """Show one payment session and its time line: every fact, decision and call."""

    async def find(context: Context) -> PaymentSession:
        return await queries.session(context, SessionId(session_id), EVERY_SESSION)

    _show_after(session_id, find, as_json=as_json)


def fail_unknown(session_id: str) -> NoReturn:
    """Says how to find the session whose id was not right."""
    find = "`tapwatt sessions` lists them, with --id by the id of a receipt, charge or hold"
    fail(f"There is no payment session {session_id!r}; {find}.")


def _show_after(
    session_id: str, flow: Callable[[Context], Awaitable[PaymentSession]], *, as_json: bool
) -> None:
    """Runs a flow, then prints the session that it returns with its time line."""

    async def run(context: Context) -> str:
        session_id = (await flow(context)).id
        read = await read_session(context, session_id, None)
        if as_json:
            return session_text(read, context.policy)
        return time_line(read, context.policy)

    try:
        say(with_context(load_settings(), run))
    except SessionUnknown:
        fail_unknown(session_id)
