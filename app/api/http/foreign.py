"""Records when a valid key asks for what is of others. The answer is as if there were none."""

import re

from fastapi import Request

from app.api.http.auth import CALLER, route_of
from app.domain.units.ids import ChargeId, ChargePointId
from app.flows.admin import queries
from app.flows.context import Context
from app.flows.events.list_events import event_exists
from app.security_log import Act
from app.store.operators.keys import OpsKey
from app.store.operators.terminals import Terminal

SESSION = re.compile(r"/(ps_[0-9a-z]{26})(?=/|$)")
ORPHAN = re.compile(r"/orphans/([0-9]{1,20})(?=/|$)")


async def note_foreign_access(request: Request) -> None:
    """Counts and logs a call for another caller's session or orphan charge.

    Looks it up in any case, so that the time that a refusal takes says nothing.
    """
    context, path = _context(request), request.url.path
    if (named := SESSION.search(path)) is not None:
        if await queries.session_exists(context, named[1]):
            _note(request, session_id=named[1])
    elif (named := ORPHAN.search(path)) is not None and await queries.orphan_exists(
        context, ChargeId(named[1])
    ):
        _note(request, charge_id=named[1])


async def note_foreign_charge_point(request: Request, charge_point_id: ChargePointId) -> None:
    """The same for a charge point that another terminal uses."""
    if await queries.charge_point_is_used(_context(request), charge_point_id):
        _note(request, charge_point_id=charge_point_id)


async def note_foreign_event(request: Request, event_id: str) -> None:
    """The same for an event of another terminal."""
    if await event_exists(_context(request), event_id):
        _note(request, event_id=event_id)


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


def _note(request: Request, **named: str) -> None:
    context, caller = _context(request), request.scope.get(CALLER)
    context.telemetry.foreign_access("operations" if isinstance(caller, OpsKey) else "terminal")
    key = (
        caller.caller if isinstance(caller, OpsKey) else caller.key if isinstance(caller, Terminal) else None
    )
    context.security.refused(
        Act.FOREIGN_ACCESS,
        context.clock.monotonic(),
        who=caller.id if isinstance(caller, Terminal) else None,
        key_id=None if key is None else key.id,
        route=route_of(request),
        **named,
    )
