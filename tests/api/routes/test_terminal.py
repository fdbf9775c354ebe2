"""What a terminal may do with its sessions: read, wait, stop, report captures."""

import asyncio
from typing import Any

import pytest

from app.api.http import live
from app.domain.session.payment_session import NotStartedReason, Status
from tests.api.service import TARIFF, Json, Service, assert_problem, open_service, payment
from tests.conftest import PATIENCE_S

pytestmark = pytest.mark.anyio

PATH = "/v1/payment-sessions"


async def test_a_running_session_shows_its_charge(database_url: str) -> None:
    async with open_service(database_url) as service:
        await service.price()
        session = await service.authorize()
        await service.charging(session["id"], "689100419745380035", 2091)
        shown = (await service.call("GET", f"{PATH}/{session['id']}")).json()
    assert shown["status"] == "charging"
    assert shown["version"] == 2
    assert shown["charge"] == {
        "id": "689100419745380035",
        "state": "charging",
        "seen_at": "2026-11-22T10:00:00.000Z",
    }
    assert shown["energy_wh"] == 2091
    assert shown["amount_used"] == 102, "2.091 kWh at 0.49, rounded down"
    assert shown["amount_remaining"] == 4898


async def test_a_settled_session_says_what_to_capture_and_release(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize(authorization={"card": {"last4": "4242"}})
        await service.settle(session["id"], 1234)
        shown = (await service.call("GET", f"{PATH}/{session['id']}")).json()
    assert shown["status"] == "completed"
    assert shown["settlement"] == {
        "action": "capture",
        "amount_to_capture": 1234,
        "amount_to_release": 3766,
        "shortfall": 0,
        "deadline": "2026-11-24T10:00:00.000Z",
        "status": "due",
        "attempts": 0,
        "retry_at": None,
        "energy_wh": 2500,
        "receipt": {
            "date": "2026-11-22",
            "display_reference": session["display_reference"],
            "card_last4": "4242",
            "url": "https://receipt.monta.com",
        },
    }


async def test_a_stop_is_taken_down_once_and_the_watcher_is_woken(database_url: str) -> None:  # F14
    async with open_service(database_url) as service:
        session = await service.authorize()
        stops = await asyncio.gather(
            *(service.call("POST", f"{PATH}/{session['id']}/stop") for _ in range(5))
        )
        assert {a.status_code for a in stops} == {202}
        assert {a.json()["version"] for a in stops} == {2}
        journal = await service.call(
            "GET", f"/v1/ops/payment-sessions/{session['id']}/journal", key=service.all_ops.api_key
        )
        kinds = [line["kind"] for line in journal.json()["data"]]
        assert kinds == ["payment_authorized", "stop_requested"]


async def test_stopping_what_has_ended_changes_nothing(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        await service.change(
            session["id"], status=Status.NOT_STARTED, not_started_reason=NotStartedReason.REFUSED
        )
        answer = await service.call("POST", f"{PATH}/{session['id']}/stop")
        assert (answer.status_code, answer.json()["status"], answer.json()["version"]) == (
            202,
            "not_started",
            2,
        )


async def test_the_same_card_shown_again_stops_its_own_session(database_url: str) -> None:
    async with open_service(database_url) as service:
        mine = await service.authorize("101", "A-1", authorization={"card": {"fingerprint": "card one"}})
        other = await service.authorize("102", "A-2", authorization={"card": {"fingerprint": "card two"}})
        for _ in range(2):
            stop = await service.call("POST", "/v1/stop-requests", {"card_fingerprint": "card one"})
            assert (stop.status_code, stop.json()["id"]) == (202, mine["id"])
        assert (await service.call("GET", f"{PATH}/{other['id']}")).json()["version"] == 1
        for fingerprint in ("card three", "CARD ONE"):
            unknown = await service.call("POST", "/v1/stop-requests", {"card_fingerprint": fingerprint})
            assert_problem(unknown, 404, "not_found")
        elsewhere = await service.call(
            "POST", "/v1/stop-requests", {"card_fingerprint": "card one"}, key=service.other.terminal.api_key
        )
        assert_problem(elsewhere, 404, "not_found")
        await service.settle(mine["id"], 0)
        ended = await service.call("POST", "/v1/stop-requests", {"card_fingerprint": "card one"})
        assert_problem(ended, 404, "not_found")
        wrong: list[Any] = [{}, {"card_fingerprint": ""}, {"card_fingerprint": "a", "more": 1}, []]
        for body in wrong:
            assert_problem(await service.call("POST", "/v1/stop-requests", body), 422, "invalid_request")


def report(outcome: str, amount: int, reference: str = "psp-1") -> Json:
    return {"outcome": outcome, "amount": amount, "reference": reference}


async def settled(service: Service, price_minor: int) -> str:
    session = await service.authorize()
    await service.settle(session["id"], price_minor)
    return f"{PATH}/{session['id']}/captures"


async def test_a_capture_as_settled_confirms_and_repeats_harmlessly(database_url: str) -> None:  # F72
    async with open_service(database_url) as service:
        path = await settled(service, 1234)
        answers = await asyncio.gather(
            *(service.call("POST", path, report("captured", 1234)) for _ in range(6))
        )
        assert {a.status_code for a in answers} == {200}
        assert {a.json()["settlement"]["status"] for a in answers} == {"confirmed"}
        assert {a.json()["version"] for a in answers} == {3}
        released = await service.call("POST", path, report("released", 3766))
        assert released.json()["settlement"]["status"] == "confirmed"
        kept = await service.call("GET", path.replace("/v1/", "/v1/ops/"), key=service.all_ops.api_key)
        assert [(c["outcome"], c["amount"]) for c in kept.json()["data"]] == [
            ("captured", 1234),
            ("released", 3766),
        ]
        other = await service.call("POST", path, report("captured", 1235))
        assert_problem(other, 409, "capture_conflict")


@pytest.mark.parametrize(
    ("price", "body", "status", "attention"),
    [
        (1234, report("captured", 1000), "due", False),
        (1234, report("captured", 0), "due", False),
        (1234, report("captured", 5000), "failed", True),
        (1234, report("failed", 1234), "failed", True),
        (1234, report("released", 5000), "failed", True),
        (1234, report("released", 3766), "due", False),
        (0, report("released", 5000), "confirmed", False),
        (0, report("released", 0), "confirmed", False),
        (0, report("captured", 0), "confirmed", False),
        (0, report("captured", 100), "failed", True),
    ],
)
async def test_what_the_psp_did_is_compared_with_what_was_settled(
    database_url: str, price: int, body: Json, status: str, attention: bool
) -> None:  # F74
    async with open_service(database_url) as service:
        answer = await service.call("POST", await settled(service, price), body)
        assert answer.status_code == 200
        assert answer.json()["settlement"]["status"] == status
        assert answer.json()["needs_attention"] == attention
        amounts = answer.json()["settlement"]
        assert amounts["amount_to_capture"] + amounts["amount_to_release"] == 5000


@pytest.mark.parametrize(
    ("price", "steps"),
    [
        (1234, [("captured", 1000, "due", False), ("captured", 234, "confirmed", False)]),
        (1234, [("failed", 1234, "failed", True), ("captured", 1234, "confirmed", False)]),
        (
            1234,
            [
                ("failed", 1234, "failed", True),
                ("captured", 1000, "failed", True),
                ("captured", 234, "confirmed", False),
                ("captured", 1, "failed", True),
            ],
        ),
        (1234, [("released", 3766, "due", False), ("captured", 1234, "confirmed", False)]),
        (1234, [("captured", 1234, "confirmed", False), ("failed", 1234, "confirmed", False)]),
        (0, [("failed", 0, "failed", True), ("captured", 0, "confirmed", False)]),
        (0, [("released", 2000, "due", False), ("released", 3000, "confirmed", False)]),
    ],
)
async def test_F104_what_the_psp_reports_in_pieces_counts_by_its_sum(
    database_url: str, price: int, steps: list[tuple[str, int, str, bool]]
) -> None:
    async with open_service(database_url) as service:
        path = await settled(service, price)
        for n, (outcome, amount, status, attention) in enumerate(steps):
            for _ in range(2):
                answer = (await service.call("POST", path, report(outcome, amount, f"psp-{n}"))).json()
                assert (answer["settlement"]["status"], answer["needs_attention"]) == (status, attention)
        kept = await service.call("GET", path.replace("/v1/", "/v1/ops/"), key=service.all_ops.api_key)
        assert [(c["outcome"], c["amount"]) for c in kept.json()["data"]] == [(s[0], s[1]) for s in steps]


async def test_F104_a_report_that_names_the_only_hold_repeats_the_one_that_did_not(database_url: str) -> None:
    async with open_service(database_url) as service:
        path = await settled(service, 1234)
        for body in (report("captured", 1234), report("captured", 1234) | {"authorization_reference": "A-1"}):
            answer = (await service.call("POST", path, body)).json()
            assert (answer["settlement"]["status"], answer["needs_attention"]) == ("confirmed", False)


async def test_there_is_nothing_to_capture_before_the_settlement(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        answer = await service.call("POST", f"{PATH}/{session['id']}/captures", report("captured", 1))
        assert assert_problem(answer, 409, "not_settled")["retryable"]


async def test_a_report_that_makes_no_sense_is_refused(database_url: str) -> None:
    wrong = [
        report("stolen", 1),
        report("captured", -1),
        report("captured", 10**13),
        report("captured", 1, ""),
        report("captured", 1) | {"more": 1},
        {**report("captured", 1), "amount": 1.5},
        {**report("captured", 1), "amount": "1"},
    ]
    async with open_service(database_url) as service:
        path = await settled(service, 1234)
        for body in wrong:
            assert_problem(await service.call("POST", path, body), 422, "invalid_request")
        card = report("captured", 1234, "4111111111111111")
        assert_problem(await service.call("POST", path, card), 422, "card_data_not_allowed")


SHOWN = TARIFF | {
    "country_code": "XX",
    "party_id": "TWT",
    "last_updated": "2026-11-22T10:00:00.000Z",
    "elements": [{"price_components": [{"type": "ENERGY", "price": 0.49, "step_size": 1}]}],
}


UNIT_PRICES = {"currency": "EUR", "per_session": 0, "per_kwh": 49, "per_minute": 0, "per_idle_minute": 0}


async def test_charge_points_are_shown_with_state_power_and_price(database_url: str) -> None:
    async with open_service(database_url) as service:
        await service.price()
        await service.show("101")
        listed = (await service.call("GET", "/v1/charge-points")).json()
        assert [p["id"] for p in listed["data"]] == [str(n) for n in range(101, 111)]
        assert listed["next_cursor"] is None
        one = (await service.call("GET", "/v1/charge-points/101")).json()
        assert one == listed["data"][0]
        assert one == {
            "id": "101",
            "name": "Bay 1",
            "state": "available",
            "connectors": [{"name": "type2"}],
            "max_power_w": 22000,
            "price": SHOWN,
            "price_now": UNIT_PRICES,
            "price_max": UNIT_PRICES,
            "price_valid_until": None,
            "suggested_amount": 1300,
            "occupied_by_us": False,
            "cable_plugged_in": None,
            "state_seen_at": one["state_seen_at"],
        }
        assert one["state_seen_at"].endswith("Z")
        unseen = (await service.call("GET", "/v1/charge-points/102")).json()
        assert (unseen["state"], unseen["name"], unseen["price"]) == (None, None, SHOWN)
        assert (unseen["cable_plugged_in"], unseen["state_seen_at"]) == (None, None)
        await service.authorize()
        listed = (await service.call("GET", "/v1/charge-points")).json()
        assert [p["id"] for p in listed["data"] if p["occupied_by_us"]] == ["101"]
        for unknown in ("999", "abc", "%F0%9F%98%80"):
            answer = await service.call("GET", f"/v1/charge-points/{unknown}")
            assert answer.status_code in (404, 422)
            assert_problem(answer, answer.status_code, answer.json()["code"])


async def test_a_long_poll_answers_at_once_when_the_version_is_past(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        async with asyncio.timeout(PATIENCE_S):
            answer = await service.call("GET", f"{PATH}/{session['id']}?wait=30&version=0")
    assert answer.json() == session


async def test_a_long_poll_wakes_at_a_change_made_by_another_process(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "SWEEP_S", live.MAX_WAIT_S)  # told, not found by looking again
    async with open_service(database_url, replicas=2, listening=True) as service:
        session = await service.authorize()
        path = f"{PATH}/{session['id']}"
        polls = [
            asyncio.create_task(service.call("GET", f"{path}?wait=30&version=1", client=n % 2))
            for n in range(6)
        ]
        await asyncio.sleep(0.3)
        assert not any(poll.done() for poll in polls)
        await service.charging(session["id"], "77")
        async with asyncio.timeout(PATIENCE_S):
            answers = await asyncio.gather(*polls)
    assert {(a.status_code, a.json()["version"], a.json()["status"]) for a in answers} == {
        (200, 2, "charging")
    }


async def test_without_notifications_a_long_poll_looks_again_by_itself(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        poll = asyncio.create_task(service.call("GET", f"{PATH}/{session['id']}?wait=30&version=1"))
        await asyncio.sleep(0.1)
        await service.charging(session["id"], "77")
        async with asyncio.timeout(PATIENCE_S):
            assert (await poll).json()["version"] == 2


async def test_a_long_poll_without_news_ends_in_time_and_holds_no_connection(database_url: str) -> None:
    async with open_service(database_url, pool_size=1) as service:
        session = await service.authorize()
        polls = [service.call("GET", f"{PATH}/{session['id']}?wait=0.4&version=1") for _ in range(20)]
        begun = asyncio.get_running_loop().time()
        answers = await asyncio.gather(*polls)
        assert 0.4 <= asyncio.get_running_loop().time() - begun < PATIENCE_S
        assert {a.json()["version"] for a in answers} == {1}
        for query in ("wait=-1", "wait=x", "wait=nan", "version=-1", "version=x"):
            answer = await service.call("GET", f"{PATH}/{session['id']}?{query}")
            assert_problem(answer, 422, "invalid_request")
        assert_problem(await service.call("GET", f"{PATH}/ps_none?wait=30"), 404, "not_found")


async def recorded(service: Service, reference: str) -> Json:
    for _ in range(500):
        found: list[Json] = (await service.call("GET", f"{PATH}?reference={reference}")).json()["data"]
        if found:
            return found[0]
        await asyncio.sleep(0.01)
    raise AssertionError(f"{reference} was not recorded")


async def test_prefer_wait_holds_the_answer_until_the_start_is_decided(database_url: str) -> None:
    async with open_service(database_url, listening=True) as service:
        call = asyncio.create_task(
            service.call("POST", PATH, payment(), headers={"Prefer": "respond-async, wait=20"})
        )
        found = await recorded(service, "A-1")
        await asyncio.sleep(0.05)
        assert not call.done()
        await service.charging(found["id"], "77", 0)
        answer = await call
        assert (answer.status_code, answer.json()["status"]) == (201, "charging")
        assert answer.headers["preference-applied"] == "wait=20"
        again = await service.call("POST", PATH, payment(), headers={"Prefer": 'wait="5"'})
        assert (again.status_code, again.json()["status"]) == (200, "charging")


@pytest.mark.parametrize("prefer", ["wait=0", "wait", "wait=soon", "return=minimal", "wait=-3", "wait=³", ""])
async def test_another_preference_is_not_applied(database_url: str, prefer: str) -> None:
    async with open_service(database_url) as service, asyncio.timeout(PATIENCE_S):
        headers = {b"prefer": prefer.encode("utf-8")}
        bearer = {b"authorization": f"Bearer {service.one.terminal.api_key}".encode()}
        answer = await service.clients[0].post(PATH, json=payment(), headers=list((headers | bearer).items()))
        assert answer.status_code == 201
        assert "preference-applied" not in answer.headers


async def test_long_polls_are_answered_when_the_process_ends(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        poll = asyncio.create_task(service.call("GET", f"{PATH}/{session['id']}?wait=30&version=1"))
        await asyncio.sleep(0.1)
        service.apps[0].state.news.close()
        async with asyncio.timeout(PATIENCE_S):
            assert (await poll).json()["version"] == 1
