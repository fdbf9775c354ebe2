"""Tests of app/processes: what `serve` runs beside its answers. Each is told by the database, none is polled for."""

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app import processes, watcher
from app.alerting.signed_webhook import SignedOutlet
from app.api.figures import Figures
from app.api.http import live
from app.demo.processes import free_port
from app.domain.session.attention import AttentionCode
from app.domain.session.machine import Change, Source
from app.domain.session.states.kept_readings import ABSORBED_FROM
from app.domain.units.ids import SessionId
from app.flows import known_keys
from app.flows.admin import authenticate, manage_keys
from app.flows.events import send_events
from app.flows.operator import send_alerts
from app.flows.saving import save
from app.monta.transport import open_http
from app.settings import KeyedSettings, Secret
from app.store.db.database import DUE_CHANNEL, EVENTS_CHANNEL, KEYS_CHANNEL, SESSIONS_CHANNEL
from app.store.db.listener import Listener
from app.store.operators.keys import KeyKind
from app.store.sessions import payment_sessions
from tests.build_context import SECRET_KEY
from tests.conftest import PATIENCE_S
from tests.journeys.deliveries import as_monta_shows_it, deliver, entry, later
from tests.journeys.receiver import Maker, listen
from tests.journeys.rig import Json, Rig, open_rig

pytestmark = pytest.mark.anyio

NEVER_S = 1_000.0


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """A process that serves sets up its garbage collector for good."""
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.fixture(autouse=True)
def no_handler() -> Iterator[None]:
    """A process that does not listen to signals must not end the tests."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


@asynccontextmanager
async def serving(
    rig: Rig, *, with_watcher: bool = False, calls_per_minute: int = 1_200
) -> AsyncIterator[httpx.AsyncClient]:
    """Serves on the rig's database, from the rig's time on, until it is told to end as a process is."""
    settings = KeyedSettings(
        secret_key=Secret(SECRET_KEY),
        allow_plain_http=True,
        calls_per_minute=calls_per_minute,
        clock_origin=rig.clock.now() + timedelta(seconds=1),
    )
    port, others = free_port(), asyncio.all_tasks()
    served = asyncio.create_task(
        processes.serve(settings, rig.database_url, host="127.0.0.1", port=port, with_watcher=with_watcher)
    )
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http:
        try:
            await until(lambda: answers(http, served))
            yield http
        finally:
            await ended(served, others)


async def ended(process: "asyncio.Task[None]", others: set["asyncio.Task[Any]"]) -> None:
    """Tells it to end as a process is told, and waits until it has: with no task left besides the others."""
    if not process.done():
        os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(process, PATIENCE_S)
    left = asyncio.all_tasks() - others
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    assert not left, "what it began is ended with it"


async def answers(http: httpx.AsyncClient, served: "asyncio.Task[None]") -> bool:
    assert not served.done(), served.exception()
    try:
        return (await http.get("/health/live")).status_code == 200
    except httpx.TransportError:
        return False


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await done():  # noqa: ASYNC110  what the process does, it tells nobody
            await asyncio.sleep(0.02)


async def value(rig: Rig, query: str) -> object:
    async with rig.context.database.read() as connection:
        return (await connection.execute(text(query))).scalar_one()


async def change(rig: Rig, statement: str) -> None:
    async with rig.context.database.transaction() as connection:
        await connection.execute(text(statement))


def bearer(rig: Rig) -> dict[str, str]:
    return {"Authorization": f"Bearer {rig.terminal.api_key}"}


async def test_many_kept_readings_are_applied_to_their_session(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.authorize(907, 5000)
        await rig.pass_time(100)
        charge = await as_monta_shows_it(rig)
        rig.monta.outbox.config = None
        await rig.pass_time(2)
        assert await deliver(rig, entry(rig, later(rig, charge, 0))) == 200
        await change(rig, f"UPDATE kept_readings SET count = {ABSORBED_FROM - 1}")
        await rig.pass_time(10)
        told = entry(rig, later(rig, charge, 30))
        async with serving(rig) as rig.http:
            assert await deliver(rig, told) == 200

            async def applied() -> bool:
                return await value(rig, "SELECT count FROM kept_readings") == 0

            await until(applied)


async def test_a_revoked_key_is_refused_once_the_database_announces_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_keys, "KEPT_S", NEVER_S)
    async with open_rig(database_url) as rig, serving(rig) as http:
        path = "/v1/charge-points"
        assert (await http.get(path, headers=bearer(rig))).status_code == 200
        await manage_keys.revoke_key(rig.context, rig.terminal.key_id, KeyKind.TERMINAL)

        async def refused() -> bool:
            return (await http.get(path, headers=bearer(rig))).status_code == 401

        await until(refused)


async def test_a_long_poll_is_answered_once_another_process_changes_its_session(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "SWEEP_S", NEVER_S)
    async with open_rig(database_url) as rig, serving(rig) as http:
        session: Json = await rig.authorize(907, 5000)
        path = f"/v1/payment-sessions/{session['id']}"
        wait = {"wait": "30", "version": str(session["version"])}
        poll = asyncio.create_task(http.get(path, params=wait, headers=bearer(rig)))
        assert (await http.get(path, headers=bearer(rig))).status_code == 200
        await rig.call("POST", f"{path}/stop")
        async with asyncio.timeout(PATIENCE_S):
            assert (await poll).json()["version"] > session["version"]


async def test_the_watcher_takes_up_what_falls_due_once_the_database_announces_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "IDLE_S", NEVER_S)
    async with open_rig(database_url) as rig:
        await change(rig, "UPDATE operators SET monta_url = 'http://127.0.0.1:9/api/v1'")
        await change(rig, "UPDATE operator_jobs SET due_at = NULL, lease_token = 0")
        async with serving(rig, with_watcher=True):

            async def began() -> bool:
                return await value(rig, "SELECT max(lease_token) FROM operator_jobs") == 1

            await until(began)  # from then on nothing is due
            session: Json = await rig.authorize(907, 5000)

            async def claimed() -> bool:
                return await value(rig, "SELECT lease_token FROM payment_sessions") != 0

            await until(claimed)
            assert session["status"] == "authorized"
        assert await value(rig, "SELECT count(*) FROM watchers") == 0, "it ended before the process"


async def need_attention(rig: Rig, session_id: SessionId) -> None:
    """A change of which an event tells."""
    async with rig.context.database.transaction() as connection:
        session = await payment_sessions.lock(connection, session_id)
        assert session is not None
        raised = Change(session).raise_attention(AttentionCode.SHORTFALL, "1", Source.WATCHER)
        await save(rig.context, connection, session, raised, rig.clock.now())


async def test_an_event_is_sent_once_the_database_announces_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one: with the first one the sender may be looking for what is due anyway."""
    monkeypatch.setattr(send_events, "IDLE_S", NEVER_S)
    monkeypatch.setattr(watcher.Watcher, "run", lambda self: self._stopping.wait())
    maker = Maker()

    @asynccontextmanager
    async def outlet(_: object) -> AsyncIterator[SignedOutlet]:
        async with open_http(maker) as http:
            yield SignedOutlet(http)

    monkeypatch.setattr(processes, "open_event_outlet", outlet)
    async with open_rig(database_url) as rig:
        sessions = [await rig.authorize(point, 5000) for point in (907, 106)]
        await listen(rig, maker)
        async with serving(rig, with_watcher=True):
            for number, session in enumerate(sessions, 1):
                await need_attention(rig, SessionId(session["id"]))

                async def sent(count: int = number) -> bool:
                    free = "SELECT count(*) FROM event_endpoints WHERE lease_until IS NULL"
                    return len(maker.got) == count and await value(rig, free) == 1

                await until(sent)


CHANNELS = {
    "service": {SESSIONS_CHANNEL, KEYS_CHANNEL},
    "watcher": {DUE_CHANNEL, EVENTS_CHANNEL},
}
PARTS: dict[str, tuple[object, str]] = {
    "notifications": (Listener, "run"),
    "time": (processes, "_keep_time"),
    "uses of keys": (processes, "keep_recording_key_uses"),
    "kept readings": (processes, "keep_absorbing"),
    "figures": (Figures, "keep_reading"),
    "events": (send_events.EventSender, "run"),
    "alerts": (send_alerts, "keep_sending"),
    "watcher": (watcher.Watcher, "run"),
}
"""What goes on beside the answers of a process, or is all that it does."""
OF_BOTH = {"notifications", "time"}
OF_THE_SERVICE, OF_THE_WATCHER = {"uses of keys", "kept readings", "figures"}, {"events", "alerts", "watcher"}


class Beside:
    """Puts parts of a process in place of what they do that only note that they go on, until they are ended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.going_on: set[str] = set()
        self.begun: set[str] = set()
        self.channels: set[str] = set()
        for name, (owner, function) in PARTS.items():
            monkeypatch.setattr(owner, function, self._part(name))

    def _part(self, name: str) -> Callable[..., Awaitable[None]]:
        async def part(*given: Any) -> None:
            if name == "notifications":
                self.channels = set(given[0]._channels)
            self.begun.add(name)
            self.going_on.add(name)
            try:
                await (given[0]._stopping if name == "watcher" else asyncio.Event()).wait()
            finally:
                self.going_on.remove(name)

        return part

    async def all_begun(self, names: set[str]) -> bool:
        return self.going_on >= names


@pytest.mark.parametrize("with_watcher", [False, True])
async def test_all_that_a_service_does_beside_its_answers_is_begun_and_ended(
    database_url: str, monkeypatch: pytest.MonkeyPatch, with_watcher: bool
) -> None:
    beside = Beside(monkeypatch)
    parts = OF_BOTH | OF_THE_SERVICE | (OF_THE_WATCHER if with_watcher else set())
    async with open_rig(database_url) as rig, serving(rig, with_watcher=with_watcher):
        await until(lambda: beside.all_begun(parts))
        assert beside.channels == CHANNELS["service"] | (CHANNELS["watcher"] if with_watcher else set())
    assert beside.begun == parts
    assert not beside.going_on


async def test_all_that_a_watcher_alone_does_is_begun_and_ended(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, port = Beside(monkeypatch), free_port()
    settings = KeyedSettings(secret_key=Secret(SECRET_KEY), watcher_metrics_port=port)
    async with open_rig(database_url) as rig:
        others = asyncio.all_tasks()
        watching = asyncio.create_task(processes.watch(settings, rig.database_url))
        try:
            await until(lambda: beside.all_begun(OF_BOTH | OF_THE_WATCHER))
            assert beside.channels == CHANNELS["watcher"]
            async with httpx.AsyncClient(trust_env=False) as http:
                metrics = await http.get(f"http://127.0.0.1:{port}/metrics")
            assert "tapwatt_stop_lateness_seconds" in metrics.text
        finally:
            await ended(watching, others)
    assert beside.begun == OF_BOTH | OF_THE_WATCHER
    assert not beside.going_on


async def test_uses_of_keys_are_written_and_calls_beyond_the_settings_limit_are_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authenticate, "USES_WRITTEN_S", 0.01)
    async with open_rig(database_url) as rig, serving(rig, calls_per_minute=4) as http:
        answers = [await http.get("/v1/charge-points", headers=bearer(rig)) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        assert int(answers[1].headers["Retry-After"]) > 0

        async def written() -> bool:
            used = f"SELECT last_used_at FROM api_keys WHERE id = '{rig.terminal.key_id}'"
            return await value(rig, used) is not None

        await until(written)
