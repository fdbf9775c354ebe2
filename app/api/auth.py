"""Who calls: a terminal by its key, or operations by theirs."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.problems import Problem
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
    tools: ToolsHere, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(terminal_bearer)]
) -> Terminal:
    async with tools.database.transaction() as connection:
        terminal = await terminals.terminal_by_key(connection, _key(bearer))
    if terminal is None:
        raise _unauthorized()
    return terminal


async def _ops_key(
    tools: ToolsHere, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(ops_bearer)]
) -> OpsKey:
    async with tools.database.transaction() as connection:
        key = await terminals.ops_key_by_key(connection, _key(bearer))
    if key is None:
        raise _unauthorized()
    return key


def _key(bearer: HTTPAuthorizationCredentials | None) -> str:
    if bearer is None or not bearer.credentials or len(bearer.credentials) > MAX_KEY_CHARS:
        raise _unauthorized()
    return bearer.credentials


def _unauthorized() -> Problem:
    return Problem(
        "unauthorized",
        "Send a valid key as `Authorization: Bearer <key>`.",
        headers={"WWW-Authenticate": "Bearer"},
    )


CallingTerminal = Annotated[Terminal, Depends(_terminal)]
CallingOps = Annotated[OpsKey, Depends(_ops_key)]
