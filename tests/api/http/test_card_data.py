"""Card numbers are refused under whatever name, never kept, never shown, never logged (F16)."""

import hashlib
import json
import logging
import sys
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.main import create_app
from app.store.db.database import Database
from app.telemetry import CarefulFormatter, JsonFormatter, mask_card_numbers
from tests.api.service import (
    TARIFF,
    Json,
    Service,
    assert_problem,
    fields_of,
    make_context,
    open_service,
    payment,
)
from tests.virtual_clock import VirtualClock

PATH = "/v1/payment-sessions"
PANS = ["4111111111111111", "5555555555554444", "2223003122003222"]


def in_every_place(pan: str) -> list[tuple[str, Json]]:
    spaced = " ".join(pan[i : i + 4] for i in range(0, len(pan), 4))
    wide = pan.translate({ord(str(n)): chr(0xFF10 + n) for n in range(10)})
    return [
        ("authorization.reference", payment(reference=pan)),
        ("authorization.reference", payment(reference=f"ref-{pan}")),
        ("display_reference", payment(display_reference=pan)),
        ("metadata", payment(metadata={"note": spaced})),
        ("metadata", payment(metadata={"note": f"paid with {spaced.replace(' ', '-')}!"})),
        ("metadata", payment(metadata={"note": wide})),
        ("metadata", payment(metadata={"charge_point_id": pan})),
        ("metadata", payment(metadata={pan: "x"})),
        ("body", payment(**{pan: "x"})),
        ("authorization.card", payment(authorization={"card": {"number": pan}})),
        ("authorization.card", payment(authorization={"card": {"number": int(pan)}})),
        ("authorization.card.fingerprint", payment(authorization={"card": {"fingerprint": pan}})),
        ("authorization.card.last4", payment(authorization={"card": {"last4": pan}})),
        ("authorization.amount", payment(authorization={"amount": int(pan)})),
        ("tariff", payment(tariff={**TARIFF, "tariff_alt_text": [{"text": spaced}]})),
        ("body", payment(deep=[[{"a": [1, pan]}]])),
    ]


@pytest.mark.anyio
async def test_a_card_number_anywhere_is_refused_and_neither_kept_nor_echoed_nor_logged(
    database_url: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    said = ""
    async with open_service(database_url) as service:
        for pan in PANS:
            for field, body in in_every_place(pan):
                answer = await service.call("POST", PATH, body)
                problem = assert_problem(answer, 422, "card_data_not_allowed")
                assert field in fields_of(problem), problem
                said += answer.text
        said += await everything_kept(service)
        assert await service.count() == 0
    captured = capsys.readouterr()
    said += captured.out + captured.err + caplog.text
    for pan in PANS:
        assert pan not in said
        assert pan[:4] + " " + pan[4:8] not in said


@pytest.mark.anyio
async def test_bodies_of_other_endpoints_and_the_idempotency_key_are_checked_too(database_url: str) -> None:
    pan = PANS[0]
    async with open_service(database_url) as service:
        session = await service.authorize()
        await service.settle(session["id"], 100)
        capture = {"outcome": "captured", "amount": 100, "reference": pan}
        endpoints: list[tuple[str, Any, str | None]] = [
            ("/v1/stop-requests", {"card_fingerprint": pan}, None),
            (f"{PATH}/{session['id']}/captures", capture, None),
            (f"/v1/ops/payment-sessions/{session['id']}/stop", {"reason": pan}, service.all_ops.api_key),
        ]
        for path, body, key in endpoints:
            problem = assert_problem(
                await service.call("POST", path, body, key=key), 422, "card_data_not_allowed"
            )
            assert pan not in str(problem)
        answer = await service.call("POST", PATH, payment("102", "A-2"), headers={"Idempotency-Key": pan})
        assert_problem(answer, 422, "card_data_not_allowed")
        assert pan not in await everything_kept(service)


@pytest.mark.anyio
async def test_a_fraction_is_no_card_number_but_its_whole_part_may_be(database_url: str) -> None:
    noisy = {
        **TARIFF,
        "elements": [{"price_components": [{"type": "ENERGY", "price": 0.4111111111111111, "step_size": 1}]}],
    }
    async with open_service(database_url) as service:
        assert (await service.call("POST", PATH, payment(tariff=noisy))).status_code == 201
        hidden = payment("102", "A-2", tariff={**TARIFF, "x": 4111111111111111.0})
        assert_problem(await service.call("POST", PATH, hidden), 422, "card_data_not_allowed")


@pytest.mark.anyio
async def test_a_charge_point_id_may_look_like_a_card_number(database_url: str) -> None:
    async with open_service(database_url) as service:
        other = await service.add_terminal(service.one.operator.operator_id, PANS[0])
        answer = await service.call("POST", PATH, payment(PANS[0]), key=other.api_key)
        assert answer.status_code == 201


async def everything_kept(service: Service) -> str:
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    kept = ""
    async with service.context.database.transaction() as connection:
        for (table,) in (await connection.execute(text(tables))).all():
            rows = await connection.execute(text(f"SELECT t::text FROM {table} t"))
            kept += "\n".join(row[0] for row in rows)
    return kept


SPELLED = [
    "4111.1111.1111.1111",
    "4111/1111/1111/1111",
    "3-4111111111111111",
    "4111111111111111-123",
    "4111-1111-1111-1111-12-27",
]
IDENTIFIERS = [
    "T42-20261122-000007",
    hashlib.sha256(b"card881").hexdigest(),
    "2611221000000007",
    "261122100000123",
    "8814567890123456",
    "f81d4fae-7dec-4242-8242-424242424242",
]


@pytest.mark.anyio
async def test_F103_identifiers_are_taken_wherever_identifiers_belong(database_url: str) -> None:
    async with open_service(database_url) as service:
        for n, identifier in enumerate(IDENTIFIERS):
            body = payment(
                str(101 + n),
                identifier,
                authorization={"card": {"fingerprint": identifier, "account_reference": identifier}},
                display_reference=identifier[:64],
            )
            answer = await service.call("POST", PATH, body, headers={"Idempotency-Key": identifier})
            assert answer.status_code == 201, (identifier, answer.text)
            found = await service.call("GET", PATH, params={"reference": identifier})
            assert [s["id"] for s in found.json()["data"]] == [answer.json()["id"]]


@pytest.mark.anyio
async def test_F103_a_card_number_in_any_spelling_is_refused_in_queries_and_headers_too(
    database_url: str,
) -> None:
    async with open_service(database_url) as service:
        ops = service.all_ops.api_key
        for spelled in SPELLED:
            body = payment(reference=spelled, display_reference=spelled, metadata={spelled: spelled})
            problem = assert_problem(await service.call("POST", PATH, body), 422, "card_data_not_allowed")
            assert fields_of(problem) == ["authorization.reference", "display_reference", "metadata"]
            for query in ("reference", "display_reference", spelled):
                for path, key in ((PATH, None), ("/v1/ops/payment-sessions", ops)):
                    found = await service.call("GET", path, params={query: spelled}, key=key)
                    assert_problem(found, 422, "card_data_not_allowed")
                    assert spelled not in found.text
            for header in ("Idempotency-Key", "Prefer"):
                refused = await service.call("POST", PATH, payment(), headers={header: spelled})
                assert fields_of(assert_problem(refused, 422, "card_data_not_allowed")) == [header]
                assert spelled not in refused.text
        assert await service.count() == 0


@pytest.mark.anyio
async def test_F103_with_a_failing_database_no_card_number_is_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    database = Database("postgresql://nobody@localhost:1/none")
    app = create_app(make_context(database, VirtualClock()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tapwatt.test") as http:
        for spelled in (*SPELLED, PANS[0]):
            for path in (
                f"{PATH}/{spelled}",
                f"/v1/charge-points/{spelled}",
                f"/v1/ops/orphans/{spelled}/close",
            ):
                answer = await http.get(path, headers={"Authorization": "Bearer tw_x"})
                assert PANS[0][:8] not in answer.text
    await database.close()
    said = capsys.readouterr().err
    assert "database_trouble" in said
    for spelled in (*SPELLED, PANS[0]):
        assert spelled not in said


def test_F103_the_last_filter_of_the_log_masks_what_all_others_missed() -> None:
    text = "Traceback:\n  File x\nDETAIL: Key (reference)=(4111-1111-1111-1111) exists"
    event: dict[str, Any] = {"event": "x", "exception": text, "charge_id": "689100419745380035", "n": 4}
    shown = mask_card_numbers(None, "info", dict(event))
    assert "4111" not in str(shown)
    assert shown["exception"].startswith("Traceback:\n  File x\n***")
    assert {k: v for k, v in shown.items() if k != "exception"} == {
        k: v for k, v in event.items() if k != "exception"
    }
    record = logging.LogRecord("x", logging.WARNING, "x", 1, "lost 4111 1111 1111 1111", None, None)
    assert "4111" not in CarefulFormatter().format(record)
    assert "4111" not in JsonFormatter().format(record)


def test_a_librarys_line_is_one_json_object_among_ours() -> None:
    try:
        raise ValueError("a\nb\x1b[2J")
    except ValueError:
        failed = sys.exc_info()
    record = logging.LogRecord("asyncio", logging.ERROR, "x", 1, "%s\x1b lost", ("it",), failed)
    record.created = 1_764_288_000.25
    written = JsonFormatter().format(record)
    assert "\n" not in written
    said = json.loads(written)
    exception = said.pop("exception")
    assert "ValueError: a\n    b" in exception
    assert "\x1b" not in exception
    assert said == {
        "event": "it\\x1b lost",
        "logger": "asyncio",
        "level": "error",
        "timestamp": "2025-11-28T00:00:00.250000Z",
    }
