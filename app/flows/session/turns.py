"""Advances a watcher's sessions, those whose turns come together in one transaction."""

from collections.abc import Sequence

from app.domain.session.payment_session import PaymentSession
from app.flows.context import Context
from app.flows.group_commit import GroupCommit
from app.flows.session.advance import Advanced, Edit, Turn, take_turns
from app.store.sessions.leases import Lease


class Turns:
    """Takes a turn at once when no other is under way; what comes meanwhile shares the next transaction.

    Turns about stops have transactions of their own, on the connections that are kept for them.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._groups = {urgent: GroupCommit(self._take) for urgent in (False, True)}

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
        await self._groups[turn.urgent].put(turn)
        if not turn.is_taken:  # another transaction had locked its row: it waits for that one alone
            await self._take([turn])
        if turn.error is not None:
            raise turn.error
        return turn

    async def _take(self, turns: Sequence[Turn]) -> None:
        await take_turns(self.context, turns)
