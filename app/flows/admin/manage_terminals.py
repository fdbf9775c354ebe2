"""Shows, changes, removes and imports terminals. Their names and charge points; hundreds at once."""

from collections.abc import Collection, Sequence

from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargePointId, OperatorId, TerminalId
from app.flows.context import Context, OperatorUnknown
from app.flows.make_key import AddedKey, KeyTerms, TerminalUnknown, make_terminal_keys
from app.store import removal
from app.store.db.connection import Connection
from app.store.operators import jobs, operators, terminals
from app.store.operators.jobs import Job
from app.store.operators.terminals import ListedTerminal, Terminal


class TerminalInUse(Exception):
    """The terminal has history and cannot be removed. Says what to do instead."""


class ChangeRefused(Exception):
    """What was asked of a terminal is not possible; nothing was changed. Says what to do instead."""


class NamesTaken(Exception):
    def __init__(self, names: Sequence[str]) -> None:
        shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        super().__init__(
            f"Nothing was added: this operator has terminals of these names already: {shown}. Leave these rows out."
        )


@frozen(kw_only=True)
class NewTerminal:
    provider: str
    name: str
    charge_point_ids: Sequence[ChargePointId]


@frozen(kw_only=True)
class TerminalChange:
    """What to change; None: as it is. `charge_points` replaces all, then `add` and `remove` apply."""

    name: str | None = None
    charge_points: Collection[ChargePointId] | None = None
    add: Collection[ChargePointId] = ()
    remove: Collection[ChargePointId] = ()

    def of(self, present: Collection[ChargePointId]) -> set[ChargePointId]:
        """The charge points after the change."""
        base = set(present if self.charge_points is None else self.charge_points)
        return (base | set(self.add)) - set(self.remove)

    def problem(self, present: Collection[ChargePointId]) -> str | None:
        """Why it cannot be done; None: it can."""
        if both := sorted(set(self.add) & set(self.remove)):
            return f"charge point {both[0]} is to be added and removed: say which"
        base = present if self.charge_points is None else self.charge_points
        if strange := sorted(set(self.remove) - set(base)):
            return f"it has no charge point {strange[0]}; `tapwatt terminal show` lists those that it has"
        if not self.of(present):
            return "it would have no charge points: revoke its keys (`tapwatt terminal key revoke`) instead"
        return None


async def require(
    context: Context, operator_id: OperatorId | None, terminal_id: TerminalId | None = None
) -> None:
    """Checks the ids that a report is limited to. With a wrong one it would be empty, and look as if all were well.

    Raises OperatorUnknown, TerminalUnknown.
    """
    async with context.database.read() as connection:
        if operator_id is not None and not await operators.exists(connection, operator_id):
            raise OperatorUnknown(operator_id)
        terminal = None if terminal_id is None else await terminals.terminal_by_id(connection, terminal_id)
    if terminal_id is not None and (terminal is None or operator_id not in (None, terminal.operator_id)):
        raise TerminalUnknown(terminal_id)


async def list_terminals(context: Context, operator_id: OperatorId | None) -> Sequence[ListedTerminal]:
    """Terminals of one operator or of all, oldest first. Raises OperatorUnknown."""
    async with context.database.read() as connection:
        if operator_id is not None and not await operators.exists(connection, operator_id):
            raise OperatorUnknown(operator_id)
        return await terminals.listed(connection, operator_id=operator_id)


async def show_terminal(context: Context, terminal_id: TerminalId) -> ListedTerminal:
    """One terminal. Raises TerminalUnknown."""
    async with context.database.read() as connection:
        return await _known(connection, terminal_id)


async def change_terminal(
    context: Context, terminal_id: TerminalId, change: TerminalChange
) -> ListedTerminal:
    """Changes a terminal's name or charge points. New charge points are read from Monta next, sessions that run go on.
    Raises TerminalUnknown, ChangeRefused."""
    async with context.database.transaction() as connection:
        known = await _known(connection, terminal_id)
        terminal = known.terminal
        if why := change.problem(known.charge_point_ids):
            raise ChangeRefused(f"Nothing was changed of terminal {terminal_id!r}: {why}.")
        if change.name is not None:
            await terminals.rename(connection, terminal_id, change.name)
        wanted = change.of(known.charge_point_ids)
        await terminals.unassign(connection, terminal_id, sorted(set(known.charge_point_ids) - wanted))
        if added := sorted(wanted - set(known.charge_point_ids)):
            await terminals.assign(connection, terminal, added)
            await jobs.make_due(connection, terminal.operator_id, Job.SYNC, context.clock.now())
        return await _known(connection, terminal_id)


async def remove_terminal(context: Context, terminal_id: TerminalId) -> None:
    """Removes a terminal that never had a session, with its keys. Raises TerminalUnknown, TerminalInUse."""
    async with context.database.transaction() as connection:
        await _known(connection, terminal_id)
        count = await removal.count_sessions(connection, terminal_id=terminal_id)
        if count:
            raise TerminalInUse(
                f"terminal {terminal_id!r} has {count} payment sessions, the record of money, which is kept: revoke its"
                " keys instead with `tapwatt terminal key revoke`"
            )
        await removal.remove_terminal(connection, terminal_id)


async def import_terminals(
    context: Context, operator_id: OperatorId, rows: Sequence[NewTerminal], key: KeyTerms
) -> list[AddedKey]:
    """Adds all of these terminals, each with a key, or none. Raises OperatorUnknown, NamesTaken."""
    now = context.clock.now()
    async with context.database.transaction() as connection:
        if not await operators.exists(connection, operator_id):
            raise OperatorUnknown(operator_id)
        known = {each.terminal.name for each in await terminals.listed(connection, operator_id=operator_id)}
        if taken := [row.name for row in rows if row.name in known]:
            raise NamesTaken(taken)
        new = [
            Terminal(TerminalId(context.ids.new("trm")), operator_id, row.provider, row.name) for row in rows
        ]
        await terminals.add_terminals(connection, new, now)
        points = [(each, row.charge_point_ids) for each, row in zip(new, rows, strict=True)]
        await terminals.assign_all(connection, points)
        added = await make_terminal_keys(context, connection, key, operator_id, [each.id for each in new])
        await jobs.make_due(connection, operator_id, Job.SYNC, now)
    return added


async def _known(connection: Connection, terminal_id: TerminalId) -> ListedTerminal:
    found = await terminals.listed(connection, terminal_id=terminal_id)
    if not found:
        raise TerminalUnknown(terminal_id)
    return found[0]
