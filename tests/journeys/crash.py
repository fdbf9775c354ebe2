"""Watchers that crash, freeze or lose their lease at a chosen point, made of the real watcher's steps."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from functools import partial

from app.domain.units.ids import SessionId
from app.flows.session.advance import advance, take_turns
from app.flows.session.start_charge import start_charge
from app.flows.turns import Advanced, Turns
from app.store.db.connection import Connection
from app.store.db.database import Database
from app.store.sessions import leases, payment_sessions
from app.store.sessions.leases import Lease
from app.watcher import Watcher
from tests.journeys.rig import Rig, run_due


async def claim(rig: Rig, owner: str = "another watcher") -> Lease:
    """Claims the one session that is due, as a watcher does."""
    now = rig.context.clock.now()
    async with rig.context.database.transaction() as connection:
        (lease,) = await leases.claim(
            connection, owner=owner, now=now, until=now + timedelta(seconds=rig.context.lease_s), limit=1
        )
    return lease


async def intend(rig: Rig) -> tuple[Lease, Advanced]:
    """Claims the session that is due and commits the intent of its next call, which is not made."""
    lease = await claim(rig)
    return lease, await advance(rig.context, lease)


class Stalling(Database):
    """Passes time before a transaction begins, as for a frozen process: the time it read is old."""

    def __init__(self, rig: Rig, seconds: float) -> None:
        self._rig = rig
        self._seconds = seconds

    def read(self, *, urgent: bool = False) -> AbstractAsyncContextManager[Connection]:
        return self.transaction()

    @asynccontextmanager
    async def transaction(
        self, *, urgent: bool = False, lock_ms: int | None = None
    ) -> AsyncIterator[Connection]:
        await self._rig.clock.advance(self._seconds)
        async with self._rig.context.database.transaction() as connection:
            yield connection


async def killed_in_mid_call(rig: Rig, after_s: float) -> None:
    """Kills a watcher while its call is under way; the row keeps its lease."""
    watcher = asyncio.ensure_future(run_due(Watcher(rig.context, name="killed")))
    while not rig.clock.sleepers:
        await asyncio.wait(
            {watcher, asyncio.ensure_future(rig.clock.slept.wait())}, return_when="FIRST_COMPLETED"
        )
    watchers, rig.watchers = rig.watchers, []
    await rig.pass_time(after_s)
    watcher.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watcher
    rig.watchers = watchers


async def post_and_forget(rig: Rig) -> None:
    """Kills a watcher between Monta's answer to its POST and its commit: the answer is not recorded."""
    _, decided = await intend(rig)
    await start_charge(rig.context, decided)


async def call(rig: Rig, lease: Lease, decided: Advanced) -> None:
    """Makes the start that was decided, and commits what came of it."""
    outcome = await start_charge(rig.context, decided)
    await Turns(partial(take_turns, rig.context)).commit(lease, decided, outcome)


async def row_of(rig: Rig, session_id: str) -> object:
    """Returns the session as stored, to check that nothing changed."""
    async with rig.context.database.transaction() as connection:
        return await payment_sessions.get(connection, SessionId(session_id))
