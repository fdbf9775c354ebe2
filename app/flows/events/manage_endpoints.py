"""Adds, shows, changes, pauses, tests and removes endpoints of terminal makers."""

from base64 import b64encode, urlsafe_b64decode
from collections.abc import Collection, Sequence
from dataclasses import field
from datetime import datetime, timedelta

from app.domain.events.event import EventType
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId, TerminalId
from app.flows.context import Context, OperatorUnknown
from app.flows.make_key import TerminalUnknown
from app.store.db.connection import Connection
from app.store.events import endpoints
from app.store.events.endpoints import Endpoint, Secrets
from app.store.operators import operators, terminals

MOST_ENDPOINTS = 20
"""Endpoints of one operator that are for the same terminals: each of their events has a delivery to every one."""
SECRET_OVERLAP = timedelta(hours=24)
"""How long the secret before a rotation signs too: the maker changes it in the meantime."""


class EndpointUnknown(Exception):
    def __init__(self, endpoint_id: str) -> None:
        super().__init__(f"there is no endpoint {endpoint_id!r}; `tapwatt endpoint list` shows them")


class EndpointRefused(Exception):
    """What was asked of an endpoint is not possible. Says what to do instead."""


@frozen
class AddedEndpoint:
    """`signing_secret` is shown now and never again. `previous_until`: until when the one before signs too."""

    id: str
    signing_secret: str = field(repr=False)
    previous_until: datetime | None = None


@frozen
class ShownEndpoint:
    """An endpoint, and how many deliveries it has not taken yet."""

    endpoint: Endpoint
    waiting: int


async def add_endpoint(
    context: Context,
    *,
    url: str,
    provider: str | None = None,
    terminal_id: TerminalId | None = None,
    operator_id: OperatorId | None = None,
    types: Collection[EventType] = (),
) -> AddedEndpoint:
    """Adds an endpoint for one terminal, or for all of a provider at one operator.

    The operator may be left out where the terminal or the provider names it. Raises OperatorUnknown, TerminalUnknown,
    EndpointRefused.
    """
    secret, now = _signing_secret(context), context.clock.now()
    async with context.database.transaction() as connection:
        owner = await _owner(connection, provider, terminal_id, operator_id)
        known = await endpoints.listed(connection, owner)
        same = [each for each in known if (each.provider, each.terminal_id) == (provider, terminal_id)]
        if len(same) >= MOST_ENDPOINTS:
            raise EndpointRefused(
                f"there are {MOST_ENDPOINTS} endpoints for these terminals, which is the most: remove those not in use"
                " (`tapwatt endpoint list` shows when each last took an event)"
            )
        endpoint = Endpoint(
            id=context.ids.new("whe"),
            operator_id=owner,
            provider=provider,
            terminal_id=terminal_id,
            url=url,
            types=tuple(types),
            created_at=now,
        )
        await endpoints.add(connection, context.operators.box, endpoint, secret)
    return AddedEndpoint(endpoint.id, secret)


async def _owner(
    connection: Connection,
    provider: str | None,
    terminal_id: TerminalId | None,
    operator_id: OperatorId | None,
) -> OperatorId:
    """The operator whose terminals an endpoint is for."""
    if operator_id is not None and not await operators.exists(connection, operator_id):
        raise OperatorUnknown(operator_id)
    if terminal_id is not None:
        terminal = await terminals.terminal_by_id(connection, terminal_id)
        if terminal is None or operator_id not in (None, terminal.operator_id):
            raise TerminalUnknown(terminal_id)
        return terminal.operator_id
    if operator_id is not None:
        return operator_id
    found = await endpoints.operators_of(connection, provider or "")
    if len(found) != 1:
        raise EndpointRefused(
            f"{len(found)} operators have terminals of the provider {provider!r}: say which one with --operator"
        )
    return found[0]


async def list_endpoints(context: Context, operator_id: OperatorId | None = None) -> Sequence[ShownEndpoint]:
    """Endpoints of one operator or of all, oldest first. Raises OperatorUnknown."""
    async with context.database.read() as connection:
        if operator_id is not None and not await operators.exists(connection, operator_id):
            raise OperatorUnknown(operator_id)
        found = await endpoints.listed(connection, operator_id)
        waiting = await endpoints.count_waiting(connection, operator_id)
    return [ShownEndpoint(each, waiting.get(each.id, 0)) for each in found]


async def show_endpoint(context: Context, endpoint_id: str) -> ShownEndpoint:
    """One endpoint. Raises EndpointUnknown."""
    async with context.database.read() as connection:
        endpoint = await endpoints.get(connection, endpoint_id)
        if endpoint is None:
            raise EndpointUnknown(endpoint_id)
        waiting = await endpoints.count_waiting(connection, endpoint.operator_id)
    return ShownEndpoint(endpoint, waiting.get(endpoint_id, 0))


async def change_endpoint(
    context: Context,
    endpoint_id: str,
    *,
    url: str | None = None,
    types: Collection[EventType] | None = None,
) -> ShownEndpoint:
    """Changes URL or events, None: as it is. The secret stays. What waits is sent to the new URL, at once.

    Raises EndpointUnknown, SecretUnreadable.
    """
    async with context.database.transaction() as connection:
        locked = await _locked(connection, endpoint_id)
        await endpoints.change(connection, context.operators.box, locked, url=url, types=types)
        if url is not None and locked.paused_at is None:
            await endpoints.resume(connection, endpoint_id, context.clock.now())
    return await show_endpoint(context, endpoint_id)


async def pause_endpoint(context: Context, endpoint_id: str) -> ShownEndpoint:
    """Sends nothing more to an endpoint; its events wait. Repeatable. Raises EndpointUnknown."""
    async with context.database.transaction() as connection:
        await _locked(connection, endpoint_id)
        await endpoints.pause(connection, endpoint_id, context.clock.now())
    return await show_endpoint(context, endpoint_id)


async def resume_endpoint(context: Context, endpoint_id: str) -> ShownEndpoint:
    """Sends what waits at once, also to one that failed. Raises EndpointUnknown."""
    async with context.database.transaction() as connection:
        await _locked(connection, endpoint_id)
        await endpoints.resume(connection, endpoint_id, context.clock.now())
    return await show_endpoint(context, endpoint_id)


async def rotate_secret(context: Context, endpoint_id: str, *, at_once: bool = False) -> AddedEndpoint:
    """Makes a new signing secret. The one before signs too for SECRET_OVERLAP, so that either verifies.

    `at_once`: the one before is forgotten now, for one that leaked or is damaged. Raises EndpointUnknown,
    SecretUnreadable.
    """
    secret = _signing_secret(context)
    until = None if at_once else context.clock.now() + SECRET_OVERLAP
    async with context.database.transaction() as connection:
        locked = await _locked(connection, endpoint_id)
        await endpoints.replace_secret(connection, context.operators.box, locked, secret, until=until)
    return AddedEndpoint(endpoint_id, secret, until)


async def remove_endpoint(context: Context, endpoint_id: str) -> None:
    """Removes an endpoint; what it has not taken is not sent. Raises EndpointUnknown."""
    async with context.database.transaction() as connection:
        await _locked(connection, endpoint_id)
        await endpoints.remove(connection, endpoint_id)


async def address_of(context: Context, endpoint_id: str) -> tuple[Endpoint, Secrets]:
    """An endpoint and what deliveries to it are signed with. Raises EndpointUnknown, SecretUnreadable."""
    async with context.database.read() as connection:
        endpoint = await endpoints.get(connection, endpoint_id)
        if endpoint is None:
            raise EndpointUnknown(endpoint_id)
        box, now = context.operators.box, context.clock.now()
        return endpoint, await endpoints.secrets_of(connection, box, endpoint_id, now)


async def _locked(connection: Connection, endpoint_id: str) -> Endpoint:
    endpoint = await endpoints.lock(connection, endpoint_id)
    if endpoint is None:
        raise EndpointUnknown(endpoint_id)
    return endpoint


def _signing_secret(context: Context) -> str:
    """`whsec_` and 32 random bytes in base64, as Standard Webhooks say."""
    token = context.ids.secret("whsec").partition("_")[2]
    return f"whsec_{b64encode(urlsafe_b64decode(token + '=')).decode()}"
