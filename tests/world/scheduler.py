"""Schedules turns: the seed chooses one waiting member to go on, and the others wait until it waits again."""

import asyncio
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Protocol


class Member(Protocol):
    """A member whose tasks take turns."""

    @property
    def may_go_on(self) -> bool:
        """False while frozen, and permanently once crashed."""
        ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    ticket: int
    member: Member
    turn: asyncio.Future[None]


class Scheduler:
    """`choose` is called by the loop when all members wait."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._waiting: list[_Waiting] = []
        self._tickets = count()

    def ticket(self) -> int:
        """Reserves a position in the queue, for a member that may have to wait later."""
        return next(self._tickets)

    async def mine(self, member: Member) -> None:
        """Returns when it is our turn; never, if the member crashes first."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.enqueue(member, self.ticket(), turn)
        await turn

    def enqueue(self, member: Member, ticket: int, turn: "asyncio.Future[None]") -> None:
        """`turn` is done when it is the member's turn."""
        self._waiting.append(_Waiting(ticket, member, turn))

    def choose(self) -> bool:
        """Lets one go on; False when none can."""
        self._waiting = [w for w in self._waiting if not w.turn.done()]
        ready = sorted((w for w in self._waiting if w.member.may_go_on), key=lambda w: w.ticket)
        if not ready:
            return False
        chosen = ready[self._rng.randrange(len(ready))]
        self._waiting.remove(chosen)
        chosen.turn.set_result(None)
        return True
