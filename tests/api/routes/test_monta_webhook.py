"""Monta's webhooks at the endpoint: signed, stored whole before the answer, and never a crash, whatever they hold."""

import asyncio
import json
import zlib
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from starlette.types import Scope

from app.api.http import hot_paths
from app.api.http.requests import MAX_WEBHOOK_BYTES
from app.flows.webhook import receive
from tests.api.service import Service, assert_problem, charge_entry, delivery, open_service, sign
from tests.conftest import PATIENCE_S

pytestmark = pytest.mark.anyio


async def kept(service: Service) -> list[Any]:
    query = "SELECT entity_type, charge_id, session_reference, problem, raw FROM inbox ORDER BY id"
    async with service.context.database.transaction() as connection:
        return list((await connection.execute(text(query))).all())


def assert_taken(answer: httpx.Response) -> None:
    assert answer.status_code == 200, answer.text
    assert answer.json() == {}


async def test_a_signed_delivery_is_kept_before_it_is_answered_and_wakes_its_session(
    database_url: str,
) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        async with service.context.database.transaction() as connection:
            await connection.execute(text("UPDATE payment_sessions SET due_at = NULL"))
        entry = charge_entry(689100419745380035, partnerExternalId=session["id"], consumedKwh=1.5)
        assert_taken(await service.webhook(delivery(entry)))
        (row,) = await kept(service)
        assert row[:4] == ("charge", "689100419745380035", session["id"], None)
        async with service.context.database.transaction() as connection:
            due = (await connection.execute(text("SELECT due_at FROM payment_sessions"))).scalar()
        assert due == service.context.clock.now()


async def test_a_delivery_is_kept_as_it_was_sent_and_a_repeated_one_changes_nothing(
    database_url: str,
) -> None:
    body = delivery(charge_entry(77), charge_entry(78))
    async with open_service(database_url, replicas=2) as service:
        for answer in await asyncio.gather(*(delivered(service, body) for _ in range(6))):
            assert_taken(answer)
        async with service.context.database.transaction() as connection:
            rows = (await connection.execute(text("SELECT * FROM deliveries"))).all()
            await connection.execute(text("DELETE FROM inbox"))
        assert [(zlib.decompress(row.body), row.charge_ids) for row in rows] == [(body, ["77", "78"])]
        assert rows[0].signature == sign(service.one.operator.webhook_secret, body)
        assert_taken(await service.webhook(body))
        assert await kept(service) == [], "its entries have had their effect"


async def delivered(service: Service, body: bytes) -> httpx.Response:
    """Sends as Monta does: again while the service has too much to do, as it has on a busy machine."""
    async with asyncio.timeout(PATIENCE_S):
        while (answer := await service.webhook(body)).status_code == 503:
            pass
    return answer


async def test_redeliveries_in_any_order_are_kept_once(database_url: str) -> None:  # F39
    entries = [charge_entry(n, consumedKwh=n) for n in range(1, 6)]
    async with open_service(database_url, replicas=2) as service:
        bodies = [delivery(*entries[i:], *entries[:i], pending=i) for i in range(5)] * 3
        answers = await asyncio.gather(*(delivered(service, body) for body in bodies))
        for answer in answers:
            assert_taken(answer)
        assert sorted(row.charge_id for row in await kept(service)) == ["1", "2", "3", "4", "5"]


async def test_bad_entries_never_fail_the_batch(database_url: str) -> None:  # F40, F41
    bad: list[Any] = [
        None,
        17,
        "text",
        [],
        {},
        {"entityType": "charge"},
        {"entityType": "charge", "entityId": "5", "payload": "none"},
        {"entityType": "charge", "entityId": "5", "eventType": "updated", "payload": {"id": 6, "state": "x"}},
        {"entityType": "charge", "entityId": "5", "payload": {"id": "\u0000", "state": []}},
        {"entityType": "wallet-transaction", "entityId": 9, "eventType": "created", "payload": {"a": 1}},
        {"entityType": "overdue-of", "eventType": "exploded"},
        {"entityType": "charge\ud800", "payload": {"\u0000": float("nan")}},
    ]
    good = charge_entry(77)
    async with open_service(database_url) as service:
        assert_taken(await service.webhook(delivery(*bad, good, *bad)))
        rows = await kept(service)
        assert len(rows) == len(bad) + 1
        assert [row.charge_id for row in rows if row.problem is None and row.entity_type == "charge"] == [
            "77"
        ]
        assert sum(row.problem is not None for row in rows) >= 8


async def test_an_entry_with_a_name_twice_is_kept_aside_once_and_changes_nothing(
    database_url: str,
) -> None:  # F45
    """Answered with 200, since it would be the same when it is sent again; the other entries count."""
    twice = delivery(charge_entry(5, consumedKwh=1), charge_entry(6)).replace(
        b'"consumedKwh": 1', b'"consumedKwh": 99, "consumedKwh": 1'
    )
    assert twice.count(b'"consumedKwh": 99') == 1
    async with open_service(database_url) as service:
        for _ in range(2):
            assert_taken(await service.webhook(twice))
        rows = await kept(service)
        assert sorted((row.charge_id, row.problem) for row in rows if row.charge_id) == [("6", None)]
        assert [row.problem for row in rows if not row.charge_id] == ["an object has the same name twice"]


async def test_a_delivery_without_entries_is_fine(database_url: str) -> None:
    async with open_service(database_url) as service:
        assert_taken(await service.webhook(b'{"entries": [], "pending": 0}'))
        assert await kept(service) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"17",
        b"null",
        b"{}",
        b'{"entries": {}}',
        b'{"entries": null}',
        b"\xff",
        b'{"entries": [}',
        b'{"entries": [], "entries": []}',
    ],
)
async def test_a_signed_body_that_is_no_delivery_is_answered_400(database_url: str, body: bytes) -> None:
    async with open_service(database_url) as service:
        assert_problem(await service.webhook(body), 400, "invalid_body")
        assert await kept(service) == []


async def test_a_signature_that_does_not_fit_is_answered_401_and_nothing_is_kept(
    database_url: str,
) -> None:  # F44
    body = delivery(charge_entry(77))
    async with open_service(database_url) as service:
        right = sign(service.one.operator.webhook_secret, body)
        wrong = [
            "",
            "sha1=",
            right[:-1],
            right[5:],
            "sha1=" + "0" * 40,
            sign("another", body),
            sign(service.other.operator.webhook_secret, body),
            sign(service.one.operator.webhook_secret, body + b" x"),
            sign("", body),
            "x" * 3000,
            "sha1=\u00e9",
        ]
        for signature in wrong:
            headers = [(b"x-monta-signature", signature.encode())] if signature else []
            answer = await service.clients[0].post(
                service.one.operator.webhook_path, content=body, headers=headers
            )
            assert_problem(answer, 401, "bad_signature")
        assert_problem(await service.webhook(b"no json", signature="sha1=00"), 401, "bad_signature")
        assert await kept(service) == []
        assert_taken(await service.webhook(body, signature=right.upper().replace("SHA1", "sha1")))


async def test_a_delivery_counts_for_the_operator_of_its_endpoint_only(database_url: str) -> None:  # F46
    async with open_service(database_url) as service:
        session = await service.authorize()
        async with service.context.database.transaction() as connection:
            await connection.execute(text("UPDATE payment_sessions SET due_at = NULL"))
        body = delivery(charge_entry(77, partnerExternalId=session["id"]))
        forged = await service.webhook(
            body,
            signature=sign(service.other.operator.webhook_secret, body),
            path=service.other.operator.webhook_path,
        )
        assert_taken(forged)
        async with service.context.database.transaction() as connection:
            owner = (await connection.execute(text("SELECT operator_id FROM inbox"))).scalar()
            due = (await connection.execute(text("SELECT due_at FROM payment_sessions"))).scalar()
        assert (owner, due) == (service.other.operator.operator_id, None)


async def test_an_unknown_endpoint_is_not_found(database_url: str) -> None:
    body = delivery(charge_entry(77))
    async with open_service(database_url) as service:
        for endpoint in ("wh_guess", "x" * 100, service.one.operator.operator_id):
            answer = await service.webhook(body, path=f"/v1/webhooks/monta/{endpoint}")
            assert_problem(answer, 404, "not_found")
        for endpoint in ("x" * 101, "%00", "%C3%A9"):
            answer = await service.webhook(body, path=f"/v1/webhooks/monta/{endpoint}")
            assert_problem(answer, 404, "not_found")


async def test_a_body_above_one_mebibyte_is_refused_announced_or_not(database_url: str) -> None:  # F45
    frame = b'{"entries": [], "x": ""}'
    limit = frame[:-2] + b"y" * (MAX_WEBHOOK_BYTES - len(frame)) + frame[-2:]
    assert len(limit) == 1024 * 1024

    async def in_parts(body: bytes) -> Any:
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    async with open_service(database_url) as service:
        assert_taken(await service.webhook(limit))
        assert_problem(await service.webhook(limit + b" "), 413, "body_too_large")
        headers = {"X-Monta-Signature": sign(service.one.operator.webhook_secret, limit + b" ")}
        path = service.one.operator.webhook_path
        streamed = await service.clients[0].post(path, content=in_parts(limit + b" "), headers=headers)
        assert_problem(streamed, 413, "body_too_large")


async def test_a_connection_that_ends_within_the_body_leaves_nothing(database_url: str) -> None:  # F42
    body = delivery(charge_entry(77), charge_entry(78))
    async with open_service(database_url) as service:
        signature = sign(service.one.operator.webhook_secret, body).encode()
        parts = [
            {"type": "http.request", "body": body[:-20], "more_body": True},
            {"type": "http.disconnect"},
        ]
        sent: list[Any] = []

        async def receive() -> Any:
            return parts.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": service.one.operator.webhook_path,
            "raw_path": service.one.operator.webhook_path.encode(),
            "query_string": b"",
            "headers": [(b"x-monta-signature", signature)],
            "client": ("127.0.0.1", 1),
            "server": ("tapwatt.test", 80),
            "scheme": "http",
        }
        await service.apps[0](scope, receive, send)
        assert sent[0]["status"] == 400
        assert await kept(service) == []


WEIRD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(
        ["charge", "charging", "completed", "2026-11-22T10:00:00Z", "0001-01-01T00:00:00+14:00", "NaN"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = [
    "entityType",
    "entityId",
    "eventType",
    "eventTime",
    "payload",
    "id",
    "state",
    "updatedAt",
    "consumedKwh",
]
FIELDS += ["partnerExternalId", "price", "createdAt", "currency", "chargePointId", "priceLimit", "stoppedAt"]
PAYLOADS = st.dictionaries(st.sampled_from(FIELDS), WEIRD, max_size=8)
ENTRIES = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS[:5], WEIRD | PAYLOADS))
BODIES = st.one_of(
    st.fixed_dictionaries(
        {"entries": st.lists(ENTRIES | WEIRD, max_size=4)}, optional={"pending": WEIRD, "timestamp": WEIRD}
    ).map(lambda body: json.dumps(body).encode()),
    st.binary(max_size=60),
    st.integers(1, 3000).map(lambda n: b'{"entries": ' + b"[" * n + b"]" * n + b"}"),
    st.integers(1, 3000).map(
        lambda n: b'{"entries": [' + b'{"a":' * n + b"1" + b"}" * n + b',{"entityType":"x"}]}'
    ),
    st.sampled_from(
        ["9" * 5000, "1e999999999", "-1e-999999", "1E400", "NaN", "-Infinity", "0." + "1" * 5000]
    ).map(
        lambda n: (
            b'{"entries":[{"entityType":"charge","entityId":"5","payload":{"id":5,"state":"charging",'
            b'"consumedKwh":' + n.encode() + b',"price":' + n.encode() + b"}}]}"
        )
    ),
    st.just(
        b'{"entries":[{"entityType":"charge","entityType":"x","payload":{"id":1,"id":2}}],"entries":[1,2]}'
    ),
)


async def test_no_signed_body_whatever_is_in_it_gets_a_500(database_url: str) -> None:  # F45
    async with open_service(database_url) as service:
        codes: set[int] = set()

        @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(BODIES)
        def gather(body: bytes) -> None:
            bodies.append(body)

        bodies: list[bytes] = []
        gather()
        for body in bodies:
            answer = await service.webhook(body)
            assert answer.status_code in (200, 400), (body, answer.text)
            codes.add(answer.status_code)
        assert codes == {200, 400}


async def test_a_delivery_is_answered_the_same_with_and_without_the_frameworks_route(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query has no meaning and leads to the route."""
    ways: list[bool] = []
    find = hot_paths._endpoint

    def noted(scope: Scope) -> str | None:
        ways.append((endpoint := find(scope)) is not None)
        return endpoint

    monkeypatch.setattr(hot_paths, "_endpoint", noted)
    good = delivery(charge_entry(77))
    async with open_service(database_url) as service:
        path = service.one.operator.webhook_path
        for expected, body, options in (
            (200, good, {}),
            (400, b"{", {}),
            (401, good, {"signature": "sha1=00"}),
            (401, good, {"signature": ""}),
            (413, b"x" * (MAX_WEBHOOK_BYTES + 1), {}),
            (404, good, {"path": path[:-1]}),
        ):
            named = str(options.pop("path", path))
            quick = await service.webhook(body, path=named, **options)
            slow = await service.webhook(body, path=f"{named}?a=1", **options)
            shown = [
                (
                    answer.status_code,
                    {name: value for name, value in answer.json().items() if name != "request_id"},
                    sorted(set(answer.headers) - {"retry-after"}),
                )
                for answer in (quick, slow)
            ]
            assert shown[0] == shown[1]
            assert quick.status_code == expected
            assert quick.headers["x-request-id"] != slow.headers["x-request-id"]
    assert ways == [True, False] * 6


async def test_what_fails_before_the_route_is_done_and_counted_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0

    async def fail(*_: object) -> None:
        nonlocal tried
        tried += 1
        raise TimeoutError

    monkeypatch.setattr(receive, "keep_delivery", fail)
    async with open_service(database_url) as service:
        assert_problem(await service.webhook(delivery(charge_entry(77))), 503, "unavailable")
    assert tried == 1
