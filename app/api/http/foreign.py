"""Records when a valid key asks for others' sessions. The answer is as if there were none."""

import re

from fastapi import Request

from app.api.http.auth import CALLER, route_of
from app.flows.admin import queries
from app.flows.context import Context
from app.security_log import Act
from app.store.operators.keys import OpsKey
from app.store.operators.terminals import Terminal

SESSION = re.compile(r"/(ps_[0-9a-z]{26})(?=/|$)")


async def note_foreign_access(request: Request) -> None:
    """Counts and logs a call for another caller's session.

    Looks it up in any case, so that the time that a refusal takes says nothing.
    """
    context: Context = request.app.state.context
    named = SESSION.search(request.url.path)
    if named is None or not await queries.session_exists(context, named[1]):
        return
    caller = request.scope.get(CALLER)
    context.telemetry.foreign_access("operations" if isinstance(caller, OpsKey) else "terminal")
    key = (
        caller.caller if isinstance(caller, OpsKey) else caller.key if isinstance(caller, Terminal) else None
    )
    context.security.refused(
        Act.FOREIGN_ACCESS,
        context.clock.monotonic(),
        who=caller.id if isinstance(caller, Terminal) else None,
        key_id=None if key is None else key.id,
        session_id=named[1],
        route=route_of(request),
    )
