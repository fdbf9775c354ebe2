"""The replicas of a world: each slot holds one after the other; a crashed one is restarted on the same database."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random

import asyncpg
from fastapi import FastAPI

from app.domain.limit.policy import Policy
from app.monta.transport import open_http
from app.watcher import Watcher
from tests.build_context import build_context
from tests.world.database import ReplicaDatabase, WorldDatabase
from tests.world.fault_injector import FaultInjector
from tests.world.loop import WorldClock, WorldLoop
from tests.world.monta_transport import MontaTransport
from tests.world.oracle import Oracle
from tests.world.replica import Replica
from tests.world.scheduler import Scheduler

PUBLIC_URL = "https://tapwatt.test"


@dataclass(frozen=True, slots=True)
class Environment:
    """What worlds of one process share: the loop, the connections, a second connection, and the replicas' HTTP
    applications."""

    loop: WorldLoop
    database: WorldDatabase
    beside: asyncpg.Connection
    apps: dict[str, FastAPI] = field(default_factory=dict)
    worlds: Iterator[int] = field(default_factory=count)
    """Numbers the worlds that used it."""


class Replicas:
    """`start_replica` starts a replica in a slot; `living` ones answer requests, `watching` ones do due work."""

    def __init__(
        self,
        environment: Environment,
        oracle: Oracle,
        *,
        clock: WorldClock,
        policy: Policy,
        injector: FaultInjector,
        scheduler: Scheduler,
        observe: Callable[[str | None, bool], Awaitable[None]],
        hindered: Callable[[float], None],
    ) -> None:
        self.replicas: dict[str, Replica] = {}
        self._environment = environment
        self._oracle = oracle
        self._clock = clock
        self._policy = policy
        self._injector = injector
        self._scheduler = scheduler
        self._observe = observe
        self._hindered = hindered
        self._incarnations: dict[str, int] = {}

    @property
    def living(self) -> list[Replica]:
        return [replica for replica in self.replicas.values() if replica.alive]

    @property
    def watching(self) -> list[Replica]:
        """Those that may be woken to claim what is due."""
        replicas = self.replicas.values()
        return [r for r in replicas if r.watches and r.may_go_on and not r.about_to_claim]

    def start_replica(self, slot: str) -> None:
        self._incarnations[slot] = self._incarnations.get(slot, 0) + 1
        replica = self.new(f"{slot}.{self._incarnations[slot]}", self._injector)
        self.replicas[replica.name] = replica
        replica.story.add(replica.name, "is up")
        replica.spawn(replica.begin())

    def new(self, name: str, injector: FaultInjector) -> Replica:
        """Makes one that is not started yet."""
        replica = Replica(
            name,
            loop=self._environment.loop,
            scheduler=self._scheduler,
            injector=injector,
            story=self._oracle.story,
            died=self._fallen,
            hindered=lambda _, seconds: self._hindered(seconds),
        )
        database = ReplicaDatabase(self._environment.database, replica, self._observe)
        http = open_http(MontaTransport(replica, self._oracle.simulators, self._oracle.line, self._clock))
        replica.context = build_context(
            database,
            self._clock,
            http,
            policy=self._policy,
            chance=Random(f"{name} {self._oracle.plan.seed}"),
            public_url=PUBLIC_URL,
        )
        replica.watcher = Watcher(replica.context, name=name)
        return replica

    def _fallen(self, replica: Replica) -> None:
        down_s = self._injector.down_s()
        self._hindered(down_s)
        self._environment.loop.call_later(down_s, self.start_replica, replica.name.partition(".")[0])
