"""Reconciliation of a day by API and command line."""

import asyncio
import csv
import json
from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest

from app.flows.admin import reconciliation
from tests.api.service import assert_problem, open_service
from tests.api.three_sessions import three_sessions
from tests.build_context import SECRET_KEY
from tests.commands import invoke

PATH = "/v1/ops/reconciliation?date=2026-11-22"


@pytest.mark.anyio
async def test_a_day_shows_its_sums_and_what_differs(
    kept_apart: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciliation, "PAGE", 2)
    async with open_service(kept_apart) as service:
        ids = await three_sessions(service)
        key = service.one.ops.api_key
        fresh = (await service.call("GET", PATH, key=key)).json()
        assert (fresh["sessions"], fresh["differing"]) == (3, []), "the second capture is not overdue yet"
        service.context.clock.set(service.context.clock.now() + timedelta(days=1))  # type: ignore[attr-defined]
        found = (await service.call("GET", PATH, key=key)).json()
        (total,) = found["totals"]
        assert {k: v for k, v in total.items() if k.startswith("amount")} == {
            "amount_authorized": 15000,
            "amount_captured": 790,
            "amount_released": 4210,
            "amount_open": 10000,
            "amount_above": 0,
            "amount_settled": 2024,
            "amount_monta": 0,
        }
        (differs,) = found["differing"]
        assert differs["session_id"] == ids[1]
        assert [(d["kind"], d["amount"]) for d in differs["differences"]] == [("capture_missing", 1234)]
        other_day = (await service.call("GET", PATH.replace("22", "23"), key=key)).json()
        assert other_day["sessions"] == 0
        theirs = (await service.call("GET", PATH, key=service.other.ops.api_key)).json()
        assert theirs["sessions"] == 0, "another operator's key sees none of it"
        assert_problem(await service.call("GET", PATH + "x", key=key), 422, "invalid_request")


async def csv_of_the_day(database_url: str) -> tuple[list[str], list[dict[str, str]]]:
    async with open_service(database_url) as service:
        ids = await three_sessions(service)
        answer = await service.call("GET", PATH + "&format=csv", key=service.all_ops.api_key)
        assert answer.headers["content-type"].startswith("text/csv")
        return ids, list(csv.DictReader(StringIO(answer.text)))


def test_the_same_day_as_csv_and_on_the_command_line(database_url: str) -> None:
    ids, rows = asyncio.run(csv_of_the_day(database_url))
    assert {r["session_id"]: (r["captured"], r["open"]) for r in rows} == {
        ids[0]: ("790", "0"),
        ids[1]: ("0", "5000"),
        ids[2]: ("0", "5000"),
    }
    settings = {"TAPWATT_DATABASE_URL": database_url, "TAPWATT_SECRET_KEY": SECRET_KEY}
    command = ["reconcile", "--date", "2026-11-22"]
    table = invoke(command, env=settings)
    assert table.exit_code == 3, table.output
    assert "capture_missing: 12.34 EUR" in table.output
    assert ids[1] in table.output
    printed = invoke([*command, "--csv"], env=settings)
    assert list(csv.DictReader(StringIO(printed.output))) != rows, "by now the captures are overdue"
    advice = invoke([*command, "--financial-advice"], env=settings)
    (confirmed,) = json.loads(advice.output, parse_float=Decimal)
    assert (confirmed["id"], confirmed["total_costs"]) == (ids[0], {"before_taxes": Decimal("7.90")})
    wrong = invoke(["reconcile", "--date", "22.11.2026"], env=settings)
    assert wrong.exit_code == 1
    assert "2026-11-22" in wrong.output
