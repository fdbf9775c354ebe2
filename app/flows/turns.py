"""Turns of claimed sessions: those that come together share one transaction."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from app.domain.session.machine import Call, Change, SendStop, StopDuplicate, Wait
from app.domain.session.payment_session import PaymentSession
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId
from app.store.db.database import RowLocked, is_away
from app.store.db.group_commit import GroupCommit
from app.store.sessions.leases import Lease

Edit: TypeAlias = Callable[[Change], Change]
"""What came of a call, as a change of its session. It may be applied again, when a transaction is repeated."""

WAIT_AT_ONCE = 4
"""Transactions that wait for a row which another has locked, at the same time. As many for stops."""
AGAIN_S = 0.05
"""Pause before a turn that finds no place among them tries again, with others."""
TRIES = 60
"""Such pauses at most, about as long as a statement waits for a lock."""


@frozen
class Advanced:
    """What was decided and committed: the call to make, or Wait. After Wait the lease is released."""

    step: Call | Wait
    session: PaymentSession
    released: bool
    adopted: bool
    """The session took its charge in this step, or since this claim began."""
    decided_at_s: float
    """Monotonic time of the decision, which the intent carries. The send guard counts from here, as the quiet window
    does: counted from the commit, a process that was suspended before it could send after that window."""
    provider: str
    """Of the session's terminal, as Monta's receipts show it."""


@dataclass(slots=True, eq=False)
class Turn:
    """One claimed session's part of a transaction. What came of its call is applied, then its next step decided."""

    lease: Lease
    outcome: Edit | None = None
    previous: Advanced | None = None
    """The step before, in the same claim."""
    decides: bool = True
    """False: only the outcome is saved."""
    saved: PaymentSession | None = None
    advanced: Advanced | None = None
    error: Exception | None = None
    """What this session's own rules raised, or LeaseLost. The outcome of its call is saved all the same."""

    @property
    def urgent(self) -> bool:
        """Whether it is about a stop. Such turns wait for no others, and use the connections kept for stops."""
        step = None if self.previous is None else self.previous.step
        return self.lease.for_stop or isinstance(step, SendStop | StopDuplicate)

    @property
    def is_taken(self) -> bool:
        return self.saved is not None or self.error is not None

    def begin(self) -> None:
        """Forgets what a transaction that did not commit had made of it."""
        self.saved = self.advanced = self.error = None


class Take(Protocol):
    """Takes turns in one transaction, and waits `for_rows` that others have locked, or leaves them out."""

    async def __call__(self, turns: Sequence[Turn], *, for_rows: bool) -> None: ...


class Turns:
    """Takes a turn at once when no other is under way. What comes meanwhile shares the next transaction.

    A transaction sees one operator's rows, so each operator has a group. Turns about stops have transactions of their
    own, on the connections that are kept for them. None waits for a row that another transaction has locked: such a
    turn has a transaction of its own.
    """

    def __init__(self, take: Take) -> None:
        self._take = take
        self._waiting = Counter[bool]()
        """Transactions that wait for locked rows, those about stops and others."""
        self._groups: dict[tuple[OperatorId, bool], GroupCommit[Turn]] = {}

    async def advance(
        self, lease: Lease, previous: Advanced | None = None, outcome: Edit | None = None
    ) -> Advanced:
        """Applies the outcome of the last call, and decides. Raises LeaseLost, and what the session's rules raise."""
        turn = await self._taken(Turn(lease, outcome, previous))
        assert turn.advanced is not None, "a turn that raised nothing has decided"
        return turn.advanced

    async def commit(self, lease: Lease, previous: Advanced, outcome: Edit) -> PaymentSession:
        """Saves the outcome of a call without deciding. Raises LeaseLost."""
        turn = await self._taken(Turn(lease, outcome, previous, decides=False))
        assert turn.saved is not None, "a turn that raised nothing is saved"
        return turn.saved

    async def _taken(self, turn: Turn) -> Turn:
        key = (turn.lease.operator_id, turn.urgent)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = GroupCommit(self._take_together)
        await group.put(turn)
        for _ in range(TRIES):
            if turn.is_taken:
                break
            if self._waiting[turn.urgent] < WAIT_AT_ONCE:
                await self._take_alone(turn)
            else:
                await asyncio.sleep(AGAIN_S)
                await group.put(turn)
        if not turn.is_taken:
            raise RowLocked
        if turn.error is not None:
            raise turn.error
        return turn

    async def _take_alone(self, turn: Turn) -> None:
        """Takes a turn whose row another transaction had locked. It waits for that one."""
        self._waiting[turn.urgent] += 1
        try:
            await self._take([turn], for_rows=True)
        finally:
            self._waiting[turn.urgent] -= 1

    async def _take_together(self, turns: Sequence[Turn]) -> None:
        """Takes turns of one transaction. One that the database refuses is repeated turn by turn, by the group.

        Not one whose connection was lost: it may have been committed, and what came of a call is applied once.
        """
        try:
            await self._take(turns, for_rows=False)
        except Exception as error:
            if not is_away(error):
                raise
            for turn in turns:
                turn.error = error
