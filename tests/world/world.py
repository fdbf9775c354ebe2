"""One world: replicas, operators' Montas, terminals and time, from a plan; lives through danger into calm."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

import asyncpg
import httpx
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.ids import ChargePointId
from app.domain.policy import Policy
from app.flows import provision
from app.flows.access import MontaAccess
from app.flows.provision import NewOperator
from app.flows.tools import Tools
from app.main import create_app
from app.monta.exchange import Timeouts
from app.monta.http import open_http
from app.simulator.world import Simulator
from app.store.operators import Operators
from app.store.secret_box import SecretBox
from app.telemetry import ProcessTelemetry
from app.watcher import Watcher
from app.wiring import Ids
from tests.world import ledger
from tests.world.blows import Blow, Chance, Mischief, Once
from tests.world.database import ReplicaDatabase
from tests.world.forger import Forger
from tests.world.invariants import Invariants, Truth
from tests.world.line import Line, ReplicaLine
from tests.world.loop import WorldClock, WorldLoop
from tests.world.plan import Happening, Plan
from tests.world.replica import Replica, Unanswered
from tests.world.story import Story, Violation
from tests.world.terminal import Purse, Terminal
from tests.world.turns import Turns

SECRET_KEY = "a key for tests only, as long as it has to be"
PUBLIC_URL = "https://tapwatt.test"
LEASE_S = 30
CALM_LIMIT_S = 4 * 3600
"""Virtual time in which everything must have finished once it is calm."""
LOOK_S = 20.0
"""Between two looks at what is overdue."""
MAX_TURNS_AT_ONCE = 2000
"""Of one moment; more than that, and somebody goes round in circles."""
RECOVERY_S = LEASE_S + 90
"""What a blow may cost beyond its own length: a lease to run out, a backoff of a minute, a sweep."""
AT_ONCE_S = 5.0
"""A delivery of Monta's is given up after this."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What worlds of one process share: the loop, the engine, a connection beside it, and the apps of the replicas."""

    loop: WorldLoop
    engine: AsyncEngine
    beside: asyncpg.Connection
    apps: dict[str, FastAPI]


class World:
    """`live` runs it; `story` and `invariants` tell what happened."""

    def __init__(
        self, ground: Ground, plan: Plan, mischief: Mischief | None = None, *, policy: Policy | None = None
    ) -> None:
        ground.loop.begin_anew()
        self.plan = plan
        self.clock = WorldClock(ground.loop)
        self.story = Story(self.clock.now)
        self.line = Line()
        self.purses: list[Purse] = []
        self.replicas: dict[str, Replica] = {}
        self._ground = ground
        self._rng = Random(f"world {plan.seed}")
        blows = Random(f"blows {plan.seed}")
        self._chance = Chance(plan.rates, blows, longest_freeze_s=plan.longest_freeze_s)
        self._mischief: Mischief = mischief or self._chance
        self._policy = policy or plan.policy
        self._turns = Turns(Random(f"turns {plan.seed}"))
        self._box = SecretBox(SECRET_KEY)
        self._tasks: list[asyncio.Task[Any]] = []
        self._next_due: datetime | None = None
        self._written = asyncio.Event()
        self._incarnations: dict[str, int] = {}
        self._webhooks_off = False
        self._turns_now, self._turned_at_s = 0, 0.0
        self.simulators = {f"monta{n}.test": self._simulator(n) for n in range(len(plan.monta))}
        self.truth = Truth(
            simulators=self.simulators,
            host_of={},
            line=self.line,
            purses=self.purses,
            search_lag_s=plan.search_lag_s,
            limits_work=plan.limits_work,
            stops_work=plan.stops_work,
        )
        self.invariants = Invariants(self.truth, self.story)
        self.line.watchdog = self.invariants.sent

    def _simulator(self, number: int) -> Simulator:
        return Simulator(self.plan.monta[number], self.clock, self._deliver)

    # Life

    async def live(self) -> None:
        """From the first tap to the end of everything. Raises Violation, the first that happened."""
        self._ground.loop.choose = self._choose
        try:
            await self._begin()
            await self._danger()
            if not self.story.violations:
                await self._calm()
            if not self.story.violations:
                self.invariants.finished()
        finally:
            await self._end()
        if self.story.violations:
            raise self.story.violations[0]

    def _choose(self) -> bool:
        """Let one go on; nobody any more once a rule is broken, or when time stands still for too many turns."""
        now_s = self._ground.loop.time()
        self._turns_now = self._turns_now + 1 if now_s == self._turned_at_s else 0
        self._turned_at_s = now_s
        if self._turns_now > MAX_TURNS_AT_ONCE:
            self.story.violated("time goes on", f"{MAX_TURNS_AT_ONCE} turns and no end")
        return not self.story.violations and self._turns.choose()

    async def _begin(self) -> None:
        setup = self._new_replica("setup", Once(None, Blow.NONE))
        keys = [await self._provision(setup.tools, number) for number in range(len(self.plan.monta))]
        for slot in range(self.plan.replicas):
            self._rise(chr(ord("a") + slot))
        for simulator in self.simulators.values():
            self._tasks.append(self._ground.loop.create_task(simulator.run()))
        self._tasks.append(self._ground.loop.create_task(self._dispatch()))
        for payment in self.plan.payments:
            terminal = Terminal(
                payment,
                api=self._api,
                key=keys[payment.operator],
                clock=self.clock,
                rng=Random(f"{payment.reference} {self.plan.seed}"),
                story=self.story,
            )
            self.purses.append(terminal.purse)
            self._tasks.append(self._ground.loop.create_task(terminal.live(), name=terminal.name))

    async def _provision(self, tools: Tools, number: int) -> str:
        """An operator and its terminal; the key."""
        config, host = self.plan.monta[number], f"monta{number}.test"
        added = await provision.add_operator(
            tools,
            NewOperator(
                name=f"operator {number}",
                monta_url=f"http://{host}/api/v1",
                client_id=config.client_id,
                client_secret=config.client_secret,
                paying_team_id=str(config.paying_team_ids[0]),
            ),
        )
        points = [ChargePointId(str(point.id)) for point in config.points]
        terminal = await provision.add_terminal(
            tools, added.operator_id, provider="tapwatt", name="lane", charge_point_ids=points
        )
        if any(payment.tops_up_after_s is not None for payment in self.plan.payments):
            await provision.set_top_up_max(tools, added.operator_id, 5000)
        self.truth.host_of[added.operator_id] = host
        self._forge(number, f"{PUBLIC_URL}{added.webhook_path}")
        return terminal.api_key

    def _forge(self, number: int, url: str) -> None:
        async def post(body: bytes, headers: Mapping[str, str]) -> int:
            request = httpx.Request("POST", url, content=body, headers=dict(headers))
            return (await self._call(request, AT_ONCE_S)).status_code

        simulator = self.simulators[f"monta{number}.test"]
        rng = Random(f"forger {number} {self.plan.seed}")
        forger = Forger(simulator, post, clock=self.clock, rng=rng, story=self.story)
        self._tasks.append(self._ground.loop.create_task(forger.live(self.plan.forged)))

    async def _danger(self) -> None:
        begin = self.clock.now()
        for number, simulator in enumerate(self.simulators.values()):
            simulator.faults.search_lag_s = self.plan.search_lag_s
            simulator.faults.webhook_loss = self.plan.webhook_loss
            simulator.faults.forged_signatures = min(1, self.plan.forged)
            for outage in self.plan.outages:
                if outage.operator == number:
                    since, until = (begin + timedelta(seconds=s) for s in (outage.since_s, outage.until_s))
                    simulator.faults.between(since, until, outage.trouble, path=outage.path)
                    self._disturbed(since, until)
        for happening in self.plan.happenings:
            self._ground.loop.call_later(happening.at_s, self._happen, happening)
        if self.plan.webhooks_off:
            since_s, until_s = self.plan.webhooks_off
            self._ground.loop.call_later(since_s, self._webhooks, True)
            self._ground.loop.call_later(until_s, self._webhooks, False)
        await self._look_on(lambda: self.clock.now() >= begin + timedelta(seconds=self.plan.danger_s))

    async def _calm(self) -> None:
        """Nothing bad happens any more; who is away comes back, and all must finish."""
        self.story.tell("world", "calm")
        self._chance.dangerous = False
        self._webhooks_off = False
        for simulator in self.simulators.values():
            simulator.faults.clear()
            for point in simulator.config.points:
                simulator.set_offline(ChargePointId(str(point.id)), False)
        begin = self.clock.now()
        await self._look_on(
            lambda: self._all_done() or self.clock.now() > begin + timedelta(seconds=CALM_LIMIT_S)
        )
        with self.story.rule("everything finishes in the calm"):
            left = [row for row in self.invariants.rows.values() if not row.ended or row.due_at is not None]
            assert self._all_done(), f"{[(r.reference, r.status, r.due_at) for r in left]} and terminals"

    async def _look_on(self, enough: Any) -> None:
        while not enough() and not self.story.violations:
            await self.clock.sleep(LOOK_S)
            self.invariants.overdue(self.clock.now())
            for task in self._tasks:
                if task.done() and task.exception() is not None:
                    raise task.exception()  # type: ignore[misc]

    def _all_done(self) -> bool:
        """Every terminal has been told, and nobody plans anything for a session any more."""
        terminals = all(task.done() for task in self._tasks if task.get_name().startswith("terminal"))
        return terminals and all(row.ended and row.due_at is None for row in self.invariants.rows.values())

    async def _end(self) -> None:
        self._ground.loop.choose = lambda: False
        for task in self._tasks:
            task.cancel()
        for replica in self.replicas.values():
            await replica.gone()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Replicas

    def _rise(self, slot: str) -> None:
        self._incarnations[slot] = self._incarnations.get(slot, 0) + 1
        replica = self._new_replica(f"{slot}.{self._incarnations[slot]}", self._mischief)
        self.replicas[replica.name] = replica
        self.story.tell(replica.name, "is up")
        replica.spawn(replica.begin())

    def _new_replica(self, name: str, mischief: Mischief) -> Replica:
        replica = Replica(
            name,
            loop=self._ground.loop,
            turns=self._turns,
            mischief=mischief,
            story=self.story,
            died=self._fallen,
            hindered=lambda _, seconds: self._hindered(seconds),
        )
        database = ReplicaDatabase(self._ground.engine, replica, self._observe)
        http = open_http(ReplicaLine(replica, self.simulators, self.line, self.clock))
        ids = Ids(self.clock, Random(f"{name} {self.plan.seed}"))
        replica.tools = Tools(
            database=database,
            clock=self.clock,
            ids=ids,
            policy=self._policy,
            operators=Operators(self._box),
            monta=MontaAccess(
                http=http, clock=self.clock, database=database, box=self._box, timeouts=Timeouts()
            ),
            telemetry=ProcessTelemetry(),
            lease_s=LEASE_S,
            public_url=PUBLIC_URL,
            clock_is_virtual=True,
        )
        replica.watcher = Watcher(replica.tools, name=name)
        return replica

    def _fallen(self, replica: Replica) -> None:
        down_s = self._mischief.down_s()
        self._hindered(down_s)
        self._ground.loop.call_later(down_s, self._rise, replica.name.partition(".")[0])

    def _hindered(self, seconds: float) -> None:
        now = self.clock.now()
        self._disturbed(now, now + timedelta(seconds=seconds))

    def _disturbed(self, since: datetime, until: datetime) -> None:
        self.truth.disturbed.append((since, until + timedelta(seconds=RECOVERY_S)))

    def _awake(self) -> list[Replica]:
        return [replica for replica in self.replicas.values() if replica.may_go_on]

    async def _observe(self, watcher: str | None) -> None:
        """After each commit that wrote: within it, so that nobody acts between the commit and the look."""
        rows, self._next_due = await ledger.read_state(self._ground.beside)
        self.invariants.look(rows, watcher)
        self._written.set()

    async def _dispatch(self) -> None:
        """Who works on what is due, and when: stands for the notifications and the polling of real watchers."""
        while True:
            self._written.clear()
            awake, due = self._awake(), self._next_due
            wait_s = 1.0 if due else 3600.0
            if due is not None and due > self.clock.now():
                wait_s = (due - self.clock.now()).total_seconds()
            elif due is not None and awake:
                for replica in self._rng.sample(awake, k=min(len(awake), self._rng.choice((1, 1, 1, 1, 2)))):
                    replica.spawn(replica.watch())
            try:
                async with asyncio.timeout(wait_s):
                    await self._written.wait()
            except TimeoutError:
                continue

    # HTTP

    async def _api(
        self,
        method: str,
        path: str,
        *,
        key: str,
        body: Any = None,
        headers: Mapping[str, str],
        patience_s: float,
    ) -> httpx.Response:
        request = httpx.Request(
            method,
            f"http://tapwatt.test{path}",
            json=body,
            headers={"Authorization": f"Bearer {key}", **headers},
        )
        return await self._call(request, patience_s)

    async def _call(self, request: httpx.Request, patience_s: float) -> httpx.Response:
        """One of those that live answers: a load balancer does not know who is frozen."""
        living = [replica for replica in self.replicas.values() if replica.alive]
        if not living:
            raise Unanswered("nobody listens")
        replica = self._rng.choice(living)
        slot = replica.name.partition(".")[0]
        app = self._ground.apps.setdefault(slot, create_app(replica.tools))
        app.state.tools = replica.tools
        return await replica.answer(app, request, patience_s=patience_s)

    async def _deliver(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        if self._webhooks_off:
            raise Unanswered("the way is closed")
        request = httpx.Request("POST", url, content=body, headers=dict(headers))
        return (await self._call(request, AT_ONCE_S)).status_code

    def _webhooks(self, off: bool) -> None:
        self.story.tell("world", f"webhooks are {'off' if off else 'on'}")
        self._webhooks_off = off

    # People and hardware

    def _happen(self, happening: Happening) -> None:
        simulator = self.simulators[f"monta{happening.operator}.test"]
        point = ChargePointId(str(happening.point))
        self.story.tell("people", f"{happening.what} at {happening.point} of operator {happening.operator}")
        actions = {
            "offline": lambda: simulator.set_offline(point, True),
            "online": lambda: simulator.set_offline(point, False),
        }
        act = actions.get(happening.what) or (lambda: getattr(simulator, happening.what)(point))
        try:
            act()
        except Exception as error:  # nothing to stop there: people press buttons in vain too
            self.story.tell("people", f"in vain: {type(error).__name__}")


def told(world: World, violation: Violation) -> str:
    """What to print of a world that broke a rule."""
    return f"{world.plan}\n{world.story}\n{violation}"
