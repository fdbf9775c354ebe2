"""The pace of the rig: when something happens next, and who waits for it."""

import asyncio

from sqlalchemy import text

from tests.virtual_clock import VirtualClock

NEXT_DUE = text(
    """SELECT min(greatest(due_at, lease_until)) FROM (
        SELECT due_at, lease_until FROM payment_sessions UNION ALL SELECT due_at, lease_until FROM operator_jobs
    ) AS rows WHERE due_at IS NOT NULL"""
)
"""When somebody may work on something next: what is due, or what a dead worker's lease has kept from others."""


async def _do_not_wait() -> None:
    """The rig itself waits for those that it woke, since they do real I/O."""


class RigClock(VirtualClock):
    """Tells who waits for time to pass, so that the rig knows when nothing goes on without it."""

    def __init__(self) -> None:
        super().__init__(settle=_do_not_wait)
        self.slept = asyncio.Event()

    @property
    def sleepers(self) -> int:
        return sum(not woken.done() for _, _, woken in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        self.slept.set()
        await super().sleep(seconds)
