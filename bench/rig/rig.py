"""Opens everything that the cases need, and measures CPU while a system works."""

import asyncio
import itertools
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from app.demo.processes import base_environment, free_port
from bench.load.generator import Generator
from bench.report.rows import CEILING, TAPWATT, USUAL, Rows
from bench.rig import copies
from bench.rig.copies import Original
from bench.rig.database import BenchDatabase
from bench.rig.processes import Process, cpu_s
from bench.rig.tapwatt import FRESH, SLOW, Running, Tapwatt
from bench.rig.usual import Usual

Job = dict[str, Any]
AMOUNT = 50_000
COPIED = 20_000
"""Of more sessions only what lists, searches and the watcher's looks for work read."""
SAVED_S = 0.1
"""By then what a start has shown of its charge point is saved."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured; `quick` figures show big changes only."""

    rounds: int
    long_rounds: int
    """Of cases whose rounds take a minute."""
    seconds: float
    """Of one round of one system."""
    sessions: int
    """Running sessions that get readings."""
    points: int
    """Charge points for authorizations in one round."""
    batches: tuple[tuple[int, int], ...]
    """Entries a delivery, and connections."""
    callers: tuple[int, ...]
    starts: int
    stops: int
    overload: int
    """Connections that send more than can be served, for `overload_s`."""
    overload_s: float
    backlog: int
    """Readings of each running session that come at once."""
    polls: int
    """Long polls that wait at once."""
    ticks: tuple[int, ...]
    finished: int


FULL = Scale(
    rounds=3,
    long_rounds=2,
    seconds=1.5,
    sessions=100_000,
    points=6_000,
    batches=((1, 1), (1, 128), (10, 32), (100, 128)),
    callers=(1, 16, 64),
    starts=400,
    stops=100,
    overload=512,
    overload_s=60.0,
    backlog=3,
    polls=5_000,
    ticks=(10_000, 100_000, 1_000_000),
    finished=100_000,
)
QUICK = Scale(
    rounds=2,
    long_rounds=1,
    seconds=1.0,
    sessions=2_000,
    points=3_000,
    batches=((10, 32),),
    callers=(16,),
    starts=100,
    stops=25,
    overload=256,
    overload_s=5.0,
    backlog=25,
    polls=2_000,
    ticks=(10_000, 30_000),
    finished=10_000,
)
SMALLEST = Scale(
    rounds=1,
    long_rounds=1,
    seconds=0.3,
    sessions=50,
    points=50,
    batches=((10, 4),),
    callers=(4,),
    starts=5,
    stops=3,
    overload=8,
    overload_s=1.0,
    backlog=2,
    polls=10,
    ticks=(100,),
    finished=100,
)
"""Only to see that everything runs."""


@dataclass
class Window:
    """What a system did between two moments: `cpu_s` by part, once the block has ended."""

    seconds: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=dict)

    def cpu_us(self, units: int) -> dict[str, float]:
        """Microseconds a unit."""
        return {part: seconds * 1e6 / units for part, seconds in self.cpu_s.items()} if units else {}


@dataclass
class Rig:
    scale: Scale
    rows: Rows
    database: BenchDatabase
    generator: Generator
    tapwatt: Tapwatt
    usual: Usual
    folder: Path
    running: Running | None = None
    """The original of the sessions that run now in both systems; None: there are none."""
    fresh_point: int = 0
    slow_points: Iterator[str] = field(default_factory=lambda: itertools.cycle(SLOW))
    _prepared: bool = False

    async def ceiling(self, kind: str, **job: Any) -> Job:
        """Runs the ceiling; its tables are filled at the first use."""
        url = self.database.url(CEILING)
        if not self._prepared:
            await self.generator.run(ceiling="setup", url=url)
            self._prepared = True
        return await self.generator.run(ceiling=kind, url=url, **job)

    @contextmanager
    def measured(self, system: str) -> Iterator[Window]:
        before, began = self._cpu(system), time.monotonic()
        window = Window()
        yield window
        window.seconds = time.monotonic() - began
        window.cpu_s = {part: value - before[part] for part, value in self._cpu(system).items()}

    def _cpu(self, system: str) -> dict[str, float]:
        services = {TAPWATT: self.tapwatt.service, USUAL: self.usual.service, CEILING: self.generator.process}
        parts = {"service": cpu_s(services[system].pid)}
        if system == TAPWATT and self.tapwatt.watcher.child is not None:
            parts["watcher"] = cpu_s(self.tapwatt.watcher.pid)
        return parts | {"postgres": self.database.cpu_s()}

    async def forget_sessions(self) -> None:
        self.running = None
        connection = await self.database.connect(TAPWATT)
        await copies.forget_sessions(connection)
        await connection.close()

    async def copy(self, original: Original, count: int, **options: Any) -> None:
        """Copies an original session; the figures of the tables are renewed by `settle`."""
        connection = await self.database.connect(TAPWATT)
        await copies.copy(connection, original, count, **options)
        await connection.close()

    async def copy_many(
        self, original: Original, count: int, *, made: int = 0, apart: timedelta = timedelta(0)
    ) -> None:
        """Copies an original session, of which there are `made` copies. Beyond COPIED of them only the rows of
        `copies.MULTIPLIED`."""
        copied = max(made, min(count, COPIED))
        await self.copy(original, copied - made, first=made, apart=apart, without=("journal",))
        connection = await self.database.connect(TAPWATT)
        await copies.multiply(connection, original, copied, count, apart=apart)
        await connection.close()

    async def spread_kept_readings(self, original: Original) -> None:
        connection = await self.database.connect(TAPWATT)
        await copies.spread_kept_readings(connection, original)
        await connection.close()

    async def settle(self, *systems: str) -> None:
        for system in systems:
            await self.database.settle(system)

    async def settle_running(self) -> None:
        """As `settle`, and changes each running session once in both systems.

        PostgreSQL logs a page whole at its first change after a checkpoint. In service few readings meet that, since there
        are minutes between two checkpoints; in a short run over many sessions nearly all would.
        """
        await self.settle(TAPWATT, USUAL)
        for system, table, column in (
            (TAPWATT, "kept_readings", "revision"),
            (USUAL, "payment_sessions", "version"),
        ):
            connection = await self.database.connect(system)
            await connection.execute(f"UPDATE {table} SET {column} = {column} + 1")
            await connection.close()

    async def fresh_points(self) -> int:
        """The first of `scale.points` charge points of the terminal, made at the first call.

        They are copies of one that Monta has shown to the watcher: of others each start reads the charge point, too.
        """
        if not self.fresh_point:
            await self.tapwatt.running(FRESH, AMOUNT)
            await asyncio.sleep(SAVED_S)
            connection = await self.database.connect(TAPWATT)
            self.fresh_point = await copies.copy_points(connection, FRESH, self.scale.points)
            await connection.close()
        return self.fresh_point


@asynccontextmanager
async def open_rig(scale: Scale, rows: Rows) -> AsyncIterator[Rig]:
    """Starts all processes; ends them and removes their files afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="tapwatt-bench-"))
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        database = BenchDatabase(folder / "database")
        stack.callback(database.close)
        await database.open(TAPWATT, USUAL, CEILING)
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=60, trust_env=False))
        environment = base_environment()
        monta_port = free_port()
        monta = Process("monta", ["bench.rig.fake_monta", str(monta_port)], environment, folder)
        generator = Generator(Process("load", ["bench.load"], environment, folder))
        stack.push_async_callback(generator.stop)
        tapwatt = Tapwatt(folder, database, monta_port, http, generator)
        usual = Usual(folder, database, scale.points + scale.sessions)
        for process in (monta, tapwatt.service, tapwatt.watcher, usual.service):
            stack.callback(process.stop)
        listening = monta.says(b"listening")
        monta.start()
        await generator.start()
        monta.wait_until(listening)
        await tapwatt.provision()
        tapwatt.start_service()
        tapwatt.start_watcher()
        await usual.open()
        yield Rig(scale, rows, database, generator, tapwatt, usual, folder)
