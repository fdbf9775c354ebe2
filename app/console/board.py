"""Keeps what the page Live shows, and sends differences. One read a second for all viewers of an operator."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from app.api.http.live import SessionChanges
from app.console.views.formats import amount, epoch_ms, since
from app.console.views.rows import Row, row_of
from app.domain.session.payment_session import PaymentSession, Status
from app.domain.units.ids import OperatorId, SessionId
from app.flows.console import live
from app.flows.console.health import UNCONFIRMED_AFTER
from app.flows.console.live import LiveChanges
from app.flows.console.sign_in import still_signed_in
from app.flows.context import Context

log = structlog.get_logger("console")

EVERY_S = 1.0
MOST_BOARDS = 50
"""Boards of operators kept in memory; one without viewers makes room."""
KEPT = timedelta(minutes=5)
"""How long a session stays on the page after its end."""
MOST_ENDED = 200
REMEMBERED = 60
"""Refreshes for which removed rows are known. A viewer that is further behind gets all rows."""

_VIEWERS = itertools.count(1)


@dataclass(slots=True)
class _Known:
    """A session on the board. `changed`: the number of the refresh that brought its row."""

    row: Row
    currency: str
    runs: bool
    changed: int
    ended_at: datetime | None = None
    stopping_since: datetime | None = None
    """When a stop was decided that is not confirmed."""


@dataclass(slots=True)
class Board:
    """The sessions of one operator, or of all, as last refreshed."""

    context: Context
    operator_id: OperatorId | None
    number: int = 0
    """Of the last refresh."""
    tiles: Mapping[str, object] = field(default_factory=dict)
    now: datetime | None = None
    failing: bool = False
    """The last refresh failed; most often the database does not answer."""
    viewers: dict[int, str] = field(default_factory=dict)
    """The tokens of those who watch, by a number of the viewer."""
    _sessions: dict[SessionId, _Known] = field(default_factory=dict)
    _gone: dict[SessionId, int] = field(default_factory=dict)
    _refreshing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _refreshed: asyncio.Event = field(default_factory=asyncio.Event)
    _sent: dict[int, bytes] = field(default_factory=dict)
    """Encoded differences since a refresh, made once for all viewers."""
    _task: "asyncio.Task[None] | None" = None

    def rows(self) -> list[Row]:
        return sorted((known.row for known in self._sessions.values()), key=lambda row: row["order"])

    async def refresh(self) -> None:
        """Reads what changed since the last refresh."""
        async with self._refreshing:
            known = {i: k.row["version"] for i, k in self._sessions.items() if k.runs}
            changes = await live.read_changes(self.context, self.operator_id, known)
            self.number += 1
            for session in changes.changed:
                self._put(session, changes)
            self._forget(changes.now)
            self.now, self.tiles = changes.now, self._tiles(changes)
            self._sent.clear()

    def _put(self, session: PaymentSession, changes: LiveChanges) -> None:
        stop = session.stop if session.status is Status.STOPPING else None
        self._sessions[session.id] = _Known(
            row=row_of(session, changes.names, self.context.policy),
            currency=session.authorization.currency,
            runs=session.id in changes.running,
            changed=self.number,
            ended_at=session.updated_at if session.ended else None,
            stopping_since=stop.decided_at if stop and stop.confirmed_at is None else None,
        )
        self._gone.pop(session.id, None)

    def _forget(self, now: datetime) -> None:
        """Removes sessions that ended a while ago, and surplus ones."""
        over = [i for i, k in self._sessions.items() if not k.runs]
        over.sort(key=lambda i: self._sessions[i].ended_at or now)
        surplus = len(over) - MOST_ENDED
        for place, session_id in enumerate(over):
            ended_at = self._sessions[session_id].ended_at
            if place < surplus or ended_at is None or ended_at < now - KEPT:
                del self._sessions[session_id]
                self._gone[session_id] = self.number
        self._gone = {i: at for i, at in self._gone.items() if at > self.number - REMEMBERED}

    def _tiles(self, changes: LiveChanges) -> Mapping[str, object]:
        runs = [known for known in self._sessions.values() if known.runs]
        unconfirmed = changes.now - UNCONFIRMED_AFTER
        sums: dict[str, tuple[int, int]] = {}
        for known in runs:
            authorized, used = sums.get(known.currency, (0, 0))
            row = known.row
            sums[known.currency] = (authorized + row["authorized_minor"], used + row["used_minor"])
        return {
            "running": str(len(runs)),
            "charging": str(sum(1 for known in runs if known.row["status"] == "charging")),
            "authorized": _per_currency({c: a for c, (a, _) in sums.items()}),
            "used": _per_currency({c: u for c, (_, u) in sums.items()}),
            "attention": str(changes.needs_attention),
            "overdue": str(changes.captures_overdue),
            "unconfirmed": str(sum(1 for k in runs if k.stopping_since and k.stopping_since <= unconfirmed)),
            "out": str(changes.out_of_service),
            "oldest_due": "none"
            if changes.oldest_due_at is None
            else since(changes.oldest_due_at, changes.now),
        }

    def difference(self, seen: int) -> bytes:
        """What changed after the refresh of this number, as a server-sent event. 0, or too long ago: all rows."""
        if seen not in self._sent:
            whole = seen == 0 or seen < self.number - REMEMBERED
            changed = [k for k in self._sessions.values() if whole or k.changed > seen]
            body = {
                "now": epoch_ms(self.now),
                "all": whole,
                "tiles": self.tiles,
                "rows": [known.row for known in changed],
                "gone": [] if whole else [i for i, at in self._gone.items() if at > seen],
            }
            text = json.dumps(body, separators=(",", ":"))
            self._sent[seen] = f"event: update\ndata: {text}\n\n".encode()
        return self._sent[seen]

    async def watch(self, token: str, closing: SessionChanges) -> AsyncGenerator[bytes, None]:
        """Sends changes until the console session or the process ends."""
        me = next(_VIEWERS)
        self.viewers[me] = token
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(closing))
        seen = 0
        try:
            yield b"retry: 2000\n\n"
            while me in self.viewers and not closing.closed:
                if self.failing:
                    yield b"event: away\ndata: {}\n\n"
                elif self.number > seen:
                    seen, difference = self.number, self.difference(seen)
                    yield difference
                await self._refreshed.wait()
            yield b"event: over\ndata: {}\n\n"
        finally:
            self.viewers.pop(me, None)

    async def _run(self, closing: SessionChanges) -> None:
        """Refreshes once a second while anyone watches. Lets those go who are no longer signed in."""
        while self.viewers and not closing.closed:
            try:
                await self.refresh()
                valid = await still_signed_in(self.context, list(set(self.viewers.values())))
                self.viewers = {me: token for me, token in self.viewers.items() if token in valid}
                self.failing = False
            except Exception as error:  # viewers are told, and the next refresh tries again
                log.warning("console_refresh_failed", error=type(error).__name__)
                self.failing = True
            self._publish()
            await closing.closed_within(EVERY_S)
        self._publish()

    def _publish(self) -> None:
        """Wakes all viewers; each goes on to wait for the next refresh."""
        self._refreshed.set()
        self._refreshed = asyncio.Event()


def _per_currency(sums: Mapping[str, int]) -> str:
    return (
        " + ".join(f"{amount(minor, currency)} {currency}" for currency, minor in sorted(sums.items())) or "0"
    )


@dataclass(slots=True)
class Boards:
    """This process's boards: one an operator, one for unlimited keys."""

    _boards: dict[OperatorId | None, Board] = field(default_factory=dict)

    def of(self, context: Context, operator_id: OperatorId | None) -> Board:
        board = self._boards.get(operator_id)
        if board is None or board.context is not context:
            idle = [scope for scope, each in self._boards.items() if not each.viewers]
            if len(self._boards) >= MOST_BOARDS and idle:
                del self._boards[idle[0]]
            board = self._boards[operator_id] = Board(context, operator_id)
        return board
