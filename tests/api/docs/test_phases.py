"""Tests of app/api/docs/openapi.py: schemathesis in all of its phases against the real server: examples, coverage,
fuzzing, stateful."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from anyio import to_thread

from app.api.http.rate_limits import Quotas, RateLimits
from app.store import health
from tests.api.service import Json, Service, open_service
from tests.conftest import Sized
from tests.console.serving import serving

pytestmark = pytest.mark.anyio

MANY = 10**9
UNLIMITED = Quotas(calls=MANY, operator_calls=MANY, new_holds=MANY, failed_keys=MANY)
WAITS = {"wait", "prefer"}
"""They hold an answer back until something happens; time stands still here."""
REFUSED_BY_RULES = ["422", "503"]
"""Beside its schema a request must fit what is known: a reference, an amount, a time, a watcher that runs."""
LONGEST_S = 120
"""Of one answer on a busy machine."""
PHASES = {"examples", "coverage", "fuzzing", "stateful"}


async def test_every_phase_finds_nothing_that_the_document_does_not_say(
    database_url: str, sized: Sized
) -> None:
    async with open_service(database_url) as service:
        app = service.apps[0]
        app.state.limits = RateLimits(UNLIMITED)
        async with service.context.database.transaction() as connection:
            await health.beat(connection, "wtc_1", service.context.clock.now())
        async with serving(app) as server:
            document = without_waits(app.openapi())
            found = await to_thread.run_sync(tried, service, server.url, document, sized(4, 200))
    assert found.failures == []
    assert set(found.calls) >= PHASES
    assert all(found.calls[phase] >= 20 for phase in PHASES), found.calls
    assert {200, 401, 404, 405, 415, 422} <= set(found.statuses)
    print(dict(found.calls), dict(found.statuses))  # noqa: T201


def without_waits(document: Json) -> Json:
    for methods in document["paths"].values():
        for operation in methods.values():
            given = operation.get("parameters", [])
            operation["parameters"] = [each for each in given if each["name"].lower() not in WAITS]
    return document


class Found:
    """What came of a run: requests by phase, answers by status, and each failure in words."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []

    def note(self, event: Any) -> None:
        from schemathesis.engine import events

        if isinstance(event, events.NonFatalError | events.FatalError):
            error = event.value if isinstance(event, events.NonFatalError) else event.exception
            self.failures.append(f"{getattr(event, 'label', '')}: {error!r}")
        elif isinstance(event, events.ScenarioFinished):
            for each in event.recorder.interactions.values():
                self.calls[event.phase.value.lower()] += 1
                self.statuses[each.response.status_code if each.response else 0] += 1
            self.failures += failures_of(event.recorder)


def failures_of(recorder: Any) -> Iterator[str]:
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                info, response = check.failure_info, recorder.find_response(case_id=case_id)
                answer = "" if response is None else response.text[:400]
                yield f"{recorder.label}: {check.name}: {info.failure.message}\n{info.code_sample}\n{answer}"


def tried(service: Service, url: str, document: Json, examples: int) -> Found:
    """Runs every phase with so many examples of each operation. In a thread: the tester knows no loops."""
    from schemathesis import openapi
    from schemathesis.engine import from_schema

    schema = openapi.from_dict(document)
    schema.config.update(base_url=url, request_timeout=LONGEST_S)
    schema.config.generation.max_examples = examples
    schema.config.phases.stateful.generation.max_examples = 3 * examples
    schema.config.seed = 1
    schema.config.checks.positive_data_acceptance.expected_statuses += REFUSED_BY_RULES
    by_path = {
        "^/v1/(payment|stop|charge)": service.one.terminal.api_key,
        "^/(v1/ops|metrics)": service.all_ops.api_key,
    }
    for paths, key in by_path.items():
        schema.auth().apply_to(path_regex=paths)(bearer(key))
    found = Found()
    for event in from_schema(schema).execute():
        found.note(event)
    return found


def bearer(key: str) -> type:
    class Bearer:
        def get(self, case: Any, context: Any) -> str:
            return key

        def set(self, case: Any, data: str, context: Any) -> None:
            case.headers["Authorization"] = f"Bearer {data}"

    return Bearer
