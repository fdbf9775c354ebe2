"""Operations: lists with filters and cursors, details, journals, stops, sums."""

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from dirty_equals import IsStr

from app.domain.session.attention import Attention
from tests.api.service import LOOK, Json, Service, assert_problem, open_service

pytestmark = pytest.mark.anyio

LIST = "/v1/ops/payment-sessions"


async def get(service: Service, path: str) -> Json:
    answer = await service.call("GET", path, key=service.all_ops.api_key)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def test_sessions_are_found_by_each_filter_and_filters_combine(database_url: str) -> None:
    async with open_service(database_url) as service:
        one = await service.authorize("101", "A-1", authorization={"card": {"last4": "4242"}})
        service.context.clock.set(service.context.clock.now() + timedelta(seconds=10))  # type: ignore[attr-defined]
        two = await service.authorize("102", "A-2", display_reference="K7QM-4TXP")
        await service.charging(one["id"], "77")
        await service.change(two["id"], attention=LOOK)
        both = [two["id"], one["id"]]
        wanted: dict[str, list[str]] = {
            "": both,
            "status=charging": [one["id"]],
            "status=completed": [],
            f"terminal_id={one['terminal_id']}": both,
            "terminal_id=trm_none": [],
            "charge_point_id=102": [two["id"]],
            "charge_id=77": [one["id"]],
            "reference=A-2": [two["id"]],
            "display_reference=K7QM-4TXP": [two["id"]],
            "last4=4242": [one["id"]],
            "needs_attention=true": [two["id"]],
            "needs_attention=false": [one["id"]],
            "from=2026-11-22T10:00:05Z": [two["id"]],
            "to=2026-11-22T10:00:05Z": [one["id"]],
            f"from={quote('2026-11-22T11:00:00+01:00')}&to=2026-11-22T10:00:10Z": [one["id"]],
            "status=charging&charge_id=77": [one["id"]],
            "status=charging&charge_point_id=102": [],
        }
        for query, ids in wanted.items():
            listed = await get(service, f"{LIST}?{query}")
            assert [s["id"] for s in listed["data"]] == ids, query
            assert listed["next_cursor"] is None
        detail = await get(service, f"{LIST}/{two['id']}")
        assert [item["detail"] for item in detail["attention"]] == ["look"]
        assert detail["needs_attention"]
        assert detail["operator_id"] == service.one.operator.operator_id


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=gone", "status"),
        ("last4=42", "last4"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("needs_attention=maybe", "needs_attention"),
        ("from=yesterday", "from"),
        ("from=2026-11-22T10:00:00", "from"),
        ("from=0", "from"),
        ("from=0001-01-01T00:00:00%2B14:00", "from"),
        ("to=9999-12-31T23:59:59-14:00", "to"),
        ("reference=%00", "reference"),
        ("charge_id=%00", "charge_id"),
        ("stauts=charging", "query"),
        ("cursor=x", "cursor"),
        ("cursor=%C3%A9", "cursor"),
        ("cursor=MDAwMS0wMS0wMVQwMDowMDowMCsxNDowMCBwc18x", "cursor"),
        ("cursor=MjAyNi0xMS0yMlQxMDowMDowMCswMDowMCBwc18A", "cursor"),
        ("cursor=" + "x" * 300, "cursor"),
    ],
)
async def test_a_filter_that_makes_no_sense_is_named(database_url: str, query: str, field: str) -> None:
    async with open_service(database_url) as service:
        await service.authorize()
        answer = await service.call("GET", f"{LIST}?{query}", key=service.all_ops.api_key)
        problem = assert_problem(answer, 422, "invalid_request")
        assert field in [error["field"] for error in problem["errors"]]


async def test_cursors_lead_through_all_sessions_also_while_new_ones_come(database_url: str) -> None:
    async with open_service(database_url) as service:
        recorded = [(await service.authorize(f"10{n}", f"A-{n}"))["id"] for n in range(1, 6)]
        seen: list[str] = []
        path = f"{LIST}?limit=2"
        cursor: str | None = ""
        while cursor is not None:
            page = await get(service, f"{path}&cursor={quote(cursor)}" if cursor else path)
            assert len(page["data"]) <= 2
            seen += [s["id"] for s in page["data"]]
            cursor = page["next_cursor"]
            if len(seen) == 2:
                service.context.clock.set(service.context.clock.now() + timedelta(seconds=1))  # type: ignore[attr-defined]
                await service.authorize("106", "A-new")
    assert sorted(seen) == sorted(recorded)
    assert len(seen) == len(set(seen))


async def test_the_journal_shows_everything_oldest_first_page_by_page(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        stop = f"{LIST}/{session['id']}/stop"
        answer = await service.call("POST", stop, {"reason": "cable trapped"}, key=service.all_ops.api_key)
        assert (answer.status_code, answer.json()["version"]) == (202, 2)
        again = await service.call("POST", stop, {"reason": "again"}, key=service.all_ops.api_key)
        assert (again.status_code, again.json()["version"]) == (202, 2)
        whole = await get(service, f"{LIST}/{session['id']}/journal")
        assert whole == {
            "data": [
                {
                    "at": "2026-11-22T10:00:00.000Z",
                    "kind": "payment_authorized",
                    "source": "terminal",
                    "detail": {"reference": "A-1", "amount_minor": 5000, "currency": "EUR", "tariff": None}
                    | {
                        "by": service.one.terminal.key_id,
                        "by_name": "first",
                        "request": IsStr(regex="[0-9a-f]{64}"),
                    },
                },
                {
                    "at": "2026-11-22T10:00:00.000Z",
                    "kind": "stop_requested",
                    "source": "operations",
                    "detail": {"reason": "operations", "note": "cable trapped"}
                    | {"by": service.all_ops.key_id, "by_name": "operations"},
                },
            ],
            "next_cursor": None,
        }
        first = await get(service, f"{LIST}/{session['id']}/journal?limit=1")
        rest = await get(service, f"{LIST}/{session['id']}/journal?limit=1&cursor={first['next_cursor']}")
        assert first["data"] + rest["data"] == whole["data"]
        assert rest["next_cursor"] is None
        for query in ("limit=0", "limit=1001", "cursor=x", "cursor=-1", "cursor=" + "9" * 19):
            answer = await service.call(
                "GET", f"{LIST}/{session['id']}/journal?{query}", key=service.all_ops.api_key
            )
            assert_problem(answer, 422, "invalid_request")
        wrong: list[Any] = [{}, {"reason": ""}, {"reason": "x" * 201}, {"reason": "a\u0000"}, {"reason": 1}]
        for body in wrong:
            refused = await service.call("POST", stop, body, key=service.all_ops.api_key)
            assert_problem(refused, 422, "invalid_request")


async def test_the_summary_adds_up(database_url: str) -> None:
    async with open_service(database_url) as service:
        for n, price in enumerate((1234, 0, 7000), start=1):
            session = await service.authorize(f"10{n}", f"A-{n}")
            await service.settle(session["id"], price)
        service.context.clock.set(service.context.clock.now() + timedelta(seconds=3))  # type: ignore[attr-defined]
        running = await service.authorize("104", "A-4")
        await service.change(running["id"], attention=LOOK)
        service.context.clock.set(service.context.clock.now() + timedelta(seconds=3))  # type: ignore[attr-defined]
        summary = await get(service, "/v1/ops/summary")
    assert summary["sessions"] == {
        "authorized": 1,
        "starting": 0,
        "charging": 0,
        "stopping": 0,
        "finishing": 0,
        "completed": 3,
        "not_started": 0,
    }
    assert summary["needs_attention"] == 1
    assert summary["last_24_hours"] == [
        {
            "currency": "EUR",
            "sessions": 4,
            "amount_authorized": 20000,
            "amount_captured": 1234 + 5000,
            "amount_released": 3766 + 5000,
            "shortfall": 2000,
            "energy_wh": 7500,
        }
    ]
    assert summary["watcher_seen_at"] is None
    assert summary["oldest_due_at"] == "2026-11-22T10:00:00.000Z"
    assert sorted(o["name"] for o in summary["operators"]) == ["one", "other"]


async def test_F110_attention_is_acknowledged_with_a_note_stays_visible_and_counts_no_more(
    database_url: str,
) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize("101", "A-1")
        await service.change(session["id"], attention=LOOK)
        path = f"{LIST}/{session['id']}/attention/other/acknowledge"
        bare = {"note": "seen, the cable was trapped"}
        for _ in range(2):
            answer = await service.call("POST", path, bare, key=service.all_ops.api_key)
            assert answer.status_code == 200
            found = answer.json()
            assert not found["needs_attention"]
            (item,) = found["attention"]
            assert (item["code"], item["detail"]) == ("other", "look")
            assert item["acknowledged"]["note"] == bare["note"]
            assert item["acknowledged"]["by"].startswith("opk_")
        assert (await get(service, f"{LIST}?needs_attention=true"))["data"] == []
        assert (await get(service, "/v1/ops/summary"))["needs_attention"] == 0
        lines = (await get(service, f"{LIST}/{session['id']}/journal"))["data"]
        assert [line["kind"] for line in lines].count("attention_acknowledged") == 1
        anew = (*(LOOK), Attention(code="other", detail="another", about="2"))
        await service.change(session["id"], attention=anew)
        assert (await get(service, f"{LIST}/{session['id']}"))["needs_attention"]
        unknown = await service.call(
            "POST", path.replace("other", "shortfall"), bare, key=service.all_ops.api_key
        )
        assert_problem(unknown, 404, "not_found")
        assert_problem(
            await service.call("POST", path, {"note": ""}, key=service.all_ops.api_key),
            422,
            "invalid_request",
        )
        foreign = await service.call("POST", path, bare)
        assert foreign.status_code == 401
