"""Disturbs replicas at random (kill -9, a freeze beyond the lease, SIGTERM), and measures when others take over."""

import asyncio
import math
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.processes.fleet import LEASE_S, POLL_S, READY_S, SEND_GUARD_S, Fleet, Process

FREEZE_S = LEASE_S + SEND_GUARD_S + 0.5
DRAIN_S = READY_S
GIVE_UP_S = 90.0
"""However busy the machine is; how soon others take over is measured."""
MOST_STRIKES = 20
HELD = "SELECT id, lease_token FROM payment_sessions WHERE lease_owner = ANY($1) AND lease_until > now()"


@dataclass(slots=True)
class Turmoil:
    """Disturbs one replica after the other; `took_over_s` has the wait of each session that was in work then, from
    the disturbance to the next claim."""

    fleet: Fleet
    rng: random.Random
    took_over_s: list[float] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    stalled_s: float = 0.0
    """The longest that the machine kept this test or a replica that could take over from running meanwhile."""

    async def kill(self, replica: Process) -> None:
        gone = replica.watcher_names()
        replica.kill()
        seen = asyncio.ensure_future(self._see_take_over(replica, gone))
        await asyncio.sleep(0)  # what it held is asked for first
        replica.start()
        await self.fleet.ready(replica)
        await seen

    async def freeze(self, replica: Process) -> None:
        replica.send(signal.SIGSTOP)
        thaws_at = time.monotonic() + FREEZE_S
        await self._see_take_over(replica, replica.watcher_names())
        await asyncio.sleep(max(0.0, thaws_at - time.monotonic()))
        replica.send(signal.SIGCONT)
        await self.fleet.ready(replica)

    async def drain(self, replica: Process) -> None:
        """Sends SIGTERM: it finishes work under way and leaves nothing to take over."""
        watcher = replica.watcher_names()[-1]
        replica.send(signal.SIGTERM)
        assert await replica.ended(DRAIN_S) == 0
        left = "SELECT count(*) FROM payment_sessions WHERE lease_owner = $1"
        assert await self.fleet.value(left, watcher) == 0, "a drained watcher kept a session"
        assert not await self.fleet.value("SELECT count(*) FROM watchers WHERE id = $1", watcher)
        replica.start()
        await self.fleet.ready(replica)

    async def strike(self, **times: int) -> None:
        """Disturbs this often by each kind in any order, at random moments, each at a random replica."""
        kinds = [kind for kind, number in times.items() for _ in range(number)]
        self.rng.shuffle(kinds)
        for kind in kinds:
            await asyncio.sleep(self.rng.uniform(0.2, 1.5))
            replica = self.rng.choice(self.fleet.replicas)
            await self._until_busy(replica)
            await getattr(self, kind)(replica)
            self.struck[kind] += 1

    async def strike_until_seen(self) -> None:
        """Kills on until a session was in work at a kill: it may be released between the look and the kill."""
        for _ in range(MOST_STRIKES):
            if self.took_over_s:
                return
            await self.strike(kill=1)

    async def _until_busy(self, replica: Process) -> None:
        """Waits until it has a session in work: a disturbance between two of them would prove nothing."""
        ends_at = time.monotonic() + GIVE_UP_S
        watchers = replica.watcher_names()
        while not await self.fleet.rows(HELD, watchers):
            assert time.monotonic() < ends_at, f"{replica.name} does nothing"
            await asyncio.sleep(self.rng.uniform(0, POLL_S))

    async def _see_take_over(self, struck: Process, watchers: list[str]) -> None:
        """Watches the sessions in work at the disturbed watchers until others have claimed each."""
        others = [each for each in self.fleet.replicas if each is not struck]
        stalls = [asyncio.ensure_future(self._see_stalls(each)) for each in others]
        try:
            await self._until_claimed(watchers)
        finally:
            for each in stalls:
                each.cancel()
            await asyncio.gather(*stalls, return_exceptions=True)

    async def _see_stalls(self, replica: Process) -> None:
        """Measures how long a replica takes for an answer that needs nothing else."""
        while True:
            began = time.monotonic()
            await self.fleet.http.get(f"{replica.url}/health/live")
            self.stalled_s = max(self.stalled_s, time.monotonic() - began)
            await asyncio.sleep(POLL_S)

    async def _until_claimed(self, watchers: list[str]) -> None:
        struck_at = time.monotonic()
        held = {r["id"]: r["lease_token"] for r in await self.fleet.rows(HELD, watchers)}
        now = "SELECT id, lease_token, lease_owner FROM payment_sessions WHERE id = ANY($1)"
        while held:
            assert time.monotonic() < struck_at + GIVE_UP_S, f"no replica took over {held}"
            for row in await self.fleet.rows(now, list(held)):
                if row["lease_token"] > held[row["id"]]:
                    self.took_over_s.append(time.monotonic() - struck_at)
                elif row["lease_owner"] is not None:
                    continue
                # Without an owner: its last commit was under way at the disturbance, and released the session.
                del held[row["id"]]
            asleep = time.monotonic()
            await asyncio.sleep(POLL_S)
            self.stalled_s = max(self.stalled_s, time.monotonic() - asleep - POLL_S)

    def p99_s(self) -> float:
        """The wait that 99 % did not exceed; 0 when no session was in work at any strike."""
        waits = sorted(self.took_over_s)
        return waits[math.ceil(0.99 * len(waits)) - 1] if waits else 0.0
