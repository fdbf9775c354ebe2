"""Tests of app/tracing.

One trace from the tap to the settlement, across service, watcher and Monta's calls; nothing secret in it.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from threading import Event

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from app.tracing import OpenTelemetryTracing, Tracing, TracingUnavailable, tracing_by_environment
from app.watcher import Watcher
from tests.journeys.checks import ended
from tests.journeys.rig import Rig, energy_tariff, open_rig

pytestmark = pytest.mark.anyio

TERMINALS_TRACE, TERMINALS_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CARD = {"brand": "visa", "last4": "4242", "fingerprint": "fp-7Hq2", "account_reference": "PAR-9Zk3"}


def ids(span: ReadableSpan) -> tuple[str, int]:
    """The trace's and the span's."""
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}", context.span_id


def traced(rig: Rig) -> InMemorySpanExporter:
    """Traces service and watcher of the rig from now on."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    context = replace(rig.context, tracing=OpenTelemetryTracing(provider))
    rig.app.state.context = context
    rig.watchers = [Watcher(context, name="traced")]
    return exporter


def parents(spans: Sequence[ReadableSpan]) -> dict[str, set[str | None]]:
    """The names of spans with those of their parents; None: the terminal's, or one that is not among these."""
    names = {ids(span)[1]: span.name for span in spans}
    found: dict[str, set[str | None]] = {}
    for span in spans:
        above = names.get(span.parent.span_id) if span.parent else None
        found.setdefault(span.name, set()).add(above)
    return found


async def test_one_trace_leads_from_the_tap_to_the_settlement(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        exporter = traced(rig)
        tapped = await rig.call(
            "POST",
            "/v1/payment-sessions",
            body=rig.payment(106, 2000, authorization={"card": CARD}),
            headers={"traceparent": f"00-{TERMINALS_TRACE}-{TERMINALS_SPAN}-01"},
        )
        session = tapped.json()
        await ended(rig, session)
        everything = exporter.get_finished_spans()
        ours = [s for s in everything if ids(s)[0] == TERMINALS_TRACE]
        tap, *_ = [s for s in ours if s.kind is SpanKind.SERVER]
        assert tap.parent is not None
        assert f"{tap.parent.span_id:016x}" == TERMINALS_SPAN
        assert parents(ours) == {
            "POST /v1/payment-sessions": {None},
            "start charge": {"POST /v1/payment-sessions"},
            "POST /charges": {"start charge"},
            "stop charge": {"POST /v1/payment-sessions"},
            "GET /charges/{id}/stop": {"stop charge"},
            "read charge": {"POST /v1/payment-sessions"},
            "GET /charges/{id}": {"read charge"},
            "settle": {"POST /v1/payment-sessions"},
        }
        started = next(dict(s.attributes or {}) for s in ours if s.name == "POST /charges")
        assert started == {
            "http.request.method": "POST",
            "http.response.status_code": 200,
            "server.address": "monta.test",
            "url.template": "/charges",
            "tapwatt.operator.id": rig.operator.operator_id,
        }
        settled = next(dict(s.attributes or {}) for s in ours if s.name == "settle")
        assert settled["tapwatt.session.id"] == session["id"]
        assert settled["tapwatt.settlement.action"] == "capture"
        names = {s.name for s in everything}
        assert {"POST /v1/webhooks/...", "job sync"} <= names, "other work has traces of its own"
        _nothing_secret(rig, everything)


def _nothing_secret(rig: Rig, spans: Sequence[ReadableSpan]) -> None:
    exported = "".join(span.to_json() for span in spans)
    secrets = [*CARD.values(), rig.terminal.api_key, rig.ops.api_key, rig.operator.webhook_secret]
    secrets += [rig.operator.webhook_path.rpartition("/")[2], rig.monta.config.client_secret]
    assert "tapwatt.session.id" in exported
    alone = re.compile("|".join(rf"(?<![0-9A-Za-z]){re.escape(secret)}(?![0-9A-Za-z])" for secret in secrets))
    assert alone.findall(exported) == [], "four digits count only where they stand alone"


async def test_a_call_that_fails_is_marked_with_its_status_and_no_text(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        exporter = traced(rig)
        session = await rig.authorize(901, 2000)
        await rig.until(session["id"], "not_started")
        refused = next(s for s in exporter.get_finished_spans() if s.name == "POST /charges")
        assert refused.status.status_code is StatusCode.ERROR
        assert (refused.status.description, refused.events) == (None, ())
        assert refused.attributes is not None
        assert refused.attributes["error.type"] == str(refused.attributes["http.response.status_code"])


def test_a_collector_that_hangs_does_not_keep_a_process_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.tracing.CLOSE_S", 0.02)
    answered, provider = Event(), TracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(provider, "shutdown", answered.wait)
    OpenTelemetryTracing(provider).close()
    assert not answered.is_set()
    answered.set()


def test_the_standard_variables_switch_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    assert type(tracing_by_environment({})) is Tracing
    assert type(tracing_by_environment(endpoint | {"OTEL_SDK_DISABLED": "true"})) is Tracing
    on = tracing_by_environment(endpoint)
    assert isinstance(on, OpenTelemetryTracing)
    on.close()
    monkeypatch.setattr("app.tracing.find_spec", lambda name: None)
    with pytest.raises(TracingUnavailable, match="pip install"):
        tracing_by_environment(endpoint)
