"""The replicas of a world: each slot has one after the other; who dies comes back, on the same database."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random

import asyncpg
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.policy import Policy
from app.flows.access import MontaAccess
from app.flows.tools import Tools
from app.monta.exchange import Timeouts
from app.monta.http import open_http
from app.store.operators import Operators
from app.store.secret_box import SecretBox
from app.telemetry import ProcessTelemetry
from app.watcher import Watcher
from app.wiring import Ids
from tests.world.blows import Mischief
from tests.world.database import ReplicaDatabase
from tests.world.line import ReplicaLine
from tests.world.loop import WorldClock, WorldLoop
from tests.world.replica import Replica
from tests.world.truth import Truth
from tests.world.turns import Turns

SECRET_KEY = "a key for tests only, as long as it has to be"
PUBLIC_URL = "https://tapwatt.test"
LEASE_S = 30


@dataclass(frozen=True, slots=True)
class Ground:
    """What worlds of one process share: the loop, the engine, a connection beside it, and the apps of the replicas."""

    loop: WorldLoop
    engine: AsyncEngine
    beside: asyncpg.Connection
    apps: dict[str, FastAPI] = field(default_factory=dict)
    worlds: Iterator[int] = field(default_factory=count)
    """Numbers those that stood on it."""


class Slots:
    """`rise` puts a replica into a slot; `living` answer requests, `watching` work on what is due."""

    def __init__(
        self,
        ground: Ground,
        truth: Truth,
        *,
        clock: WorldClock,
        policy: Policy,
        mischief: Mischief,
        turns: Turns,
        observe: Callable[[str | None], Awaitable[None]],
        hindered: Callable[[float], None],
    ) -> None:
        self.replicas: dict[str, Replica] = {}
        self._ground = ground
        self._truth = truth
        self._clock = clock
        self._policy = policy
        self._mischief = mischief
        self._turns = turns
        self._observe = observe
        self._hindered = hindered
        self._box = SecretBox(SECRET_KEY)
        self._incarnations: dict[str, int] = {}

    @property
    def living(self) -> list[Replica]:
        return [replica for replica in self.replicas.values() if replica.alive]

    @property
    def watching(self) -> list[Replica]:
        return [replica for replica in self.replicas.values() if replica.watches and replica.may_go_on]

    def rise(self, slot: str) -> None:
        self._incarnations[slot] = self._incarnations.get(slot, 0) + 1
        replica = self.new(f"{slot}.{self._incarnations[slot]}", self._mischief)
        self.replicas[replica.name] = replica
        replica.story.tell(replica.name, "is up")
        replica.spawn(replica.begin())

    def new(self, name: str, mischief: Mischief) -> Replica:
        """One that does nothing yet."""
        replica = Replica(
            name,
            loop=self._ground.loop,
            turns=self._turns,
            mischief=mischief,
            story=self._truth.story,
            died=self._fallen,
            hindered=lambda _, seconds: self._hindered(seconds),
        )
        database = ReplicaDatabase(self._ground.engine, replica, self._observe)
        http = open_http(ReplicaLine(replica, self._truth.simulators, self._truth.line, self._clock))
        replica.tools = Tools(
            database=database,
            clock=self._clock,
            ids=Ids(self._clock, Random(f"{name} {self._truth.plan.seed}")),
            policy=self._policy,
            operators=Operators(self._box),
            monta=MontaAccess(
                http=http, clock=self._clock, database=database, box=self._box, timeouts=Timeouts()
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
        self._ground.loop.call_later(down_s, self.rise, replica.name.partition(".")[0])
