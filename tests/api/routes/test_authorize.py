"""Tests of app/api/routes/terminal.

POST /v1/payment-sessions: recorded once, whatever is repeated; refused with nothing recorded.
"""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.api.service import TARIFF, Json, assert_problem, fields_of, open_service, payment
from tests.conftest import Sized

pytestmark = pytest.mark.anyio

PATH = "/v1/payment-sessions"


async def test_a_payment_is_recorded_and_shown_as_the_contract_says(database_url: str) -> None:
    body = payment(
        "101",
        "A-2026-000123",
        authorization={
            "authorized_at": "2026-11-22T11:00:00+01:00",
            "expires_at": "2026-11-24T10:00:00Z",
            "card": {"brand": "visa", "last4": "4242", "fingerprint": "opaque token of the same card"},
        },
        display_reference="K7QM-4TXP",
        energy_limit_wh=20000,
        tariff=TARIFF,
        metadata={"lane": "3"},
    )
    async with open_service(database_url) as service:
        answer = await service.call("POST", PATH, body)
        assert answer.status_code == 201
        session = answer.json()
        assert answer.headers["location"] == f"{PATH}/{session['id']}"
        assert "idempotency-replayed" not in answer.headers
        assert (await service.call("GET", answer.headers["location"])).json() == session
        terminal_id = service.one.terminal.id
    assert session == {
        "id": session["id"],
        "version": 1,
        "status": "authorized",
        "charge_point_id": "101",
        "terminal_id": terminal_id,
        "display_reference": "K7QM-4TXP",
        "authorization_reference": "A-2026-000123",
        "currency": "EUR",
        "amount_authorized": 5000,
        "amount_used": 0,
        "amount_remaining": 5000,
        "energy_wh": 0,
        "energy_limit_wh": session["energy_limit_wh"],
        "charge": None,
        "start_deadline": "2026-11-22T10:05:00.000Z",
        "stop_reason": None,
        "not_started_reason": None,
        "settlement": None,
        "needs_attention": False,
        "display": {
            "key": "payment_accepted",
            "text": "Payment accepted. Charging is being started.",
            "speech": "Payment accepted. Charging is being started.",
        },
        "soc_limit": None,
        "power_w": None,
        "state_of_charge": None,
        "started_at": None,
        "expected_end": None,
        "created_at": "2026-11-22T10:00:00.000Z",
        "updated_at": "2026-11-22T10:00:00.000Z",
    }
    assert session["id"].startswith("ps_")
    assert len(session["id"]) <= 36, "Monta's partnerExternalId"
    assert 0 < session["energy_limit_wh"] <= 20000


async def test_the_least_body_will_do_and_a_display_reference_is_made(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
    assert len(session["display_reference"]) == 9
    assert session["energy_limit_wh"] is None


async def test_a_charge_point_id_may_be_a_number_and_exceeds_53_bits(database_url: str) -> None:
    async with open_service(database_url) as service:
        big = "9007199254740993"
        other = await service.add_terminal(service.one.operator.operator_id, big)
        answer = await service.call("POST", PATH, payment(int(big)), key=other.api_key)  # type: ignore[arg-type]
        assert answer.status_code == 201
        assert answer.json()["charge_point_id"] == big


async def test_the_same_call_again_is_the_same_session_as_it_is_now(database_url: str) -> None:  # F3, F4
    async with open_service(database_url) as service:
        first = await service.authorize(metadata={"a": "1", "b": "2"})
        await service.charging(first["id"], "77")
        for headers in ({}, {"Idempotency-Key": "another boot".replace(" ", "-")}):
            again = await service.call("POST", PATH, payment(metadata={"b": "2", "a": "1"}), headers=headers)
            assert again.status_code == 200
            assert again.headers["idempotency-replayed"] == "true"
            assert again.headers["location"] == f"{PATH}/{first['id']}"
            assert again.json()["id"] == first["id"]
            assert again.json()["status"] == "charging"
        assert await service.count() == 1


@pytest.mark.parametrize(
    "other",
    [
        {"authorization": {"amount": 5001}},
        {"authorization": {"currency": "DKK"}},
        {"authorization": {"card": {"last4": "1111"}}},
        {"point": "102"},
        {"energy_limit_wh": 5000},
        {"metadata": {"lane": "4"}},
        {"tariff": TARIFF},
        {"display_reference": "OTHER"},
    ],
)
async def test_the_same_reference_with_other_contents_is_a_conflict_and_changes_nothing(
    database_url: str, other: Json
) -> None:  # F2
    async with open_service(database_url) as service:
        first = await service.authorize()
        point = other.get("point", "101")
        body = payment(point, **{k: v for k, v in other.items() if k != "point"})
        assert_problem(await service.call("POST", PATH, body), 409, "reference_conflict")
        assert (await service.call("GET", f"{PATH}/{first['id']}")).json() == first
        assert await service.count() == 1


async def test_an_idempotency_key_names_one_call(database_url: str) -> None:  # F2
    async with open_service(database_url) as service:
        key = {"Idempotency-Key": "k-1"}
        first = await service.call("POST", PATH, payment("101", "A-1"), headers=key)
        again = await service.call("POST", PATH, payment("101", "A-1"), headers=key)
        assert (first.status_code, again.status_code) == (201, 200)
        reused = await service.call("POST", PATH, payment("102", "A-2"), headers=key)
        assert_problem(reused, 422, "idempotency_key_reused")
        assert await service.count() == 1


@pytest.mark.parametrize("key", ["", "x" * 129, "with space", "4111111111111111"])
async def test_an_idempotency_key_that_cannot_be_kept_is_refused(database_url: str, key: str) -> None:
    async with open_service(database_url) as service:
        answer = await service.call("POST", PATH, payment(), headers={"Idempotency-Key": key})
        assert answer.status_code == 422
        assert not key or key not in answer.text
        assert await service.count() == 0


async def test_a_second_card_on_a_busy_charge_point_is_refused(database_url: str) -> None:  # F5
    async with open_service(database_url) as service:
        first = await service.authorize("101", "A-1")
        problem = assert_problem(
            await service.call("POST", PATH, payment("101", "A-2")), 409, "charge_point_busy"
        )
        assert problem["retryable"]
        await service.settle(first["id"], 0)
        assert (await service.call("POST", PATH, payment("101", "A-2"))).status_code == 201


async def test_a_charge_point_that_is_not_the_terminals_is_unknown_to_it(database_url: str) -> None:  # F11
    async with open_service(database_url) as service:
        small = await service.add_terminal(service.one.operator.operator_id, "201")
        foreign = await service.add_terminal(service.other.operator.operator_id, "202")
        for key, point in ((small.api_key, "101"), (service.one.terminal.api_key, "202"), (None, "999")):
            answer = await service.call("POST", PATH, payment(point), key=key)
            assert_problem(answer, 404, "charge_point_unknown")
        assert (await service.call("POST", PATH, payment("202"), key=foreign.api_key)).status_code == 201
        assert await service.count() == 1


WRONG: list[tuple[str, Any]] = [
    ("authorization.amount", {"authorization": {"amount": 49.99}}),
    ("authorization.amount", {"authorization": {"amount": 50.0}}),
    ("authorization.amount", {"authorization": {"amount": "5000"}}),
    ("authorization.amount", {"authorization": {"amount": -1}}),
    ("authorization.amount", {"authorization": {"amount": 0}}),
    ("authorization.amount", {"authorization": {"amount": True}}),
    ("authorization.amount", {"authorization": {"amount": None}}),
    ("authorization.amount", {"authorization": {"amount": 10**9}}),
    ("authorization.amount", {"authorization": {"amount": 10**30}}),
    ("authorization.currency", {"authorization": {"currency": "eur"}}),
    ("authorization.currency", {"authorization": {"currency": "XAU"}}),
    ("authorization.currency", {"authorization": {"currency": "€"}}),
    ("authorization.currency", {"authorization": {"currency": 978}}),
    ("authorization.reference", {"authorization": {"reference": ""}}),
    ("authorization.reference", {"authorization": {"reference": "x" * 129}}),
    ("authorization.reference", {"authorization": {"reference": "a b"}}),
    ("authorization.reference", {"authorization": {"reference": "a\u0000b"}}),
    ("authorization.reference", {"authorization": {"reference": "ä"}}),
    ("authorization.reference", {"authorization": {"reference": 17}}),
    ("authorization.expires_at", {"authorization": {"expires_at": "2026-11-22T10:00:00"}}),
    ("authorization.expires_at", {"authorization": {"expires_at": "tomorrow"}}),
    ("authorization.expires_at", {"authorization": {"expires_at": "2026-11-22T09:59:59Z"}}),
    ("authorization.expires_at", {"authorization": {"expires_at": "9999-12-31T23:59:59-14:00"}}),
    ("authorization.authorized_at", {"authorization": {"authorized_at": "0001-01-01T00:00:00+14:00"}}),
    ("authorization.card.last4", {"authorization": {"card": {"last4": "42424"}}}),
    ("authorization.card", {"authorization": {"card": {"number": "1"}}}),
    ("authorization.card", {"authorization": {"card": []}}),
    ("authorization", {"authorization": {"surprise": 1}}),
    ("charge_point_id", {"charge_point_id": "one"}),
    ("charge_point_id", {"charge_point_id": ""}),
    ("charge_point_id", {"charge_point_id": "1" * 20}),
    ("charge_point_id", {"charge_point_id": -5}),
    ("charge_point_id", {"charge_point_id": None}),
    ("energy_limit_wh", {"energy_limit_wh": 0}),
    ("energy_limit_wh", {"energy_limit_wh": 1.5}),
    ("energy_limit_wh", {"energy_limit_wh": 10**12}),
    ("body", {"energy_limt_wh": 1}),
    ("display_reference", {"display_reference": "x" * 65}),
    ("metadata", {"metadata": {"lane": 3}}),
    ("metadata", {"metadata": {str(n): "" for n in range(21)}}),
    ("metadata", {"metadata": {"lane": "a\u0000"}}),
    ("metadata", {"metadata": {"lane": "\ud800"}}),
    ("tariff", {"tariff": []}),
    ("tariff.currency", {"tariff": {**TARIFF, "currency": "XXX"}}),
    ("tariff.elements", {"tariff": {**TARIFF, "elements": []}}),
    ("tariff", {"tariff": {**TARIFF, "note": "a\u0000b"}}),
    ("tariff", {"tariff": {**TARIFF, "note": ["\ud800"]}}),
    ("tariff", {"tariff": {**TARIFF, "note\u0000": 1}}),
]


async def test_every_wrong_field_is_named_and_nothing_is_recorded(database_url: str) -> None:  # F8
    async with open_service(database_url) as service:
        for field, change in WRONG:
            answer = await service.call("POST", PATH, payment(**change))
            problem = assert_problem(answer, 422, "invalid_request")
            assert any(f == field or f.startswith(f"{field}.") for f in fields_of(problem)), (change, problem)
        assert await service.count() == 0


async def test_a_name_that_is_no_text_is_refused_as_any_unknown_field(database_url: str) -> None:
    async with open_service(database_url) as service:
        for body in (
            payment() | {"\ud800": 1},
            payment(metadata={"\ud800": "x"}),
            payment() | {"a\u0000": 1},
        ):
            assert_problem(await service.call("POST", PATH, body), 422, "invalid_request")


async def test_all_problems_are_reported_at_once_and_the_input_is_not_echoed(database_url: str) -> None:
    body = {"authorization": {"amount": "canary-1", "currency": "canary-2"}, "metadata": {"x": ["canary-3"]}}
    async with open_service(database_url) as service:
        answer = await service.call("POST", PATH, body)
        assert set(fields_of(assert_problem(answer, 422, "invalid_request"))) >= {
            "charge_point_id",
            "authorization.reference",
            "authorization.amount",
            "authorization.currency",
            "metadata",
        }
    assert "canary" not in answer.text


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 422, "invalid_request"),
        (b"{", 400, "invalid_body"),
        (b"\xff\xfe", 400, "invalid_body"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, 400, "invalid_body"),
        (b"[" * 60_000, 400, "invalid_body"),
        (b"[]", 422, "invalid_request"),
        (b"null", 422, "invalid_request"),
        (b'"text"', 422, "invalid_request"),
        (b"17", 422, "invalid_request"),
        (b"NaN", 422, "invalid_request"),
        (b'{"charge_point_id": NaN}', 422, "invalid_request"),
        (b'{"charge_point_id": ' + b"1" * 5000 + b"}", 422, "invalid_request"),
        (b'{"tariff": {"x": NaN, "currency": "EUR"}}', 422, "invalid_request"),
        (b" " * (64 * 1024 + 1), 413, "body_too_large"),
    ],
)
async def test_a_body_that_cannot_be_read_is_a_problem_never_a_crash(
    database_url: str, content: bytes, status: int, code: str
) -> None:
    async with open_service(database_url) as service:
        answer = await service.call(
            "POST", PATH, headers={"Content-Type": "application/json"}, content=content
        )
        assert_problem(answer, status, code)


async def test_a_tariff_with_numbers_that_are_none_is_refused(database_url: str) -> None:
    text = json.dumps(payment(tariff={**TARIFF, "note": float("inf")}))
    async with open_service(database_url) as service:
        answer = await service.call(
            "POST", PATH, headers={"Content-Type": "application/json"}, content=text.encode()
        )
        assert_problem(answer, 422, "invalid_request")


async def test_another_media_type_is_refused(database_url: str) -> None:
    async with open_service(database_url) as service:
        for media_type in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
        ):
            answer = await service.call("POST", PATH, headers={"Content-Type": media_type}, content=b"{}")
            assert_problem(answer, 415, "unsupported_media_type")
        for media_type in ("application/json; charset=utf-8", "Application/JSON"):
            answer = await service.call("POST", PATH, headers={"Content-Type": media_type}, content=b"{}")
            assert_problem(answer, 422, "invalid_request")


async def test_a_hold_in_another_currency_than_the_price_is_refused(database_url: str) -> None:  # F10
    async with open_service(database_url) as service:
        await service.price()
        danish = payment(authorization={"currency": "DKK"})
        problem = assert_problem(await service.call("POST", PATH, danish), 422, "currency_mismatch")
        assert fields_of(problem) == ["authorization.currency"]
        shown = payment(tariff={**TARIFF, "currency": "DKK"})
        assert_problem(await service.call("POST", PATH, shown), 422, "currency_mismatch")
        assert await service.count() == 0


async def test_a_hold_that_buys_less_than_monta_can_limit_is_refused(database_url: str) -> None:  # F9
    async with open_service(database_url) as service:
        await service.price()
        for amount in (1, 48, 99):
            small = payment(authorization={"amount": amount})
            problem = assert_problem(await service.call("POST", PATH, small), 422, "amount_too_small")
            assert fields_of(problem) == ["authorization.amount"]
        dear = payment(
            tariff={
                **TARIFF,
                "elements": [{"price_components": [{"type": "ENERGY", "price": "60", "step_size": 1}]}],
            }
        )
        assert_problem(await service.call("POST", PATH, dear), 422, "amount_too_small")
        assert await service.count() == 0
        assert (await service.call("POST", PATH, payment(authorization={"amount": 100}))).status_code == 201


async def test_sixty_four_callers_of_each_reference_make_one_session_each(database_url: str) -> None:  # F1
    async with open_service(database_url, replicas=2) as service:

        async def told(point: str, reference: str, client: int) -> httpx.Response:
            """As a terminal does: a 503 (all connections in use, on a busy machine) is retried."""
            for _ in range(20):
                answer = await service.call("POST", PATH, payment(point, reference), client=client)
                if answer.status_code != 503:
                    return answer
            pytest.fail("no connection ever became free")

        references = [f"A-{n}" for n in range(3)]
        calls = [
            told(f"10{n + 1}", reference, caller % 2)
            for caller in range(64)
            for n, reference in enumerate(references)
        ]
        answers = await asyncio.gather(*calls)
        assert {a.status_code for a in answers} == {200, 201}
        assert [a.status_code for a in answers].count(201) == 3
        assert len({a.json()["id"] for a in answers}) == 3
        assert await service.count() == 3


async def test_of_many_cards_at_once_on_one_charge_point_one_gets_it(database_url: str) -> None:  # F5
    async with open_service(database_url, replicas=2) as service:
        calls = [service.call("POST", PATH, payment("101", f"A-{n}"), client=n % 2) for n in range(32)]
        answers = await asyncio.gather(*calls)
        assert sorted(a.status_code for a in answers) == [201] + [409] * 31
        assert {a.json()["code"] for a in answers if a.status_code == 409} == {"charge_point_busy"}


async def test_callers_who_disagree_get_one_session_and_conflicts(database_url: str) -> None:  # F1, F2
    async with open_service(database_url, replicas=2) as service:
        bodies = [payment("101", "A-1", authorization={"amount": 5000 + n % 2}) for n in range(24)]
        answers = await asyncio.gather(
            *(service.call("POST", PATH, b, client=n % 2) for n, b in enumerate(bodies))
        )
        codes = [a.status_code for a in answers]
        assert codes.count(201) == 1
        assert codes.count(200) == 11
        assert codes.count(409) == 12
        assert {a.json()["code"] for a in answers if a.status_code == 409} == {"reference_conflict"}


async def test_a_client_that_goes_away_in_mid_write_leaves_all_or_nothing(
    database_url: str, sized: Sized
) -> None:  # F7
    wanted, torn, called, turns = sized(60, 5000), 0, 0, 90
    async with open_service(database_url) as service:
        while torn < wanted:
            n, called = called, called + 1
            assert called < 2 * wanted, "most calls were over before they could be cancelled"
            reference, point = f"A-{n}", f"10{n % 9 + 1}"
            call = asyncio.create_task(service.call("POST", PATH, payment(point, reference)))
            for _ in range(n % turns):
                await asyncio.sleep(0)
            if call.cancel():
                torn += 1
            else:  # as many turns are too many
                turns = max(n % turns, 5)
            await asyncio.gather(call, return_exceptions=True)
            again = await service.call("POST", PATH, payment(point, reference))
            assert again.status_code in (200, 201), again.text
            third = await service.call("POST", PATH, payment(point, reference))
            assert (third.status_code, third.json()["id"]) == (200, again.json()["id"])
            await service.settle(again.json()["id"], 0)
        assert await service.count() == called
        for _ in range(500):  # the write of the last torn call may still go on
            if service.context.database.connections_in_use == 0:
                break
            await asyncio.sleep(0.01)
        assert service.context.database.connections_in_use == 0
