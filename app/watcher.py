"""The front door for time: claim what is due, run its turn and calls, sleep until the next due time."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import assert_never

import structlog

from app.domain.steps import LookUp, ReadCharge, SendStart, SendStop, StopExtra, Wait
from app.flows import enforce, start, track, turn, upkeep
from app.flows.tools import LeaseLost, Tools
from app.store import health, leases
from app.store.leases import Lease, OperatorLease

log = structlog.get_logger("watcher")

MAX_STEPS = 25
"""Steps in one claim; whoever needs more is due again at once, after the others."""
IDLE_S = 1.0
"""Without a notification, what is due is looked for so often: polling alone is correct."""
BEAT_S = 5.0
DRAIN_S = 15.0
"""At the end, work under way may finish for so long; what does not is taken over when its lease ends."""


class Watcher:
    """Runs due sessions and operators; several may run at once, on several machines."""

    def __init__(self, tools: Tools, *, name: str, concurrency: int = 32) -> None:
        self.tools = tools
        self.name = name
        self._free = asyncio.Semaphore(concurrency)
        self._concurrency = concurrency
        self._running: set[asyncio.Task[None]] = set()
        self._held: set[Lease] = set()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()

    def wake(self) -> None:
        """Something is due: look now."""
        self._wake.set()

    def stop(self) -> None:
        """Claim nothing more; `run` returns when what is under way has ended, or after DRAIN_S."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Until `stop`; a failing database is waited for, not died of."""
        beside = [asyncio.create_task(self._beat()), asyncio.create_task(self._keep_leases())]
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                if not await self._survive(self._claim_and_spawn):
                    await self._pause()
        finally:
            if self._running:
                await asyncio.wait(self._running, timeout=DRAIN_S)
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            with contextlib.suppress(Exception):
                async with self.tools.database.transaction() as connection:
                    await health.leave(connection, self.name)

    async def run_due(self) -> int:
        """Run everything that is due now, to its end; returns how many claims that took. The way of the tests."""
        done = 0
        while ran := await self.run_round():
            done += ran
        return done

    async def run_round(self) -> int:
        """Claim what is due now, once, and run that to its end; returns how many claims it was."""
        claimed, operator = await self._claim(self._concurrency)
        await asyncio.gather(*(self._attend(lease) for lease in claimed))
        if operator is not None:
            await self._upkeep(operator)
        return len(claimed) + (operator is not None)

    async def _claim_and_spawn(self) -> None:
        await self._free.acquire()
        self._free.release()
        claimed, operator = await self._claim(max(1, self._concurrency - len(self._running)))
        for lease in claimed:
            await self._spawn(self._attend(lease))
        if operator is not None:
            await self._spawn(self._upkeep(operator))
        elif not claimed:
            await self._pause(await self._until_due())

    async def _spawn(self, work: Awaitable[None]) -> None:
        await self._free.acquire()

        async def run() -> None:
            try:
                await work
            finally:
                self._free.release()

        task = asyncio.create_task(run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _claim(self, limit: int) -> tuple[list[Lease], OperatorLease | None]:
        """Up to `limit` sessions that are due, and an operator if one is."""
        now = self.tools.clock.now()
        until = now + timedelta(seconds=self.tools.lease_s)
        upkeep_until = now + timedelta(seconds=upkeep.LEASE_S)
        async with self.tools.database.transaction() as connection:
            claimed = await leases.claim(connection, owner=self.name, now=now, until=until, limit=limit)
            return claimed, await leases.claim_operator(connection, now=now, until=upkeep_until)

    async def _attend(self, lease: Lease) -> None:
        """Run one session; its failure is its own, never another's (F93)."""
        self._held.add(lease)
        with structlog.contextvars.bound_contextvars(session_id=lease.session_id):
            try:
                await advance(self.tools, lease)
            except LeaseLost:
                log.warning("lease_lost")
            except Exception:
                log.exception("session_failed")
                await self._survive(lambda: self._give_back_failed(lease))
            finally:
                self._held.discard(lease)

    async def _give_back_failed(self, lease: Lease) -> None:
        async with self.tools.database.transaction() as connection:
            await leases.give_back_failed(connection, lease, self.tools.clock.now())

    async def _upkeep(self, lease: OperatorLease) -> None:
        with structlog.contextvars.bound_contextvars(operator_id=lease.operator_id):
            try:
                await upkeep.attend_operator(self.tools, lease)
            except Exception:
                log.exception("upkeep_failed")

    async def _until_due(self) -> float | None:
        """Seconds to the next due time; None: nothing is planned."""
        async with self.tools.database.transaction() as connection:
            due_at = await leases.next_due(connection)
        return None if due_at is None else max(0.0, (due_at - self.tools.clock.now()).total_seconds())

    async def _pause(self, due_in_s: float | None = None) -> None:
        """Until something is due, or we are woken, or IDLE_S of real time have passed."""
        waits: list[Coroutine[object, object, object]] = [asyncio.sleep(IDLE_S), self._wake.wait()]
        if due_in_s is not None:
            waits.append(self.tools.clock.sleep(due_in_s))
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()

    async def _beat(self) -> None:
        while True:
            await self._survive(self._beat_once)
            await self.tools.clock.sleep(BEAT_S)

    async def _keep_leases(self) -> None:
        """A call to Monta may take longer than a lease lasts; a process that died renews nothing."""
        while True:
            await self.tools.clock.sleep(self.tools.lease_s / 3)
            if self._held:
                await self._survive(self._renew_leases)

    async def _renew_leases(self) -> None:
        until = self.tools.clock.now() + timedelta(seconds=self.tools.lease_s)
        async with self.tools.database.transaction() as connection:
            await leases.renew(connection, self._held, until)

    async def _beat_once(self) -> None:
        now = self.tools.clock.now()
        async with self.tools.database.transaction() as connection:
            await health.beat(connection, self.name, now)

    async def _survive(self, work: Callable[[], Awaitable[None]]) -> bool:
        try:
            await work()
        except Exception as error:
            log.warning("database_trouble", error=type(error).__name__)
            return False
        return True


async def advance(tools: Tools, lease: Lease) -> None:
    """Turn by turn, call by call, until the session waits for something."""
    for _ in range(MAX_STEPS):
        decided = await turn.take_turn(tools, lease)
        if not isinstance(decided.step, Wait):
            await _call(tools, lease, decided)
        elif decided.given_back:
            return
    await turn.yield_turn(tools, lease)


async def _call(tools: Tools, lease: Lease, decided: turn.Turn) -> None:
    """Make the call that was decided, its intent being committed, and commit its outcome."""
    session = decided.session
    match decided.step:
        case SendStart():
            await start.send(tools, lease, session, committed_at_s=decided.committed_at_s)
        case LookUp():
            await start.look_up(tools, lease, session)
        case ReadCharge(charge_id):
            await track.read(tools, lease, session, charge_id)
        case SendStop():
            await enforce.stop(tools, lease, session)
        case StopExtra(charge_id):
            await enforce.stop_extra(tools, lease, session, charge_id)
        case Wait():
            return
        case _:
            assert_never(decided.step)
