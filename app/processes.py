"""Runs the HTTP service, the watcher or the simulator until shutdown."""

import asyncio
import contextlib
import ctypes
import gc
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

import httpx
import structlog

from app.clock import Clock, ScaledClock, SystemClock, utc_now
from app.flows.admin import database_checks
from app.flows.admin.authenticate import keep_recording_key_uses
from app.flows.context import Context
from app.flows.webhook.absorb import keep_absorbing
from app.lean_imports import hide
from app.settings import KeyedSettings, Settings, load_settings
from app.store.db.database import (
    DATABASE_ERRORS,
    DUE_CHANNEL,
    EVENTS_CHANNEL,
    KEYS_CHANNEL,
    SESSIONS_CHANNEL,
    Database,
)
from app.store.db.listener import Echo, Listener
from app.telemetry import ProcessTelemetry, configure_logging
from app.wiring import database_url, open_event_outlet, open_outlets, ready_context

try:
    from uvloop import run as run_loop
except ImportError:  # not to be had on Windows
    from asyncio import run as run_loop  # type: ignore[assignment]

if TYPE_CHECKING:
    from fastapi import FastAPI

    from app.api.figures import Figures
    from app.api.http.live import SessionChanges
    from app.api.http.rate_limits import Quotas
    from app.watcher import Watcher

S = TypeVar("S", bound=Settings)
log = structlog.get_logger("running")

LOADED_BY_CALLS = "anyio._backends._asyncio"
"""What httpcore loads with its first call: the loop would stand still for some 50 ms, and no stop could be sent."""
ENDING = (signal.SIGINT, signal.SIGTERM)
KEEP_TIME_S = 10.0
WEBHOOK_TIMEOUT_S = 10.0


async def serve(settings: KeyedSettings, url: str, *, host: str, port: int, with_watcher: bool) -> None:
    """Runs the HTTP service until SIGINT or SIGTERM. With a watcher beside it when asked."""
    _load_http()  # here: a watcher alone needs none of it
    from app.api.http.live import SessionChanges
    from app.api.http.rate_limits import RateLimits
    from app.api.http.server import Connections, Server

    news = SessionChanges()
    async with ready_context(settings, url) as context, AsyncExitStack() as stack:
        await database_checks.warn_if_unbound(context.database)
        telemetry = context.telemetry
        metrics = telemetry.text if isinstance(telemetry, ProcessTelemetry) else (lambda: "")
        watcher = _watcher(settings, context) if with_watcher else None
        listens: dict[str, Callable[[str], None]] = {
            SESSIONS_CHANNEL: news.notify,
            KEYS_CHANNEL: lambda _: context.known_keys.forget(),
        }
        if watcher is not None:
            listens |= await _woken(stack, settings, context, watcher)
        await stack.enter_async_context(_beside(context, listens))
        await stack.enter_async_context(_writing_later(context))
        if watcher is not None:
            await _alerting(stack, settings, context)
        watching = asyncio.ensure_future(watcher.run()) if watcher is not None else None
        app = _app(settings, context, news, metrics)
        app.state.limits = RateLimits(_quotas(settings))
        await stack.enter_async_context(_background(lambda: app.state.figures.keep_reading(context)))
        _serve_metrics(settings, app.state.figures, telemetry)
        connections = Connections(settings.connections, settings.connections_per_address)
        server = Server(app, host, port, news.close, connections, trusted_proxies=settings.trusted_proxies)

        def ready() -> None:
            _settle()
            if watcher is not None:
                log.info("watcher_started", watcher=watcher.name)

        server.on_ready = ready
        await server.serve()
        if watcher is not None and watching is not None:
            watcher.stop()
            await watching


def _serve_metrics(settings: Settings, figures: "Figures", telemetry: object) -> None:
    from app.api.figures import Together
    from app.api.http.metrics_port import serve_metrics

    if settings.metrics_port is not None and isinstance(telemetry, ProcessTelemetry):
        together = Together(figures, telemetry.registry)
        serve_metrics(settings.metrics_port, together, {})


def _app(
    settings: KeyedSettings, context: Context, news: "SessionChanges", metrics: Callable[[], str]
) -> "FastAPI":
    from app.main import create_app

    return create_app(
        context,
        news=news,
        metrics=metrics,
        allow_plain_http=settings.allow_plain_http,
        docs=settings.docs,
        security_contact=settings.security_contact,
    )


def _load_http() -> None:
    """Loads FastAPI and our endpoints, without what no request needs.

    FastAPI looks whether an annotation is a model of pydantic.v1, also at the first request; none of ours is.
    Most models of pydantic are there for OpenAPI only: FastAPI's own, and those of answers, which we encode without
    them. Their validators are built when they are first used; models inherit that when they are defined.
    """
    from pydantic import BaseModel

    hide("pydantic.v1")
    BaseModel.model_config["defer_build"] = True
    try:
        import_module("app.main")
    finally:
        del BaseModel.model_config["defer_build"]


def _quotas(settings: Settings) -> "Quotas":
    from app.api.http.rate_limits import Quotas

    return Quotas(
        calls=settings.calls_per_minute,
        operator_calls=settings.operator_calls_per_minute,
        new_holds=settings.new_holds_per_minute,
        failed_keys=settings.failed_keys_per_minute,
    )


def run_watcher() -> None:
    """Runs the watcher by the settings of its environment."""
    settings = started(load_settings())
    with database_url(settings) as url:
        run(watch(settings, url))


async def watch(settings: KeyedSettings, url: str) -> None:
    """Runs the watcher alone until SIGINT or SIGTERM. Work under way is finished first."""
    async with ready_context(settings, url) as context:
        await database_checks.warn_if_unbound(context.database)
        watcher = _watcher(settings, context)
        if settings.watcher_metrics_port is not None and isinstance(context.telemetry, ProcessTelemetry):
            from app.api.http.metrics_port import probes, serve_metrics

            checks = probes(live=watcher.lives, ready=watcher.is_ready)
            serve_metrics(settings.watcher_metrics_port, context.telemetry.registry, checks)
        _on_signals(watcher.stop)
        async with AsyncExitStack() as stack:
            listens = await _woken(stack, settings, context, watcher)
            await stack.enter_async_context(_beside(context, listens))
            await _alerting(stack, settings, context)
            _settle()
            log.info("watcher_started", watcher=watcher.name)
            await watcher.run()
            log.info("watcher_ended", watcher=watcher.name)


def _watcher(settings: Settings, context: Context) -> "Watcher":
    from app.watcher import Watcher  # a service alone needs none of its work

    return Watcher(context, name=context.ids.new("wtc"), concurrency=settings.watcher_concurrency)


COLLECTED_AFTER = 10_000
"""New objects between two garbage collections. The usual 700 are those of three deliveries of webhooks."""


def _settle() -> None:
    """Exempts start-up objects from garbage collection, and frees unused memory.

    Only glibc has `malloc_trim`; elsewhere a process keeps some megabytes more.
    """
    gc.freeze()
    gc.set_threshold(COLLECTED_AFTER, 20, 20)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


async def _woken(
    stack: AsyncExitStack, settings: Settings, context: Context, watcher: "Watcher"
) -> dict[str, Callable[[str], None]]:
    """Sends events to terminal makers for as long as the stack is open. Returns what wakes it and the watcher."""
    from app.flows.events.send_events import EventSender
    from app.monta.egress import trusted_authorities

    import_module(LOADED_BY_CALLS)
    trusted_authorities()
    sender = EventSender(context, await stack.enter_async_context(open_event_outlet(settings)))
    await stack.enter_async_context(_background(sender.run))
    return {DUE_CHANNEL: lambda _: watcher.wake(), EVENTS_CHANNEL: lambda _: sender.wake()}


async def _alerting(stack: AsyncExitStack, settings: Settings, context: Context) -> None:
    """Sends alerts for as long as the stack is open."""
    from app.flows.operator.send_alerts import keep_sending

    outlets = await stack.enter_async_context(open_outlets(settings))
    await stack.enter_async_context(_background(lambda: keep_sending(context, outlets)))


async def simulate(
    settings: Settings,
    *,
    host: str,
    port: int,
    speed: float,
    announce: Callable[[Mapping[str, object]], None],
) -> None:
    """Runs the simulator as a server until SIGINT or SIGTERM. `announce` receives what a gateway needs to know."""
    from app.api.http.server import Server
    from app.simulator.server import SimulatorServer, about, default_config, with_new_charge_ids

    origin = settings.clock_origin or utc_now()
    clock: Clock = SystemClock() if speed == 1 else ScaledClock(speed, origin)
    config = default_config(speed=speed, plain_http=settings.allow_plain_http)
    config = with_new_charge_ids(config, utc_now())
    async with httpx.AsyncClient(timeout=WEBHOOK_TIMEOUT_S, trust_env=False) as http:

        async def deliver(url: str, body: bytes, headers: Mapping[str, str]) -> int:
            return (await http.post(url, content=body, headers=dict(headers))).status_code

        server = Server(SimulatorServer(config, clock, deliver), host, port, lambda: None)
        server.on_ready = lambda: announce(about(config, f"http://{host}:{port}"))
        await server.serve()


@asynccontextmanager
async def _background(*work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Runs endless work beside the block and cancels it at the end."""
    tasks = [asyncio.ensure_future(w()) for w in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _writing_later(context: Context) -> AbstractAsyncContextManager[None]:
    """Writes beside the block what no answer waits for."""
    return _background(lambda: keep_recording_key_uses(context), lambda: keep_absorbing(context))


@asynccontextmanager
async def _beside(context: Context, channels: dict[str, Callable[[str], None]]) -> AsyncIterator[None]:
    listener = Listener(context.database.listen_host, channels, echo=_echo(context.database))
    async with _background(listener.run, lambda: _keep_time(context)):
        yield


def _echo(database: Database) -> Echo | None:
    """Returns an echo when listening uses another host than writing. Only the database knows whether both are one."""
    if database.listen_host is database.host:
        return None

    async def say(word: str) -> None:
        with contextlib.suppress(*DATABASE_ERRORS):
            await database_checks.echo(database, word)

    return say


async def _keep_time(context: Context) -> None:
    """Keeps the offset to the database's clock current. Steps of the local clock have no effect (F62)."""
    clock = context.clock
    while isinstance(clock, SystemClock):
        await asyncio.sleep(KEEP_TIME_S)
        with contextlib.suppress(Exception):
            clock.offset += await database_checks.clock_skew(context.database, clock)


def _on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in ENDING:
        loop.add_signal_handler(number, stop)


def started(settings: S) -> S:
    """Returns the same settings after setting up logging with them."""
    configure_logging(level=settings.log_level, as_json=settings.log_format == "json")
    return settings


def run(work: Awaitable[None]) -> None:
    """Runs to the end; Ctrl-C is a normal end."""

    async def bounded() -> None:
        await work

    with contextlib.suppress(KeyboardInterrupt):
        run_loop(bounded())
