"""The watcher: claims due sessions and jobs, runs their steps. Sleeps until the next due time."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from functools import partial

import structlog

from app.claimed_work import run_job, run_steps
from app.domain.units.ids import OperatorId
from app.flows.admin import database_checks
from app.flows.context import Context, LeaseLost
from app.flows.operator.reconcile import demand
from app.flows.session import claim
from app.flows.session.advance import take_turns
from app.flows.turns import Turns
from app.store.db.database import is_away, is_locked
from app.store.db.scope import limited_to
from app.store.db.secret_box import SecretUnreadable
from app.store.operators.jobs import JobLease
from app.store.operators.secret_keys import WrongSecretKey
from app.store.sessions.leases import Lease
from app.tracing import Kind

log = structlog.get_logger("watcher")

ERROR_PAUSE_S = (0.2, 1.0)
"""Bounds of the random retry delay without a database, so that replicas do not retry in step."""
IDLE_S = 1.0
"""Polling interval without a notification; polling alone is correct."""
UNCLAIMED_S = 0.1
"""Polling interval while due work cannot be claimed because its operator or jobs have no slot left."""
BEAT_S = 5.0
STUCK_S = 90.0
"""A loop that has not turned for so long is stuck: it waits for a free slot, and every call ends within 30 seconds."""
OPERATORS_SHARE = 75
"""The largest share (per cent) of the slots that are not kept for stops for one operator, however many of its sessions
are due: the others find one while its calls hang."""
STOPS_SHARE = 25
"""The share (per cent) of a watcher's slots that only sessions with a due stop may take: a stop finds a free one,
whatever else waits."""
JOBS_SHARE = 25
"""The largest share (per cent) of a watcher's slots for jobs: when Monta hangs, stops still find one."""
DRAIN_S = 15.0
"""Timeout at shutdown for running work. A lease that is not released expires and is taken over."""


class Watcher:
    """Runs due sessions and jobs. Several watchers may run at once, on several machines."""

    def __init__(self, context: Context, *, name: str, concurrency: int = 64) -> None:
        self.context = context
        self.name = name
        self._turns = Turns(partial(take_turns, context))
        self._rng = random.Random(name)  # noqa: S311  pauses that differ from watcher to watcher
        self._freed = asyncio.Event()
        self._idle = False
        """Nothing is known to be due."""
        self._others_wait = False
        """Only stops may be claimed until a slot is free again."""
        self._concurrency = concurrency
        self._for_others = max(1, concurrency - max(1, concurrency * STOPS_SHARE // 100))
        self._per_operator = max(1, self._for_others * OPERATORS_SHARE // 100)
        self._most_jobs = max(1, concurrency * JOBS_SHARE // 100)
        self._running: set[asyncio.Task[None]] = set()
        self._held: set[Lease] = set()
        self._held_jobs: set[JobLease] = set()
        self._last_beat: datetime | None = None
        self._turned_s = context.clock.monotonic()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()

    def wake(self) -> None:
        """Wakes the watcher, since something is due."""
        self._idle = False
        self._wake.set()

    def stop(self) -> None:
        """Stops claiming; `run` returns when running work has ended, or after DRAIN_S."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Runs until `stop`; retries while the database fails."""
        while not self._stopping.is_set() and not await self._survive(self.begin):
            self._turned_s = self.context.clock.monotonic()
            await self._pause()
        beside = [asyncio.create_task(self._beat()), asyncio.create_task(self.keep_leases())]
        try:
            while not self._stopping.is_set():
                self._turned_s = self.context.clock.monotonic()
                self._wake.clear()
                if not await self._survive(self._claim_and_spawn):
                    await self._pause(self._rng.uniform(*ERROR_PAUSE_S))
        finally:
            if self._running:
                await asyncio.wait(self._running, timeout=DRAIN_S)
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            with contextlib.suppress(Exception):
                await database_checks.leave(self.context, self.name)

    def lives(self) -> bool:
        """Whether its loop turns. Also while the database is away."""
        return self.context.clock.monotonic() - self._turned_s < STUCK_S

    def is_ready(self) -> bool:
        """Whether it has written its heartbeat lately."""
        last = self._last_beat
        return last is not None and self.context.clock.now() - last < 4 * timedelta(seconds=BEAT_S)

    async def begin(self) -> None:
        """Requests a reconciliation before the first claim. Raises WrongSecretKey: with a wrong key nothing is
        claimed or changed."""
        await database_checks.check_secret_key(self.context)
        await demand(self.context)

    async def run_round(self) -> int:
        """Claims what is due now, once, and runs it to its end. Returns the count of claims. `run` does not wait so:
        this is for virtual time, and for measuring."""
        claimed, job = await self._claim()
        await asyncio.gather(*(self._run_session(lease) for lease in claimed))
        if job is not None:
            await self._do(job)
        return len(claimed) + (job is not None)

    async def _claim_and_spawn(self) -> None:
        capacity = self._capacity()
        if capacity.stops <= 0:
            await self._until_freed()
            return
        claimed, job = await self._claim()
        # Counted as held from here on, not only once their tasks run.
        for lease in claimed:
            self._held.add(lease)
            self._spawn(self._run_session(lease))
        if job is not None:
            self._held_jobs.add(job)
            self._spawn(self._do(job))
        elif len(claimed) < max(1, capacity.others):  # nothing more may be claimed now
            self._others_wait = capacity.others <= 0
            await self._pause(await self._until_due(stops=self._others_wait))

    def _capacity(self) -> claim.Capacity:
        """What may be claimed now. Others and jobs leave some slots to sessions with a due stop."""
        others = sum(not lease.for_stop for lease in self._held) + len(self._held_jobs)
        free = self._concurrency - len(self._running)
        jobs = self._most_jobs - len(self._held_jobs)
        return claim.Capacity(stops=free, others=min(free, self._for_others - others), jobs=min(free, jobs))

    def _uses(self, operator_id: OperatorId) -> int:
        return sum(lease.operator_id == operator_id and not lease.for_stop for lease in self._held)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._freed.set()
        if self._others_wait:
            self.wake()

    async def _until_freed(self) -> None:
        self._freed.clear()
        waits = [asyncio.ensure_future(event.wait()) for event in (self._freed, self._stopping)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _claim(self) -> tuple[list[Lease], JobLease | None]:
        """Claims due sessions, and a job if one is due. Those with a due stop first.

        Looks first whether there is any, where nothing says so: the last claim found none, no notification came, and no
        due time was waited for.
        """
        if self._idle and not await claim.is_anything_due(self.context):
            return [], None
        found = await claim.claim_due(
            self.context,
            owner=self.name,
            capacity=self._capacity(),
            busy=Counter(lease.operator_id for lease in self._held if not lease.for_stop),
            per_operator=self._per_operator,
        )
        self._idle = found == ([], None)
        return found

    async def _run_session(self, lease: Lease) -> None:
        """Runs one session; its failure affects no other (F93)."""
        self._held.add(lease)
        began_s = self.context.clock.monotonic()
        session = structlog.contextvars.bound_contextvars(session_id=lease.session_id)
        with session, limited_to(lease.operator_id):
            try:
                await run_steps(self.context, self._turns, lease)
            except LeaseLost:
                log.warning("lease_lost")
            except Exception as error:
                await self._failed(lease, error)
            finally:
                if self._uses(lease.operator_id) >= self._per_operator:
                    self.wake()  # others of the operator may be due and have waited for this slot
                self._held.discard(lease)
                self.context.telemetry.claim_ended(self.context.clock.monotonic() - began_s)

    async def _failed(self, lease: Lease, error: Exception) -> None:
        """Releases a failed session. No crash is counted, and no attention raised, where the database is away or
        another transaction has the row locked."""
        if is_away(error) or is_locked(error):
            log.warning("database_trouble", error=type(error).__name__)
            await self.context.clock.sleep(self._rng.uniform(*ERROR_PAUSE_S))
            why = f"the database was away ({type(error).__name__})"
            await self._survive(lambda: claim.release_unchanged(self.context, lease, why))
            return
        log.error("session_failed", exc_info=error)
        await self._survive(lambda: claim.release_failed(self.context, lease))

    async def _do(self, lease: JobLease) -> None:
        """Runs one job. A failed one is due again when its lease has ended."""
        self._held_jobs.add(lease)
        job = structlog.contextvars.bound_contextvars(operator_id=lease.operator_id, job=lease.job)
        about = {"tapwatt.operator.id": lease.operator_id}
        span = self.context.tracing.span(f"job {lease.job}", Kind.INTERNAL, about)
        with job, limited_to(lease.operator_id), span:
            try:
                await run_job(self.context, lease)
            except SecretUnreadable as error:
                log.error("operator_unreadable", why=str(error))
            except Exception:
                log.exception("job_failed")
            finally:
                self._held_jobs.discard(lease)

    async def _until_due(self, *, stops: bool) -> float | None:
        """Seconds to the next due time, or to that of a stop. None: nothing is planned."""
        due_at = await claim.next_due_at(self.context, stops=stops)
        if due_at is None:
            return None
        now = self.context.clock.now()
        return (due_at - now).total_seconds() if due_at > now else UNCLAIMED_S

    async def _pause(self, due_in_s: float | None = None) -> None:
        """Sleeps until due work, a wake-up or IDLE_S pass. IDLE_S is of real time."""
        waits: list[Coroutine[object, object, object]] = [asyncio.sleep(IDLE_S), self._wake.wait()]
        if due_in_s is not None:
            waits.append(self.context.clock.sleep(due_in_s))
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if due_in_s is not None and tasks[-1].done():
            self._idle = False
        for task in tasks:
            task.cancel()

    async def _beat(self) -> None:
        while True:
            await self._survive(self.beat_once)
            await self.context.clock.sleep(BEAT_S)

    async def keep_leases(self) -> None:
        """Renews leases, since a call to Monta may take longer. Those of a dead process expire."""
        while True:
            await self.context.clock.sleep(self.context.lease_s / 3)
            if self._held or self._held_jobs:
                renew = partial(claim.renew_leases, self.context, self._held, self._held_jobs)
                await self._survive(renew)

    async def beat_once(self) -> None:
        """Writes a heartbeat; requests a reconciliation when the last is lost. The database has then lost more."""
        now = self.context.clock.now()
        earlier = await database_checks.beat(self.context, self.name, now)
        last, self._last_beat = self._last_beat, now
        if last is not None and (earlier is None or earlier < last):
            log.error("database_went_back", remembered=earlier and earlier.isoformat(), last=last.isoformat())
            await demand(self.context)

    async def _survive(self, work: Callable[[], Awaitable[None]]) -> bool:
        try:
            await work()
        except WrongSecretKey as error:
            log.error("secret_key_is_wrong", why=str(error))
            raise
        except Exception as error:
            log.warning("database_trouble", error=type(error).__name__)
            return False
        return True
