"""A process's memory for webhooks: operators, deliveries being written. Operators by endpoint."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from app.domain.charging.charge import PriceUnit
from app.domain.session.states.kept_readings import Told
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId, SessionId
from app.monta.webhook import Entry
from app.store.db.database import Database
from app.store.db.group_commit import GroupCommit, TooManyWaiting, Write
from app.store.operators.operators import Operator
from app.store.sessions.deliveries import KeptDelivery

ENDPOINT_KEPT_S = 1.0
"""How long an endpoint's operator is remembered: a changed webhook secret is valid everywhere after that."""
MOST_ENDPOINTS = 10_000
AT_ONCE = 2
"""Transactions of one operator's deliveries at the same time: one is prepared while another is committed."""
BESIDE = 8
"""Deliveries with which the second one begins at once: a transaction costs as much as 30 of its readings."""
MOST_WAIT_S = 0.3
"""While a delivery waits for longer, the next ones are refused: Monta sends them again, and stops are not late."""
LATE_S = 0.15
"""When a delivery took this long to be kept, the process refuses long polls for LATE_FOR_S: before any delivery."""
LATE_FOR_S = 1.0
WAIT_AT_ONCE = 4
"""Deliveries that wait for a row which another transaction has locked, at the same time. The next ones are refused."""
MOST_LATELY = 10_000
"""Deliveries that are remembered as kept."""
MOST_FILLING = 10_000
"""Sessions of one operator that are remembered as having many kept readings. With so many, no more are added."""
TURNS_OF_OTHERS = 4
"""Turns of the event loop from one step of reading deliveries to the next while other operators are active. A call of
theirs takes five turns or so, and would else wait for a step in each."""
ENTRIES_BESIDE_OTHERS = 40
"""Entries of several deliveries in one transaction while other operators are active, some milliseconds' work."""
MOST_PAUSE_S = 0.02
"""While other operators are active, the next transaction waits for as long as the last one took, and for this at most:
half of the process's and the database's time is left to them."""


@frozen
class _Known:
    operator: Operator
    until_s: float


class Endpoints:
    """Operators by webhook endpoint, for ENDPOINT_KEPT_S; `now_s` is monotonic time."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def get(self, endpoint_id: str, now_s: float) -> Operator | None:
        known = self._known.get(endpoint_id)
        return known.operator if known is not None and now_s < known.until_s else None

    def put(self, endpoint_id: str, operator: Operator, now_s: float) -> Operator:
        if len(self._known) >= MOST_ENDPOINTS:
            self._known.clear()
        self._known[endpoint_id] = _Known(operator, now_s + ENDPOINT_KEPT_S)
        return operator


@dataclass(slots=True, eq=False)
class Signed:
    """A signed delivery: plain readings, other entries, and as it is kept."""

    plain: Sequence[Told]
    others: Sequence[Entry]
    texts: Callable[[], Sequence[bytes]]
    """The texts of the entries of `plain`."""
    unit: PriceUnit
    kept: KeptDelivery
    left: Sequence[bytes] = ()
    """The texts of plain readings that must be applied to their sessions, once the others are kept."""
    is_urgent: bool = False
    """One of them may decide that a charge is stopped."""

    def __len__(self) -> int:
        """Its entries."""
        return len(self.plain) + len(self.others)


def turns_between(database: Database) -> int:
    """Turns of the event loop between two steps of one operator's deliveries."""
    return TURNS_OF_OTHERS if database.serves_others else 1


async def let_others(database: Database) -> None:
    """Lets the process do what else there is, before the next step."""
    for _ in range(turns_between(database)):
        await asyncio.sleep(0)


class OneAtATime:
    """Lets one pass in so many turns of the event loop. Other callers are served between any two."""

    def __init__(self) -> None:
        self._queue: deque[asyncio.Future[None]] = deque()
        self._passing = False
        self._turns = self._left = 1

    async def passed(self, turns: int = 1) -> None:
        self._turns = turns
        if not self._passing:
            self._passing = True
            self._left = turns
            asyncio.get_running_loop().call_soon(self._next)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        await turn

    def _next(self) -> None:
        self._left -= 1
        if self._left > 0:
            asyncio.get_running_loop().call_soon(self._next)
            return
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():  # else its caller has gone away
                turn.set_result(None)
                self._left = self._turns
                asyncio.get_running_loop().call_soon(self._next)
                return
        self._passing = False


class Lately:
    """Digests of deliveries that this process has kept lately.

    Only a hint to look first: the database decides whether a delivery was kept.
    """

    def __init__(self) -> None:
        self._digests: dict[bytes, None] = {}

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._digests

    def add(self, digest: bytes) -> None:
        if len(self._digests) >= MOST_LATELY:
            del self._digests[next(iter(self._digests))]
        self._digests[digest] = None


class Filling:
    """Sessions with many kept readings. By operator, in the order in which they were found.

    Only a hint: what is lost of it is found again with the session's next reading.
    """

    def __init__(self) -> None:
        self._sessions: dict[OperatorId, dict[SessionId, None]] = {}
        self._any = asyncio.Event()

    def add(self, operator_id: OperatorId, session_ids: Sequence[SessionId]) -> None:
        if not session_ids:
            return
        theirs = self._sessions.setdefault(operator_id, {})
        if len(theirs) < MOST_FILLING:
            theirs |= dict.fromkeys(session_ids)
            self._any.set()

    async def next(self, most: int) -> tuple[OperatorId, list[SessionId]]:
        """Waits for sessions, and takes some of one operator. Operators take turns."""
        await self._any.wait()
        operator_id = next(iter(self._sessions))
        theirs = self._sessions.pop(operator_id)
        some = [session_id for session_id, _ in zip(theirs, range(most), strict=False)]
        for session_id in some:
            del theirs[session_id]
        if theirs:
            self._sessions[operator_id] = theirs
        if not self._sessions:
            self._any.clear()
        return operator_id, some


@frozen
class Groups:
    """The group commits of one operator's deliveries."""

    keep: GroupCommit[Signed]
    urgent: GroupCommit[Signed]
    """Deliveries with an entry that may decide something."""
    later: GroupCommit[Signed]
    """Deliveries with nothing but old readings, and such that are saved since many are kept."""


class Deliveries:
    """State of the webhook endpoint in one process."""

    def __init__(self) -> None:
        self.endpoints = Endpoints()
        self.lately = Lately()
        self.filling = Filling()
        self._groups: dict[OperatorId, Groups] = {}
        self._reading: dict[OperatorId, OneAtATime] = {}
        self._late_until_s = -math.inf
        self._waiting = 0

    @contextmanager
    def waiting_for_rows(self) -> Iterator[None]:
        """Counts a delivery that waits for locked rows. Raises TooManyWaiting."""
        if self._waiting >= WAIT_AT_ONCE:
            raise TooManyWaiting
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def took(self, seconds: float, now_s: float) -> None:
        """Notes how long a delivery took; `now_s` is monotonic time."""
        if seconds > LATE_S:
            self._late_until_s = now_s + LATE_FOR_S

    def are_late(self, now_s: float) -> bool:
        """Whether one took too long a moment ago."""
        return now_s < self._late_until_s

    async def next_to_read(self, operator_id: OperatorId, turns: int = 1) -> None:
        """Returns when an operator's next delivery may be read. `turns`: of the event loop, from one to the next."""
        await self._reading.setdefault(operator_id, OneAtATime()).passed(turns)

    def groups(
        self, operator_id: OperatorId, keep: Write[Signed], apply: Write[Signed], database: Database
    ) -> Groups:
        """The group commits of one operator. `keep` and `apply` are used when they are new."""
        known = self._groups.get(operator_id)
        if known is None:
            group = partial(
                GroupCommit[Signed],
                joins=partial(_joins, database),
                most_wait_s=MOST_WAIT_S,
            )
            pause_s = partial(_pause_s, database)
            known = self._groups[operator_id] = Groups(
                keep=group(keep, at_once=AT_ONCE, beside=BESIDE, pause_s=pause_s),
                urgent=group(apply),  # without a pause: a stop waits for no other operator's share
                later=group(apply, pause_s=pause_s),
            )
        return known


def _joins(database: Database, signed: Signed, chosen: Sequence[Signed]) -> bool:
    return not database.serves_others or sum(map(len, chosen)) + len(signed) <= ENTRIES_BESIDE_OTHERS


def _pause_s(database: Database, took_s: float) -> float:
    return min(took_s, MOST_PAUSE_S) if database.serves_others else 0.0
