"""Tests of app/api/routes.

Every endpoint, with every id of another operator, and the other operator's webhook: nothing is shown or changed.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from app.domain.units.ids import TerminalId
from app.flows.events.manage_endpoints import add_endpoint
from tests.api.endpoints import BODIES, OPERATIONS, endpoints, tried
from tests.api.orphan_charges import lose
from tests.api.service import LOOK, Json, Service, charge_entry, delivery, open_service, payment, sign
from tests.row_digests import contents

pytestmark = pytest.mark.anyio

FEWEST_TRIES = 360
SESSION, POINT, ORPHAN = "session", "point", "orphan"


class Foreign:
    """What the other operator has: ids by kind, and what would betray it in an answer."""

    def __init__(self, service: Service, session: Json, event_id: str) -> None:
        theirs = service.other
        self.session_id = session["id"]
        self.ids = {
            SESSION: session["id"],
            ORPHAN: "88",
            POINT: "999",
            "charge": "77",
            "reference": "A-theirs",
            "display reference": session["display_reference"],
            "operator": theirs.operator.operator_id,
            "terminal": theirs.terminal.id,
            "card": "c-theirs",
            "event": event_id,
        }


def security(logged: Any) -> list[str]:
    return [line["event"] for line in logged if line.get("stream") == "security"]


def kind_of(path: str) -> str:
    """What the id in a path names."""
    return ORPHAN if "{charge_id}" in path else POINT if "charge-points/{id}" in path else SESSION


async def test_no_endpoint_shows_or_changes_anything_by_an_id_of_another_operator(database_url: str) -> None:
    async with open_service(database_url) as service:
        foreign = await provide(service)
        before, done = await contents(database_url), 0
        done += await try_paths(service, foreign)
        done += await try_queries(service, foreign)
        done += await try_webhooks(service)
        assert await contents(database_url) == before
        theirs = await contents(database_url, service.other.operator.operator_id)
        done += await try_bodies(service, foreign)
        assert await contents(database_url, service.other.operator.operator_id) == theirs
        assert done >= FEWEST_TRIES, f"{done} tries"


async def provide(service: Service) -> Foreign:
    """A session with a charge, an orphan charge and a charge point of the other operator."""
    theirs = service.other
    await add_endpoint(service.context, url="https://maker.test/", terminal_id=TerminalId(theirs.terminal.id))
    held = payment("101", "A-theirs")
    held["authorization"]["card"] = {"fingerprint": "c-theirs", "last4": "4242"}
    session = await service.call("POST", "/v1/payment-sessions", held, key=theirs.terminal.api_key)
    assert session.status_code == 201, session.text
    await service.charging(session.json()["id"], "77")
    await service.change(session.json()["id"], attention=LOOK)
    await lose(service, "88", theirs)
    await service.add_terminal(theirs.operator.operator_id, "999")
    told = (await service.call("GET", "/v1/events", key=theirs.terminal.api_key)).json()["data"]
    return Foreign(service, session.json(), told[0]["id"])


async def try_paths(service: Service, foreign: Foreign) -> int:
    """Each path with each id: 404, and one line on record where the id is of what the path names."""
    done = 0
    for method, path in endpoints(service.apps[0]):
        if "{" not in path:
            continue
        for kind, foreign_id in foreign.ids.items():
            with capture_logs() as logged:
                answer = await tried(
                    service, method, path, key_for(service, path), foreign_id, charge_id=foreign_id
                )
            assert answer.status_code == 404, f"{method} {path} {foreign_id}: {answer.text}"
            assert_shows_nothing(answer, foreign)
            noted = ["foreign_access"] if kind == kind_of(path) else []
            assert [e for e in security(logged) if e != "key_acts"] == noted, f"{method} {path} {foreign_id}"
            done += 1
    return done


def key_for(service: Service, path: str) -> str:
    return service.one.ops.api_key if path.startswith(OPERATIONS) else service.one.terminal.api_key


def assert_shows_nothing(answer: httpx.Response, foreign: Foreign) -> None:
    assert answer.status_code < 500, answer.text
    shown = [kind for kind, each in foreign.ids.items() if len(each) > 3 and each in answer.text]
    assert shown == [], answer.text


async def try_queries(service: Service, foreign: Foreign) -> int:
    """Each text parameter of each query with each id."""
    done = 0
    described = (await service.call("GET", "/openapi.json")).json()["paths"]
    for path, methods in described.items():
        if not path.startswith("/v1/") or "/webhooks/" in path:
            continue
        for method, operation in methods.items():
            for name in texts_of_query(operation):
                for foreign_id in foreign.ids.values():
                    filled = path.format(id=foreign.session_id, code="other", charge_id="88")
                    answer = await service.call(
                        method.upper(),
                        f"{filled}?{name}={foreign_id}",
                        BODIES.get(path) if method != "get" else None,
                        key=key_for(service, path),
                    )
                    assert_shows_nothing(answer, foreign)
                    if "payment-sessions" in path and answer.status_code == 200:
                        assert answer.json()["data"] == [], f"{path} {name}"
                    done += 1
    return done


def texts_of_query(operation: Json) -> Iterator[str]:
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        kinds = [schema, *schema.get("anyOf", ())]
        if parameter["in"] == "query" and any(each.get("type") == "string" for each in kinds):
            yield parameter["name"]


async def try_webhooks(service: Service) -> int:
    """Deliveries signed by the own secret, at the other operator's endpoint."""
    bodies = (delivery(charge_entry(77)), delivery(charge_entry(88)), b"{}", b"")
    for body in bodies:
        signature = sign(service.one.operator.webhook_secret, body)
        with capture_logs() as logged:
            answer = await service.webhook(
                body, path=service.other.operator.webhook_path, signature=signature
            )
        assert answer.status_code == 401
        assert security(logged) == ["signature_refused"]
    return len(bodies)


async def try_bodies(service: Service, foreign: Foreign) -> int:
    """Each text of each body replaced by each id: what it does, it does to the caller's own."""
    own = await service.authorize("103", "A-own")
    done = 0
    for path, body in BODIES.items():
        for place in texts_of(body):
            for foreign_id in foreign.ids.values():
                changed = replaced(body, place, foreign_id)
                filled = path.format(id=own["id"], code="other", charge_id="88")
                answer = await service.call("POST", filled, changed, key=key_for(service, path))
                assert answer.status_code < 500, answer.text
                assert answer.json().get("id") != foreign.session_id, f"{path} {place}"
                done += 1
    return done


Place = tuple[str, ...]


def texts_of(body: Json, place: Place = ()) -> Iterator[Place]:
    for name, value in body.items():
        if isinstance(value, dict):
            yield from texts_of(value, (*place, name))
        elif isinstance(value, str):
            yield (*place, name)


def replaced(body: Json, place: Place, value: str) -> Json:
    name, *rest = place
    return {**body, name: replaced(body[name], tuple(rest), value) if rest else value}
