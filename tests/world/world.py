"""One world from a plan: replicas, operators' Montas, terminals and time; faults first, then a quiet phase."""

import asyncio
import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any

from app.domain.charging.charge import ENDED
from app.domain.limit.policy import Policy
from app.domain.units.ids import ChargePointId
from app.flows.context import Context
from app.simulator.simulator import Simulator
from tests.build_context import LEASE_S
from tests.world import backup, ledger, operators
from tests.world.fault_injector import FaultInjector, Once, RandomFaults, ReplicaFault
from tests.world.forger import Forger
from tests.world.invariants import Invariants
from tests.world.liveness import Expectations
from tests.world.load_balancer import LoadBalancer
from tests.world.loop import WorldClock
from tests.world.oracle import Oracle
from tests.world.outsiders import Outsiders
from tests.world.people import happen
from tests.world.plan import Plan
from tests.world.replicas import Environment, Replicas
from tests.world.scheduler import Scheduler
from tests.world.story import Story
from tests.world.terminal import Terminal

QUIET_PHASE_LIMIT_S = 4 * 3600
"""Virtual time in which everything must have finished in the quiet phase."""
LOOK_S = 20.0
"""Seconds between two checks of deadlines."""
MAX_TURNS_AT_ONCE = 10_000
"""Turns at one moment; more mean an endless loop."""
RECOVERY_S = LEASE_S + 90
"""Seconds that a fault may cost beyond its own length: an expiring lease, a backoff of a minute, a sweep."""


class World:
    """`live` runs it; `story` and `invariants` show what happened."""

    def __init__(
        self,
        environment: Environment,
        plan: Plan,
        injector: FaultInjector | None = None,
        *,
        policy: Policy | None = None,
    ) -> None:
        environment.loop.begin_anew()
        self.plan = plan
        self.clock = WorldClock(environment.loop, plan.seed)
        self.story = Story(self.clock.now)
        self._environment = environment
        self._rng = Random(f"world {plan.seed}")
        faults = Random(f"blows {plan.seed}")
        self._random_faults = RandomFaults(
            plan.rates,
            faults,
            longest_freeze_s=plan.longest_freeze_s,
            shortest_freeze_s=plan.shortest_freeze_s,
        )
        self._injector: FaultInjector = injector or self._random_faults
        self._scheduler = Scheduler(Random(f"turns {plan.seed}"))
        self._tasks: list[asyncio.Task[Any]] = []
        self._next_due: datetime | None = None
        self._written = asyncio.Event()
        self._changed = True
        """Whether some row was, since the last look at the deadlines."""
        self._beside = asyncio.Lock()
        self._turns_now, self._turned_at_s = 0, 0.0
        self.simulators: dict[str, Simulator] = {}
        self.oracle = Oracle(plan=plan, story=self.story, simulators=self.simulators)
        self.invariants = Invariants(self.oracle)
        self.expectations = Expectations(self.oracle)
        self.oracle.line.watchdog = self.invariants.sent
        self.oracle.line.delay_s = plan.line_s
        self._replicas = Replicas(
            environment,
            self.oracle,
            clock=self.clock,
            policy=policy or plan.policy,
            injector=self._injector,
            scheduler=self._scheduler,
            observe=self._observe,
            hindered=self._hindered,
        )
        self._load_balancer = LoadBalancer(environment, self._replicas, self._rng)
        for number, config in enumerate(plan.monta):
            self.simulators[f"monta{number}.test"] = Simulator(
                config, self.clock, self._load_balancer.deliver
            )

    # Life

    async def live(self) -> None:
        """Runs from the first tap to the end of everything. Raises the first Violation."""
        self._environment.loop.choose = self._choose
        random.seed(f"pauses {self.plan.seed}")  # of transactions that are tried again after a deadlock
        try:
            await self._begin()
            await self._danger()
            if not self.story.violations:
                await self._quiet_phase()
            if not self.story.violations:
                self.expectations.finished()
                await self._evidence()
        finally:
            await self._end()
        if self.story.violations:
            raise self.story.violations[0]

    def _choose(self) -> bool:
        """Lets one go on; none once a rule is broken, or when time stands still for too many turns."""
        now_s = self._environment.loop.time()
        self._turns_now = self._turns_now + 1 if now_s == self._turned_at_s else 0
        self._turned_at_s = now_s
        if self._turns_now > MAX_TURNS_AT_ONCE:
            self.story.violated("time goes on", f"{MAX_TURNS_AT_ONCE} turns and no end")
        return not self.story.violations and self._scheduler.choose()

    async def _begin(self) -> None:
        setup = self._replicas.new("setup", Once(None, ReplicaFault.NONE))
        added = [await self._add_operator(setup.context, number) for number in range(len(self.plan.monta))]
        for slot in range(self.plan.replicas):
            self._replicas.start_replica(chr(ord("a") + slot))
        for simulator in self.simulators.values():
            self._tasks.append(self._environment.loop.create_task(simulator.run()))
        self._tasks.append(self._environment.loop.create_task(self._dispatch()))
        for payment in self.plan.payments:
            terminal = Terminal(
                payment,
                api=self._load_balancer.api,
                key=added[payment.operator].terminal_key,
                clock=self.clock,
                rng=Random(f"{payment.reference} {self.plan.seed}"),
                story=self.story,
            )
            self.oracle.ledgers.append(terminal.ledger)
            self._tasks.append(self._environment.loop.create_task(terminal.live(), name=terminal.name))
        if self.plan.outsiders:
            await self._let_outsiders_try(setup.context, added)

    async def _let_outsiders_try(self, context: Context, added: list[operators.Added]) -> None:
        keys = {
            number: await operators.give_out(context, each.operator_id, self.plan.monta[number])
            for number, each in enumerate(added)
        }
        outsiders = Outsiders(
            self.oracle.ledgers,
            keys,
            api=self._load_balancer.api,
            clock=self.clock,
            rng=Random(f"outsiders {self.plan.seed}"),
            story=self.story,
        )
        self._tasks.append(self._environment.loop.create_task(outsiders.live(self.plan.outsiders)))

    async def _add_operator(self, context: Context, number: int) -> operators.Added:
        host, config = f"monta{number}.test", self.plan.monta[number]
        added = await operators.add(
            context, f"operator {number}", config, host, top_up_max=self.plan.top_up_max
        )
        self.oracle.host_of[added.operator_id] = host
        forger = Forger(
            self.simulators[host],
            partial(self._load_balancer.post, added.webhook_url),
            clock=self.clock,
            rng=Random(f"forger {number} {self.plan.seed}"),
            story=self.story,
        )
        self._tasks.append(self._environment.loop.create_task(forger.live(self.plan.forged)))
        return added

    async def _danger(self) -> None:
        begin = self.clock.now()
        for number, (host, simulator) in enumerate(self.simulators.items()):
            simulator.faults.search_lag_s = self.plan.search_lag_s
            simulator.faults.webhook_loss = self.plan.webhook_loss
            simulator.faults.forged_signatures = min(1, self.plan.forged)
            for outage in self.plan.outages:
                if outage.operator == number:
                    since, until = (begin + timedelta(seconds=s) for s in (outage.since_s, outage.until_s))
                    simulator.faults.between(
                        since, until, outage.fault_kind, path=outage.path, seconds=outage.seconds
                    )
                    self._disturbed([host], since, until)
        for happening in self.plan.happenings:
            simulator = self.simulators[f"monta{happening.operator}.test"]
            self._environment.loop.call_later(happening.at_s, happen, happening, simulator, self.story)
        if self.plan.restored:
            self._tasks.append(
                self._environment.loop.create_task(self._lose_the_database(*self.plan.restored))
            )
        if self.plan.webhooks_off:
            since_s, until_s = self.plan.webhooks_off
            self._environment.loop.call_later(since_s, self._webhooks, True)
            self._environment.loop.call_later(until_s, self._webhooks, False)
        await self._look_on(lambda: self.clock.now() >= begin + timedelta(seconds=self.plan.danger_s))

    async def _quiet_phase(self) -> None:
        """Ends all faults: crashed replicas come back, and all must finish."""
        self.story.add("world", "quiet_phase")
        self._random_faults.dangerous = False
        self._load_balancer.webhooks_off = False
        for simulator in self.simulators.values():
            simulator.faults.clear()
            for point in simulator.config.points:
                simulator.set_offline(ChargePointId(str(point.id)), False)
        begin = self.clock.now()
        await self._look_on(
            lambda: self._all_done() or self.clock.now() > begin + timedelta(seconds=QUIET_PHASE_LIMIT_S)
        )
        with self.story.rule("everything finishes in the quiet phase"):
            left = [row for row in self.oracle.rows.values() if not row.ended or row.due_at is not None]
            assert self._all_done(), f"{[(r.reference, r.status, r.due_at) for r in left]} and terminals"

    async def _look_on(self, enough: Any) -> None:
        while not enough() and not self.story.violations:
            await self.clock.sleep(LOOK_S)
            self.expectations.overdue(self.clock.now())
            await self._nothing_unnoticed()
            for task in self._tasks:
                if task.done() and task.exception() is not None:
                    raise task.exception()  # type: ignore[misc]

    def _all_done(self) -> bool:
        """Whether every terminal has its settlement, and no work is planned for a session."""
        terminals = all(task.done() for task in self._tasks if task.get_name().startswith("terminal"))
        sessions = all(
            row.ended and (row.due_at is None or self.oracle.is_endless(row))
            for row in self.oracle.rows.values()
        )
        lost = (
            all(charge.state in ENDED for charge in self.oracle.lost_charges())
            and self.oracle.lost_are_told()
        )
        return terminals and sessions and lost

    async def _evidence(self) -> None:
        with self._environment.loop.io():
            async with self._beside:
                broken = await ledger.read_broken_chains(self._environment.beside)
        with self.story.rule("every session's journal is an unbroken chain of hashes"):
            assert not broken, f"{broken}"

    async def _end(self) -> None:
        self._environment.loop.choose = lambda: False
        for task in self._tasks:
            task.cancel()
        for replica in self._replicas.replicas.values():
            replica.end_transactions()
        for replica in self._replicas.replicas.values():
            await replica.gone()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._end_what_was_shielded()

    async def _end_what_was_shielded(self) -> None:
        """Work that goes on without its caller would else stay in wait for a turn, for the garbage collector to end."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    # The database

    async def _observe(self, watcher: str | None, shows: bool) -> None:
        """Checks after each commit that changed a row, within the commit, so that no replica acts in between. `shows`:
        the rules look at that row."""
        self._changed = True
        if not shows:
            return
        async with self._beside:
            rows, self._next_due = await ledger.read_state(self._environment.beside)
            if self.oracle.forgotten:
                self.oracle.orphans = await ledger.read_orphans(self._environment.beside)
        self.invariants.look(rows, watcher)
        self._written.set()

    async def _nothing_unnoticed(self) -> None:
        if not self._changed:
            return  # only a change could have left an entry unnoticed
        self._changed = False
        with self._environment.loop.io():
            async with self._beside:
                unnoticed = await ledger.read_unnoticed(self._environment.beside, self.clock.now())
        with self.story.rule("a kept entry makes its session due"):
            assert not unnoticed, f"{unnoticed}"

    async def _lose_the_database(self, backup_s: float, restored_s: float) -> None:
        """Makes a backup; later all replicas crash with the database, and come back on what the backup holds."""
        await self.clock.sleep(backup_s)
        with self._environment.loop.io():
            async with self._beside:
                await backup.keep(self._environment.beside)
        self.story.add("world", "a backup is made")
        await self.clock.sleep(restored_s - backup_s)
        for replica in self._replicas.living:
            replica.die()
        with self._environment.loop.io():
            await backup.go_back(self._environment.beside)
            rows, self._next_due = await ledger.read_state(self._environment.beside)
        self.story.add("world", f"the database is lost, its backup has {len(rows)} sessions")
        self.invariants.went_back(rows, self.clock.now())
        self._changed = True
        self._written.set()

    async def _dispatch(self) -> None:
        """Wakes watchers when work is due: stands for the notifications and the polling of real watchers."""
        while True:
            self._written.clear()
            watching, due = self._replicas.watching, self._next_due
            wait_s = 1.0 if due else 3600.0
            if due is not None and due > self.clock.now():
                wait_s = (due - self.clock.now()).total_seconds()
            elif due is not None and watching:
                for replica in self._rng.sample(
                    watching, k=min(len(watching), self._rng.choice((1, 1, 1, 1, 2)))
                ):
                    replica.spawn(replica.watch())
            try:
                async with asyncio.timeout(wait_s):
                    await self._written.wait()
            except TimeoutError:
                continue

    def _webhooks(self, off: bool) -> None:
        self.story.add("world", f"webhooks are {'off' if off else 'on'}")
        self._load_balancer.webhooks_off = off

    def _hindered(self, seconds: float) -> None:
        now = self.clock.now()
        self._disturbed(self.simulators, now, now + timedelta(seconds=seconds))

    def _disturbed(self, hosts: Iterable[str], since: datetime, until: datetime) -> None:
        for host in hosts:
            self.oracle.disturbed[host].append((since, until + timedelta(seconds=RECOVERY_S)))
