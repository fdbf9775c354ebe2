"""Sends events to the endpoints of terminal makers, beside the watcher. Repeats what was not taken."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec
import structlog

from app.alerting.outlet import NotDelivered
from app.domain.events.event import EventType
from app.domain.events.retries import GIVEN_UP, next_attempt, quiet_until
from app.domain.units.frozen import frozen
from app.flows.context import Context
from app.store.db.database import DATABASE_ERRORS, is_away, retry_on_serialization_failure
from app.store.db.scope import limited_to
from app.store.db.secret_box import SecretUnreadable
from app.store.events import deliveries, endpoints
from app.store.events.deliveries import Delivery, EndpointLease
from app.store.events.endpoints import Secrets

log = structlog.get_logger("events")

MOST_ENDPOINTS = 32
"""Endpoints that one process sends to at the same time."""
MOST_FAILING = MOST_ENDPOINTS // 2
"""Of them those that fail: however many do, the others find a place."""
MOST_AT_ONCE = 8
"""Deliveries to one endpoint at the same time, each about another session. To one that fails: 1."""
LEASE = timedelta(seconds=30)
"""A claim on an endpoint; each round of deliveries renews it, and takes TIMEOUT_S and a commit at most."""
MOST_ROUNDS = 50
"""Rounds of one claim. An endpoint that has more due is claimed again, after the others."""
IDLE_S = 1.0
"""Interval of the look for due deliveries, of real time. A notification makes it quicker."""
TROUBLE_S = 5.0
"""Pause after an error, such as a database that is away."""
LATE_RETRY = timedelta(minutes=5)
"""An endpoint that takes a delivery after it failed for longer gets all that waits at once, not when next due."""


class EventOutlet(Protocol):
    """How a signed event leaves."""

    async def send(self, url: str, secrets: Sequence[str], event_id: str, at: datetime, body: bytes) -> None:
        """Delivers one event. Raises NotDelivered."""
        ...


def event_body(type_: EventType | str, at: datetime, data: bytes) -> bytes:
    """Encodes `{type, timestamp, data}`. The same text for each attempt."""
    timestamp = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return msgspec.json.encode({"type": type_, "timestamp": timestamp, "data": msgspec.Raw(data)})


@frozen
class _Failed:
    delivery: Delivery
    why: str


class EventSender:
    """Sends what is due. Several processes may: each endpoint is one process's at a time.

    An endpoint's deliveries go in rounds. What came of a round is committed before the next one, so that a process
    that dies repeats one round at most.
    """

    def __init__(self, context: Context, outlet: EventOutlet) -> None:
        self._context = context
        self._outlet = outlet
        self._wake = asyncio.Event()
        self._running: dict[asyncio.Task[None], EndpointLease] = {}

    def wake(self) -> None:
        """Wakes the sender, since an event was written."""
        self._wake.set()

    async def run(self) -> None:
        """Sends until it is cancelled. Requests under way are then cut off, and repeated by whoever comes next."""
        try:
            while True:
                self._wake.clear()
                try:
                    claimed = await self._claim()
                except Exception as error:
                    log.warning("events_not_claimed", error=type(error).__name__)
                    await asyncio.sleep(TROUBLE_S)
                    continue
                for lease in claimed:
                    task = asyncio.create_task(self._send_to(lease))
                    self._running[task] = lease
                    task.add_done_callback(self._ended)
                await self._pause()
        finally:
            held = dict(self._running)
            for task in held:
                task.cancel()
            await asyncio.gather(*held, return_exceptions=True)
            with contextlib.suppress(*DATABASE_ERRORS):
                for lease in held.values():
                    await self._release(lease)

    async def run_round(self) -> int:
        """Sends what is due now to its end. Returns the count of claims. `run` does not wait so: for virtual time."""
        claimed = await self._claim()
        await asyncio.gather(*(self._send_to(lease) for lease in claimed))
        return len(claimed)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.pop(task, None)
        self._wake.set()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_S):
                await self._wake.wait()

    async def _claim(self) -> list[EndpointLease]:
        """Claims endpoints with deliveries due, as far as there are places."""
        now, failing = (
            self._context.clock.now(),
            sum(lease.failing_since is not None for lease in self._running.values()),
        )
        free = MOST_ENDPOINTS - len(self._running)
        for_failing = min(MOST_FAILING - failing, free)
        found: list[EndpointLease] = []
        if free <= 0:
            return found
        async with self._context.database.transaction() as connection:
            until = now + LEASE
            found = await deliveries.claim(connection, now=now, until=until, limit=free, failing=False)
            places = min(for_failing, free - len(found))
            if places > 0:
                found += await deliveries.claim(connection, now=now, until=until, limit=places, failing=True)
        return found

    async def _send_to(self, lease: EndpointLease) -> None:
        """Sends to one endpoint in rounds, until nothing is due or a whole round failed. To one that failed before: one
        round, after which it may be claimed as one that does not."""
        about = structlog.contextvars.bound_contextvars(endpoint_id=lease.endpoint_id)
        with about, limited_to(lease.operator_id):
            try:
                for _ in range(MOST_ROUNDS):
                    if not await self._round(lease):
                        break
                await self._release(lease)
            except Exception as error:
                if is_away(error):
                    log.warning("database_trouble", error=type(error).__name__)
                else:
                    log.exception("events_not_sent")

    async def _round(self, lease: EndpointLease) -> bool:
        """Sends one round. Whether another one may follow."""
        context, now = self._context, self._context.clock.now()
        limit = MOST_AT_ONCE if lease.failing_since is None else 1
        async with context.database.transaction() as connection:
            if not await deliveries.renew(connection, lease, now + LEASE):
                return False
            due = await deliveries.due(connection, lease.endpoint_id, now, limit=limit)
            if not due:
                return False
            try:
                secrets = await endpoints.secrets_of(
                    connection, context.operators.box, lease.endpoint_id, now
                )
            except SecretUnreadable as error:
                log.error("endpoint_unreadable", why=str(error))
                secrets = None
        old = [each for each in due if now - each.created_at > GIVEN_UP]
        young = [each for each in due if each not in old]
        if secrets is None:
            why = "its signing secret cannot be read: make a new one with `tapwatt endpoint rotate-secret --at-once`"
            failed = [_Failed(each, why) for each in young]
        else:
            tried = await asyncio.gather(*(self._send(lease, secrets, each) for each in young))
            failed = [each for each in tried if each is not None]
        await self._note(lease, young, failed, old)
        return lease.failing_since is None and (len(failed) < len(young) or not young)

    async def _send(self, lease: EndpointLease, secrets: Secrets, delivery: Delivery) -> _Failed | None:
        """Sends one event once. None: it was taken."""
        now = self._context.clock.now()
        body = event_body(delivery.type, delivery.created_at, delivery.data.encode())
        try:
            await self._outlet.send(lease.url, secrets.all, delivery.event_id, now, body)
        except NotDelivered as error:
            self._context.telemetry.event_sent("failed")
            return _Failed(delivery, str(error))
        except Exception as error:
            log.exception("event_not_sent", event_id=delivery.event_id)
            self._context.telemetry.event_sent("failed")
            return _Failed(delivery, type(error).__name__)
        self._context.telemetry.event_sent("taken")
        return None

    @retry_on_serialization_failure
    async def _note(
        self,
        lease: EndpointLease,
        tried: Sequence[Delivery],
        failed: Sequence[_Failed],
        old: Sequence[Delivery],
    ) -> None:
        """Commits what came of a round."""
        now = self._context.clock.now()
        again = [
            (each, next_attempt(each.delivery.created_at, each.delivery.attempts + 1, now)) for each in failed
        ]
        put_off = [(each.delivery, at) for each, at in again if at is not None]
        given_up = [each.delivery.event_id for each, at in again if at is None] + [
            each.event_id for each in old
        ]
        lost = {each.delivery.event_id for each in failed}
        taken = [each.event_id for each in tried if each.event_id not in lost]
        async with self._context.database.transaction() as connection:
            await deliveries.finish(connection, lease, [*taken, *given_up])
            await deliveries.put_off(connection, lease, put_off)
            if taken:
                await deliveries.note_taken(connection, lease, now)
                if lease.failing_since is not None and now - lease.failing_since > LATE_RETRY:
                    await endpoints.make_due(connection, lease.endpoint_id, now)
            if failed or given_up:
                since = None if taken or not failed else lease.failing_since or now
                await deliveries.note_failed(
                    connection,
                    lease,
                    problem=failed[-1].why if failed else f"not taken within {GIVEN_UP.days} days",
                    since=since,
                    quiet_until=None if since is None else quiet_until(since, now),
                    given_up=len(given_up),
                )
        for each in failed:
            log.warning("event_not_taken", event_id=each.delivery.event_id, why=each.why)
        if given_up:
            log.error("events_given_up", events=len(given_up))

    async def _release(self, lease: EndpointLease) -> None:
        async with self._context.database.transaction() as connection:
            await deliveries.release(connection, lease)
