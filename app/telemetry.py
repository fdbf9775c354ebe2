"""Prometheus metrics and structured logs of one process."""

import json
import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from app.domain.units.card_numbers import Field, looks_like_card_number
from app.domain.units.control_chars import escaped

LATENCY_BUCKETS_S = (0.5, 1, 2, 3, 5, 8, 12, 20, 30, 60, 120, 300)
SHORT_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class ProcessTelemetry:
    """The metrics of this process; flows.context.Telemetry explains each."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self._entries = Counter("tapwatt_webhook_entries", "Webhook entries kept.", registry=r)
        self._refused = Counter("tapwatt_webhooks_refused", "Deliveries refused.", ["why"], registry=r)
        self._keys = Counter("tapwatt_keys_refused", "Calls without a valid key.", ["kind"], registry=r)
        self._foreign = Counter(
            "tapwatt_foreign_access", "Calls for sessions of others, by valid keys.", ["kind"], registry=r
        )
        self._lag = Histogram(
            "tapwatt_webhook_lag_seconds",
            "Age of a delivery's oldest event when it came.",
            buckets=LATENCY_BUCKETS_S,
            registry=r,
        )
        self._stop = Histogram(
            "tapwatt_stop_latency_seconds",
            "From the decision to stop to Monta's word that no energy flows.",
            buckets=LATENCY_BUCKETS_S,
            registry=r,
        )
        self._settled = Counter("tapwatt_sessions_settled", "Payment sessions settled.", registry=r)
        self._overshoot = Counter(
            "tapwatt_overshoot_minor", "Cost beyond authorizations, in minor units.", ["currency"], registry=r
        )
        self._overshot = Counter(
            "tapwatt_sessions_overshot", "Sessions that cost more than was authorized.", registry=r
        )
        self._calls = Counter("tapwatt_monta_calls", "Calls to Monta.", ["call", "outcome"], registry=r)
        self._swept = Counter("tapwatt_sweep_reads", "Reads of silent charges.", ["how"], registry=r)
        self._silent = Counter("tapwatt_silent_charges", "Charges found silent by sweeps.", registry=r)
        self._events = Counter(
            "tapwatt_events_sent", "Attempts to deliver events to terminal makers.", ["outcome"], registry=r
        )
        self._add_watcher(r)

    def _add_watcher(self, r: CollectorRegistry) -> None:
        """The watcher's own pace."""
        self._claims = Histogram(
            "tapwatt_watcher_claim_seconds",
            "One claim of a session, calls included.",
            buckets=SHORT_BUCKETS_S,
            registry=r,
        )
        self._late = Histogram(
            "tapwatt_watcher_lateness_seconds",
            "How late a due session was claimed.",
            buckets=SHORT_BUCKETS_S,
            registry=r,
        )
        self._stop_late = Histogram(
            "tapwatt_stop_lateness_seconds",
            "From when a stop fell due to its first call at Monta.",
            buckets=SHORT_BUCKETS_S,
            registry=r,
        )

    def webhook_kept(self, lag_s: float | None, entries: int) -> None:
        self._entries.inc(entries)
        if lag_s is not None:
            self._lag.observe(lag_s)

    def webhook_refused(self, why: str) -> None:
        self._refused.labels(why).inc()

    def key_refused(self, kind: str) -> None:
        self._keys.labels(kind).inc()

    def foreign_access(self, kind: str) -> None:
        self._foreign.labels(kind).inc()

    def stop_confirmed(self, latency_s: float) -> None:
        self._stop.observe(max(0.0, latency_s))

    def settled(self, overshoot_minor: int, currency: str) -> None:
        self._settled.inc()
        if overshoot_minor:
            self._overshot.inc()
            self._overshoot.labels(currency).inc(overshoot_minor)

    def swept(self, *, lists: int, single: int, silent: int) -> None:
        self._swept.labels("list").inc(lists)
        self._swept.labels("single").inc(single)
        self._silent.inc(silent)

    def monta_called(self, call: str, outcome: str) -> None:
        self._calls.labels(call, outcome).inc()

    def claimed(self, late_s: float) -> None:
        self._late.observe(max(0.0, late_s))

    def stop_sent(self, late_s: float) -> None:
        self._stop_late.observe(max(0.0, late_s))

    def event_sent(self, outcome: str) -> None:
        self._events.labels(outcome).inc()

    def claim_ended(self, took_s: float) -> None:
        self._claims.observe(max(0.0, took_s))

    def text(self) -> str:
        """Prometheus' exposition format."""
        return generate_latest(self.registry).decode()


MASKED = "*** (looked like a card number)"
SECRET_WORDS = ("secret", "token", "authorization_header", "api_key", "password", "signature")


def configure_logging(*, level: str, as_json: bool) -> None:
    """Configures structured logs on standard error. Never a traceback's local variables, never a value under a secret's
    name."""
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            mask_secrets,
            mask_card_numbers,
            escape_controls,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # whatever it is by then
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler()
    plain = CarefulFormatter("%(levelname)s %(name)s %(message)s")
    handler.setFormatter(JsonFormatter() if as_json else plain)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)


def mask_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Last safeguard: masks every value whose name suggests a secret."""
    for name in event:
        if any(word in name.lower() for word in SECRET_WORDS):
            event[name] = "***"
    return event


def mask_card_numbers(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Removes lines that hold a card number. The last safeguard, whatever error or address they came with."""
    for name, value in event.items():
        if isinstance(value, bool | float | None):
            continue
        field = Field.IDENTIFIER if name.endswith("_id") else Field.TEXT
        if looks_like_card_number(str(value), field):
            event[name] = without_card_numbers(str(value), field)
    return event


def escape_controls(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escapes control bytes in texts of a log line. So no text moves a terminal's cursor or begins a line of its own. A
    traceback keeps its lines, indented."""
    for name, value in event.items():
        if name == "exception":
            event[name] = indented(str(value))
        elif isinstance(value, str):  # of all else the representation is written, which has none
            event[name] = escaped(value)
    return event


def indented(traceback: str) -> str:
    """Indents a traceback, so that its lines are none of the log. An error's text may have any."""
    return "\n".join(f"    {escaped(line)}" for line in traceback.split("\n"))


def without_card_numbers(text: str, field: Field) -> str:
    """The text without lines that hold a card number. Empty when only several lines together do."""
    lines = [MASKED if looks_like_card_number(line, field) else line for line in text.splitlines()]
    shown = "\n".join(lines)
    return MASKED if looks_like_card_number(shown, field) else shown


class CarefulFormatter(logging.Formatter):
    """Formats libraries' log lines, with secrets and card numbers masked. Control bytes are escaped."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        return escaped(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return indented(super().formatException(ei))

    def format(self, record: logging.LogRecord) -> str:
        written = super().format(record)
        return (
            without_card_numbers(written, Field.TEXT)
            if looks_like_card_number(written, Field.TEXT)
            else written
        )


class JsonFormatter(logging.Formatter):
    """Formats libraries' log lines as JSON, masked and escaped as ours are."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        event: MutableMapping[str, Any] = {
            "event": record.getMessage(),
            "logger": record.name,
            "level": record.levelname.lower(),
            "timestamp": at.isoformat().replace("+00:00", "Z"),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(escape_controls(None, "", mask_card_numbers(None, "", event)))
