"""One process of Tapwatt in the world: API and watcher; running, frozen or crashed, with injected faults."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, NoReturn

import httpx
from fastapi import FastAPI

from app.flows.context import Context
from app.store.db.database import DATABASE_ERRORS
from app.watcher import Watcher
from tests.world.fault_injector import CANCELS, CRASHES, FaultInjector, Place, ReplicaFault
from tests.world.loop import WorldLoop
from tests.world.scheduler import Scheduler
from tests.world.story import Story

WATCHING: ContextVar[bool] = ContextVar("watching", default=False)
"""Whether this task is the watcher's, and not the API's."""


HANDLER: ContextVar["asyncio.Task[Any] | None"] = ContextVar("handler", default=None)
"""The task that answers a request, also within shielded work."""


MOST_WITH_LOCKS = 3
"""Transactions of one replica that let others go on at the same time."""


class Unanswered(ConnectionError):
    """The replica died, or was dead, or took too long."""


class Replica:
    """`name` is the slot and its incarnation, `a.1`. It runs in turns; once crashed, it never gets a turn again."""

    context: Context
    watcher: Watcher

    def __init__(
        self,
        name: str,
        *,
        loop: WorldLoop,
        scheduler: Scheduler,
        injector: FaultInjector,
        story: Story,
        died: Callable[["Replica"], None],
        hindered: Callable[["Replica", float], None],
    ) -> None:
        self.name = name
        self.loop = loop
        self.story = story
        self.alive = True
        self.watches = False
        """Whether its watcher claims what is due: not before it has begun."""
        self.about_to_claim = False
        """Whether its watcher was woken and has not begun to claim: it will find what becomes due meanwhile, too."""
        self.freezes = 0
        """Number of freezes in effect."""
        self._scheduler = scheduler
        self._injector = injector
        self._died = died
        self._hindered = hindered
        self._tasks: set[asyncio.Task[Any]] = set()
        self._with_locks: set[asyncio.Future[None]] = set()

    @property
    def may_go_on(self) -> bool:
        return self.alive and not self.freezes

    # What the gates ask

    async def my_turn(self) -> None:
        await self._scheduler.mine(self)

    async def my_turn_within_io(self) -> None:
        with self.loop.pause_in_io():
            await self._scheduler.mine(self)

    def ticket(self) -> int:
        return self._scheduler.ticket()

    def keeps_locks_for_s(self) -> float | None:
        """How long a transaction of this replica with locks lets others go on now; None: it goes on itself."""
        if len(self._with_locks) >= MOST_WITH_LOCKS:
            return None
        return self._injector.lock_s()

    async def my_turn_with_locks(self, ticket: int | None = None, after_s: float = 0.0) -> None:
        """The same within a transaction with locks. Raises ConnectionError when the replica crashes or freezes
        meanwhile: the server then ends the transaction and frees its locks."""
        if not self.may_go_on:
            raise ConnectionError("the transaction was ended by the server")
        turn: asyncio.Future[None] = self.loop.create_future()
        self._with_locks.add(turn)
        ticket = self.ticket() if ticket is None else ticket
        self.loop.call_later(after_s, self._scheduler.enqueue, self, ticket, turn)
        try:
            with self.loop.pause_in_io():
                await turn
        finally:
            self._with_locks.discard(turn)

    def end_transactions(self) -> None:
        """Ends transactions that keep locks while others go on, as the server does, so that no replica waits for a
        crashed one."""
        for turn in self._with_locks:
            if not turn.done():
                turn.set_exception(ConnectionError("the transaction was ended by the server"))

    def fault(self, place: Place, what: str) -> ReplicaFault:
        fault = self._injector.fault(self.name, place, what)
        if fault in CANCELS and HANDLER.get() is None:
            return ReplicaFault.NONE  # a watcher has no client that disconnects
        if fault is not ReplicaFault.NONE:
            self.story.add(self.name, f"{fault.upper()} {place} {what}")
            self._hindered(self, 0.0)
        return fault

    async def suffer(self, fault: ReplicaFault) -> None:
        """Crashes (never returns), freezes for a while, or is disconnected by the client; a lost connection is the
        caller's case."""
        if fault in CRASHES:
            self.die()
            await self.never()
        elif fault in (ReplicaFault.FREEZE_BEFORE, ReplicaFault.FREEZE_AFTER):
            self.freeze(self._injector.freeze_s())
            await self.my_turn()
        elif fault in CANCELS and (handler := HANDLER.get()) is not None:
            handler.cancel()
            await asyncio.sleep(0)  # at the point of the fault, unless we are shielded from it

    def die(self) -> None:
        if self.alive:
            self.alive = False
            self.end_transactions()
            self.story.add(self.name, "dies")
            self._died(self)

    def freeze(self, seconds: float) -> None:
        """Freezes as SIGSTOP does: timers expire meanwhile, nothing is done."""
        self.story.add(self.name, f"freezes for {seconds:.0f} s")
        self.freezes += 1
        self.end_transactions()
        self.loop.call_later(seconds, self._thaw)
        self._hindered(self, seconds)

    def _thaw(self) -> None:
        self.freezes -= 1

    async def never(self) -> NoReturn:
        await self.loop.create_future()
        raise AssertionError("unreachable")

    # What it does

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def answer(self, app: FastAPI, request: httpx.Request, *, patience_s: float) -> httpx.Response:
        """Returns its API's answer. Raises Unanswered after `patience_s`; a living replica still processes the
        request."""
        if not self.alive:
            raise Unanswered("no replica listens")
        task = self.spawn(self._handle(app, request))
        done, _ = await asyncio.wait({task}, timeout=patience_s)
        if not done:
            raise Unanswered(f"no answer within {patience_s:g} s")
        if task.cancelled():
            raise Unanswered("hung up")
        response: httpx.Response = task.result()
        await response.aread()
        return response

    async def _handle(self, app: FastAPI, request: httpx.Request) -> httpx.Response:
        HANDLER.set(asyncio.current_task())
        return await httpx.ASGITransport(app, raise_app_exceptions=False).handle_async_request(request)

    async def begin(self) -> None:
        """Runs the watcher's start-up work, and its background work for the replica's lifetime."""
        while not self.watches:
            try:
                await self.watcher.begin()
                self.watches = True
            except DATABASE_ERRORS:
                await self.watcher.context.clock.sleep(1.0)
        await self.watcher.keep_leases()

    async def watch(self) -> None:
        """One round of its watcher."""
        WATCHING.set(True)
        self.about_to_claim = True
        await self.watcher.run_round()

    async def gone(self) -> None:
        """Ends the replica with the world: work under way is cancelled without effect."""
        self.alive = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
