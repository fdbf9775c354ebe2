"""Watchers that die, stall or lose their lease at a chosen point: made of the same steps as the real one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.units.ids import SessionId
from app.flows.context import LeaseLost
from app.flows.session.advance import Advanced, advance
from app.flows.session.start_charge import start_charge
from app.store.db.database import Database
from app.store.sessions import leases, payment_sessions
from app.store.sessions.leases import Lease
from app.watcher import Watcher
from tests.journeys.rig import Rig


async def claim(rig: Rig, owner: str = "another watcher") -> Lease:
    """Take the one session that is due, as a watcher does."""
    now = rig.context.clock.now()
    async with rig.context.database.transaction() as connection:
        (lease,) = await leases.claim(
            connection, owner=owner, now=now, until=now + timedelta(seconds=rig.context.lease_s), limit=1
        )
    return lease


async def intend(rig: Rig) -> tuple[Lease, Advanced]:
    """Claim the session that is due and commit the intent of its next call, which is not made."""
    lease = await claim(rig)
    return lease, await advance(rig.context, lease)


class Stalling(Database):
    """Time passes before a transaction begins, as for a process that stands still: what it read of the clock is old."""

    def __init__(self, rig: Rig, seconds: float) -> None:
        self._rig = rig
        self._seconds = seconds

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        await self._rig.clock.advance(self._seconds)
        async with self._rig.context.database.transaction() as connection:
            yield connection


async def killed_in_mid_call(rig: Rig, after_s: float) -> None:
    """A watcher is killed while its call is under way; the row keeps its lease."""
    watcher = asyncio.ensure_future(Watcher(rig.context, name="killed").run_due())
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
    """A watcher is killed between Monta's answer to its POST and the commit of it: nothing of it is on record."""
    lease, decided = await intend(rig)
    dead = replace(lease, token=lease.token + 1)
    with contextlib.suppress(LeaseLost):
        await start_charge(rig.context, dead, decided.session, decided_at_s=decided.decided_at_s)


async def row_of(rig: Rig, session_id: str) -> object:
    """The session as it is in the database, for `nothing changed`."""
    async with rig.context.database.transaction() as connection:
        return await payment_sessions.get(connection, SessionId(session_id))
