"""Shows operators, changes their accounts at Monta, disables and removes them."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime

from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId
from app.flows.context import Context, OperatorUnknown
from app.store import removal
from app.store.db.connection import Connection
from app.store.operators import jobs, monta_access, operator_state
from app.store.operators.jobs import Job
from app.store.operators.operator_state import OperatorFacts
from app.store.sessions import holds


class OperatorInUse(Exception):
    """The operator has terminals or history and cannot be removed. Says what to do instead."""


@frozen(kw_only=True)
class OperatorDetails:
    """`columns`: the settings that are no secrets, by name. `hold_days`: card scheme and days."""

    facts: OperatorFacts
    columns: Mapping[str, object]
    hold_days: Sequence[tuple[str, int]]
    terminals: int
    sessions: int

    @property
    def disabled_at(self) -> datetime | None:
        return self.facts.disabled_at


@frozen(kw_only=True)
class AccountChange:
    """What to change of an operator's account at Monta; None: as it is."""

    name: str | None = None
    monta_url: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    paying_team_id: str | None = None
    time_zone: str | None = None


async def details_of(context: Context, operator_id: OperatorId) -> OperatorDetails:
    """An operator without its secrets, so also one whose secrets are damaged. Raises OperatorUnknown."""
    async with context.database.read() as connection:
        return await _details(connection, operator_id)


async def change_account(context: Context, operator_id: OperatorId, change: AccountChange) -> OperatorDetails:
    """Changes an account; the next sync compares it with Monta. Tokens of the account before are not used again.

    With a new client secret the present one need not be readable. Raises OperatorUnknown, SecretUnreadable.
    """
    now = context.clock.now()
    async with context.database.transaction() as connection:
        await _details(connection, operator_id)
        await jobs.lock(connection, Job.SYNC, operator_id)
        await context.operators.change_account(
            connection,
            operator_id,
            client_secret=change.client_secret,
            name=change.name,
            monta_url=change.monta_url and change.monta_url.rstrip("/"),
            client_id=change.client_id,
            paying_team_id=change.paying_team_id,
            time_zone=change.time_zone,
        )
        if change.monta_url or change.client_id or change.client_secret:
            await monta_access.forget_tokens(connection, operator_id)
        for job in (Job.SYNC, Job.CHECK_CREDENTIAL):
            await jobs.make_due(connection, operator_id, job, now)
        return await _details(connection, operator_id)


async def set_enabled(context: Context, operator_id: OperatorId, *, enabled: bool) -> OperatorDetails:
    """Disables an operator, or enables it again. Disabled, it takes no new payments; what runs goes on. Repeatable.

    Raises OperatorUnknown.
    """
    async with context.database.transaction() as connection:
        await _details(connection, operator_id)
        await operator_state.set_disabled(connection, operator_id, None if enabled else context.clock.now())
        return await _details(connection, operator_id)


async def remove_operator(context: Context, operator_id: OperatorId) -> None:
    """Removes an operator with all that was configured for it. Raises OperatorUnknown, OperatorInUse."""
    async with context.database.transaction() as connection:
        found = await _details(connection, operator_id)
        if found.sessions:
            raise OperatorInUse(
                f"operator {operator_id!r} has {found.sessions} payment sessions, the record of money, which is kept:"
                f" disable it instead with `tapwatt operator disable {operator_id}`, and revoke its keys"
            )
        if found.terminals:
            raise OperatorInUse(
                f"operator {operator_id!r} has {found.terminals} terminals: remove them first with"
                " `tapwatt terminal remove`"
            )
        await removal.remove_operator(connection, operator_id)


async def _details(connection: Connection, operator_id: OperatorId) -> OperatorDetails:
    known = [each for each in await operator_state.facts(connection) if each.id == operator_id]
    if not known:
        raise OperatorUnknown(operator_id)
    return OperatorDetails(
        facts=known[0],
        columns=await operator_state.settings_of(connection, operator_id),
        hold_days=await holds.all_days_of(connection, operator_id),
        terminals=await removal.count_terminals(connection, operator_id),
        sessions=await removal.count_sessions(connection, operator_id=operator_id),
    )
