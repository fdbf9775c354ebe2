"""Who calls: a terminal by its key, or operations by theirs."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.problems import Problem
from app.api.refusals import Door, Refusals
from app.flows.tools import Tools
from app.store import terminals
from app.store.terminals import OpsKey, Terminal

MAX_KEY_CHARS = 200

terminal_bearer = HTTPBearer(
    scheme_name="terminal_key", auto_error=False, description="`tapwatt terminal add` prints it."
)
ops_bearer = HTTPBearer(
    scheme_name="operations_key", auto_error=False, description="`tapwatt ops-key add` prints it."
)


async def tools_of(request: Request) -> Tools:
    """The process's toolbox. A coroutine, since FastAPI runs plain functions in a thread."""
    tools: Tools = request.app.state.tools
    return tools


ToolsHere = Annotated[Tools, Depends(tools_of)]


async def _terminal(
    request: Request,
    tools: ToolsHere,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(terminal_bearer)],
) -> Terminal:
    terminal, key = None, _key(bearer)
    if key is not None:
        async with tools.database.transaction() as connection:
            terminal = await terminals.terminal_by_key(connection, key)
    if terminal is None:
        raise _refused(request, tools, Door.TERMINAL)
    return terminal


async def _ops_key(
    request: Request,
    tools: ToolsHere,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(ops_bearer)],
) -> OpsKey:
    ops_key, key = None, _key(bearer)
    if key is not None:
        async with tools.database.transaction() as connection:
            ops_key = await terminals.ops_key_by_key(connection, key)
    if ops_key is None:
        raise _refused(request, tools, Door.OPERATIONS)
    return ops_key


def _key(bearer: HTTPAuthorizationCredentials | None) -> str | None:
    if bearer is None or not bearer.credentials or len(bearer.credentials) > MAX_KEY_CHARS:
        return None
    return bearer.credentials


def _refused(request: Request, tools: Tools, door: Door) -> Problem:
    refusals: Refusals = request.app.state.refusals
    refusals.count(tools, door)
    return Problem(
        "unauthorized",
        "Send a valid key as `Authorization: Bearer <key>`.",
        headers={"WWW-Authenticate": "Bearer"},
    )


CallingTerminal = Annotated[Terminal, Depends(_terminal)]
CallingOps = Annotated[OpsKey, Depends(_ops_key)]
