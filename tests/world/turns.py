"""Whose turn it is: of all that wait, the seed lets one go on, and the others wait until it rests again."""

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Protocol


class Member(Protocol):
    """Somebody whose tasks take turns."""

    @property
    def may_go_on(self) -> bool:
        """False while frozen, and for ever once dead."""
        ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    member: Member
    turn: asyncio.Future[None]


class Turns:
    """`choose` is the loop's: it is asked when everybody rests."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._waiting: list[_Waiting] = []

    async def mine(self, member: Member) -> None:
        """Return when it is our turn; never, if the member dies first."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(member, turn))
        await turn

    def choose(self) -> bool:
        """Let one go on; False when nobody can."""
        self._waiting = [w for w in self._waiting if not w.turn.done()]
        ready = [w for w in self._waiting if w.member.may_go_on]
        if not ready:
            return False
        chosen = ready[self._rng.randrange(len(ready))]
        self._waiting.remove(chosen)
        chosen.turn.set_result(None)
        return True
