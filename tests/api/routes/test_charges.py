"""Tests of app/api/routes/reconciliation and app/cli/records/charges: a month's charges."""

import asyncio
import csv
import json
from io import StringIO

from tests.api.service import assert_problem, open_service
from tests.api.three_sessions import three_sessions
from tests.build_context import SECRET_KEY
from tests.commands import invoke

PATH = "/v1/ops/charges?month=2026-11"


async def by_api(database_url: str) -> str:
    """Checks what the API shows; returns the CSV."""
    async with open_service(database_url) as service:
        await service.price()
        ids = await three_sessions(service)
        await service.show("101")
        key = service.one.ops.api_key
        found = (await service.call("GET", PATH, key=key)).json()
        assert {c["session_id"]: (c["amount_gross"], c["evse_id"]) for c in found["data"]} == {
            ids[0]: (790, "DK*TAP*E101"),
            ids[1]: (1234, None),
        }, "what is settled; Monta did not show the other charge point yet"
        (total,) = found["totals"]
        assert (total["charges"], total["amount_gross"], total["amount_captured"]) == (2, 2024, 790)
        day = (await service.call("GET", "/v1/ops/reconciliation?date=2026-11-22", key=key)).json()
        assert sum(t["amount_settled"] for t in day["totals"]) == total["amount_gross"]
        theirs = (await service.call("GET", PATH, key=service.other.ops.api_key)).json()
        assert theirs["data"] == [], "another operator's key sees none of it"
        for wrong in ("2026-13", "2026-11-01", "11.2026", ""):
            answer = await service.call("GET", f"/v1/ops/charges?month={wrong}", key=key)
            assert_problem(answer, 422, "invalid_request")
        return (await service.call("GET", PATH + "&format=csv", key=key)).text


def test_the_month_by_api_as_csv_and_on_the_command_line(kept_apart: str) -> None:
    text = asyncio.run(by_api(kept_apart))
    settings = {"TAPWATT_DATABASE_URL": kept_apart, "TAPWATT_SECRET_KEY": SECRET_KEY, "COLUMNS": "80"}
    command = ["charges", "--month", "2026-11"]
    printed = invoke([*command, "--csv"], env=settings)
    assert list(csv.reader(StringIO(printed.stdout))) == list(csv.reader(StringIO(text)))
    shown = invoke(command, env=settings)
    assert shown.exit_code == 0, shown.output
    assert "EUR: 2 charges, 5.000 kWh, gross 20.24 EUR" in shown.stdout
    body = json.loads(invoke([*command, "--json"], env=settings).stdout)
    assert {c["address"] for c in body["data"]} == {"1 Test Street, 1000 Boxville", None}
    wrong = invoke(["charges", "--month", "November"], env=settings)
    assert wrong.exit_code == 1
    assert "2026-11" in wrong.output
