"""Traces payment sessions from the tap to the settlement by OpenTelemetry, an extra.

Without the extra, or without OTEL_EXPORTER_OTLP_ENDPOINT, nothing of OpenTelemetry is imported and nothing is traced.
Attributes have ids, states and amounts; never a card, a key, a header, a query or a body.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from enum import StrEnum
from importlib.util import find_spec
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

Attributes: TypeAlias = Mapping[str, str | int | bool]
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""OpenTelemetry's own variables; one of them switches tracing on."""
CLOSE_S = 3.0
"""Longest time in seconds that the end of a process waits for the collector; spans that are left then are lost."""
MOST_TRACEPARENT_CHARS = 64
"""Of a caller's header; a W3C traceparent has 55."""


class Kind(StrEnum):
    """OpenTelemetry's kinds of spans."""

    SERVER = "SERVER"
    CLIENT = "CLIENT"
    INTERNAL = "INTERNAL"


class Span:
    """A span that is under way. This one records nothing."""

    def note(self, attributes: Attributes) -> None:
        """Adds attributes."""

    def name(self, name: str) -> None:
        """Gives it another name."""

    def failed(self, why: str) -> None:
        """Marks it as failed; `why` is a status or the name of an error, never its text."""


class Tracing:
    """Traces nothing. What a process has without OpenTelemetry."""

    is_on = False

    def span(
        self, name: str, kind: Kind, attributes: Attributes, *, parent: str | None = None
    ) -> AbstractContextManager[Span]:
        """A span around a block. `parent`: a W3C traceparent; without one, the span around it."""
        return _NOTHING

    def traceparent(self) -> str | None:
        """The present span as W3C traceparent, to be kept with what goes on elsewhere."""
        return None

    def close(self) -> None:
        """Sends what is left."""


_NOTHING: AbstractContextManager[Span] = nullcontext(Span())
_ACTIVE: ContextVar[Tracing] = ContextVar("tracing", default=Tracing())  # noqa: B039  it has no state


def child_span(name: str, kind: Kind, attributes: Attributes) -> AbstractContextManager[Span]:
    """A span within the one that is under way here. Without one nothing is recorded."""
    return _ACTIVE.get().span(name, kind, attributes)


class OpenTelemetryTracing(Tracing):
    """Traces by OpenTelemetry's SDK."""

    is_on = True

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("tapwatt")
        self._w3c = TraceContextTextMapPropagator()

    @contextmanager
    def span(
        self, name: str, kind: Kind, attributes: Attributes, *, parent: str | None = None
    ) -> Iterator[Span]:
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind

        around = None
        if parent is not None:
            around = self._w3c.extract({"traceparent": parent[:MOST_TRACEPARENT_CHARS]}, Context())
        # The text of an error may quote what was sent: only its type is recorded.
        with self._tracer.start_as_current_span(
            name,
            around,
            SpanKind[kind],
            dict(attributes),
            record_exception=False,
            set_status_on_exception=False,
        ) as begun:
            span, token = _Recording(begun), _ACTIVE.set(self)
            try:
                yield span
            except BaseException as error:
                span.failed(type(error).__name__)
                raise
            finally:
                _ACTIVE.reset(token)

    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        self._w3c.inject(carrier)
        return carrier.get("traceparent")

    def close(self) -> None:
        # In a thread that the process does not wait for: the exporter tries a collector that hangs again and again.
        ending = Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(CLOSE_S)


class _Recording(Span):
    def __init__(self, span: Any) -> None:
        self._span = span

    def note(self, attributes: Attributes) -> None:
        self._span.set_attributes(dict(attributes))

    def name(self, name: str) -> None:
        self._span.update_name(name)

    def failed(self, why: str) -> None:
        from opentelemetry.trace import StatusCode

        self._span.set_attribute("error.type", why)
        self._span.set_status(StatusCode.ERROR)


class TracingUnavailable(Exception):
    """Tracing is configured, but OpenTelemetry is not installed."""

    def __init__(self) -> None:
        super().__init__(
            f"{ENDPOINTS[0]} is set, but OpenTelemetry is not installed: pip install 'tapwatt[otel]', or unset it."
        )


def tracing_by_environment(environment: Mapping[str, str] = os.environ) -> Tracing:
    """Tracing as OpenTelemetry's own environment variables say. Raises TracingUnavailable."""
    if not any(environment.get(name) for name in ENDPOINTS):
        return Tracing()
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Tracing()
    if find_spec("opentelemetry.sdk") is None or find_spec("opentelemetry.exporter") is None:
        raise TracingUnavailable
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = {} if environment.get("OTEL_SERVICE_NAME") else {"service.name": "tapwatt"}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OpenTelemetryTracing(provider)
