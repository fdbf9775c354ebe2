"""Delivers the outbox in signed batches on a cadence. A failed batch is retried every 60 s for 24 hours."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.units.frozen import frozen
from app.simulator.faults.schedule import FaultSchedule
from app.simulator.site.site import Site
from app.simulator.site.timeline import in_ms
from app.simulator.webhooks.outbox import Entry, EntryStatus, Outbox, WebhookConfig, signature
from app.simulator.wire import dumps

Deliver = Callable[[str, bytes, Mapping[str, str]], Awaitable[int]]
"""POSTs a body to a URL and returns the status. Raises when there is no answer."""
MAX_DELIVERIES_KEPT = 10_000
PATIENCE_S = 10.0
"""Real seconds that a receiver has to answer, however fast the clock runs."""


@frozen
class Delivery:
    """One attempt, for assertions: `status` is None when there was no answer."""

    at: datetime
    attempt: int
    entry_ids: tuple[int, ...]
    pending: int
    status: int | None
    body: bytes
    headers: Mapping[str, str]


@dataclass(slots=True)
class _Batch:
    entries: list[Entry]
    first_at: datetime
    next_at: datetime
    attempts: int = 0


class Deliveries:
    """Delivers batches. Success is 200 only; a batch is retried whole, with a fresh timestamp and signature."""

    def __init__(self, site: Site, outbox: Outbox, faults: FaultSchedule, deliver: Deliver) -> None:
        self._site = site
        self._outbox = outbox
        self._faults = faults
        self._deliver = deliver
        self._retries: list[_Batch] = []
        self._not_before = site.now
        self.deliveries: deque[Delivery] = deque(maxlen=MAX_DELIVERIES_KEPT)

    def next_at(self) -> datetime | None:
        """Returns when the next delivery is due."""
        times = [batch.next_at for batch in self._retries]
        if self._outbox.waiting:
            ready_at = min(entry.ready_at for entry in self._outbox.waiting)
            times.append(self._tick(max(ready_at, self._not_before)))
        return min(times, default=None)

    async def deliver_due(self, now: datetime) -> None:
        """Sends the batch that is due first, if any."""
        due = self.next_at()
        if due is None or due > now:
            return
        retry = min(self._retries, key=lambda batch: batch.next_at, default=None)
        if retry is not None and retry.next_at == due:
            self._retries.remove(retry)
            await self._send(retry, now)
        else:
            self._not_before = due + timedelta(milliseconds=1)
            await self._send(self._collect(now), now)

    async def flush(self, now: datetime) -> None:
        """Sends all waiting entries at once: a webhook that overtakes the answer."""
        if self._outbox.waiting:
            for entry in self._outbox.waiting:
                entry.ready_at = now
            await self._send(self._collect(now), now)

    def _tick(self, at: datetime) -> datetime:
        """Returns the first tick of the cadence that is not before `at`."""
        cadence = timedelta(seconds=self._site.config.webhook_cadence_s)
        beats = -((self._site.opened_at - at) // cadence)
        return in_ms(self._site.opened_at + beats * cadence + timedelta(microseconds=999))

    def _collect(self, now: datetime) -> _Batch:
        ready = [entry for entry in self._outbox.waiting if entry.ready_at <= now]
        ready = sorted(ready, key=lambda entry: entry.ready_at)[: self._site.config.webhook_batch_max]
        taken = {entry.id for entry in ready}
        self._outbox.waiting = [entry for entry in self._outbox.waiting if entry.id not in taken]
        return _Batch(ready, now, now)

    async def _send(self, batch: _Batch, now: datetime) -> None:
        config = self._outbox.config
        if config is None or not batch.entries:
            return
        pending = len(self._outbox.waiting) + sum(len(retry.entries) for retry in self._retries)
        body = dumps(
            {
                "entries": [entry.payload for entry in batch.entries],
                "pending": pending,
                "timestamp": int(now.timestamp() * 1000),
            }
        )
        headers = self._headers(config, body)
        status, error = await self._attempt(config, body, headers)
        batch.attempts += 1
        ids = tuple(entry.id for entry in batch.entries)
        self.deliveries.append(Delivery(now, batch.attempts, ids, pending, status, body, headers))
        self._site.counters["webhook_deliveries"] += 1
        self._settle(batch, now, status, error)

    async def _attempt(
        self, config: WebhookConfig, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int | None, str]:
        try:
            async with asyncio.timeout(PATIENCE_S):
                status = await self._deliver(config.url, body, headers)
        except Exception as error:  # whatever the error, the batch is kept
            return None, type(error).__name__
        return status, f"Status {status}"

    def _headers(self, config: WebhookConfig, body: bytes) -> dict[str, str]:
        secret = config.secret
        if self._faults.forged_signatures > 0:
            self._faults.forged_signatures -= 1
            secret = f"not {secret}"
        return {
            **config.headers,
            "Content-Type": "application/json",
            "X-Monta-Signature": f"sha1={signature(secret, body)}",
        }

    def _settle(self, batch: _Batch, now: datetime, status: int | None, error: str) -> None:
        delivered = status == 200
        for entry in batch.entries:
            entry.status = EntryStatus.COMPLETED if delivered else EntryStatus.FAILED
            entry.error_code = None if delivered else str(status or "NO_ANSWER")
            entry.error_message = None if delivered else error
            entry.updated_at = now
        if delivered:
            self._site.counters["webhook_entries_delivered"] += len(batch.entries)
            return
        self._site.counters["webhook_deliveries_failed"] += 1
        batch.next_at = now + timedelta(seconds=self._site.config.webhook_retry_s)
        if batch.next_at <= batch.first_at + timedelta(seconds=self._site.config.webhook_keep_s):
            self._retries.append(batch)
