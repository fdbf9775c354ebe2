"""The pace of the rig: when the next event is due, and which tasks wait for it."""

import asyncio

from sqlalchemy import text

from tests.virtual_clock import VirtualClock

NEXT_DUE = text(
    """SELECT min(greatest(due_at, lease_until)), (
        SELECT sum(written) FROM (
            SELECT xmin::text::bigint AS written FROM payment_sessions
            UNION ALL SELECT xmin::text::bigint FROM kept_readings
        ) AS transactions
    ) FROM (
        SELECT due_at, lease_until FROM payment_sessions UNION ALL SELECT due_at, lease_until FROM operator_jobs
    ) AS rows WHERE due_at IS NOT NULL"""
)
"""When the next work may begin: what is due, or withheld by a dead worker's lease. And a sum that differs once a row
was written of which a session is shown."""


async def _do_not_wait() -> None:
    """The rig itself waits for the tasks that it woke, since they do real I/O."""


class RigClock(VirtualClock):
    """Counts the tasks that wait for time to pass, so that the rig knows when to advance it."""

    def __init__(self) -> None:
        super().__init__(settle=_do_not_wait)
        self.slept = asyncio.Event()

    @property
    def sleepers(self) -> int:
        return sum(not woken.done() for _, _, woken in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        self.slept.set()
        await super().sleep(seconds)
