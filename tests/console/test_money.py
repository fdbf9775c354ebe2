"""Tests of app/console/routes/money.

Money: a day that adds up, differences first, holds that expire, captures that are overdue, one operator's only.
"""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.api.service import Service, open_service, payment, wait
from tests.console.accessibility import check
from tests.console.browser import opened
from tests.console.html import Node
from tests.journeys.checks import ended
from tests.journeys.rig import energy_tariff, open_rig

pytestmark = pytest.mark.anyio


def section(page: Node, title: str) -> Node:
    return next(s for s in page.all("section") if s.one("h2").text.startswith(title))


def cells(row: Node) -> list[str]:
    return [cell.text for cell in row.children if isinstance(cell, Node)]


async def test_a_day_of_real_charges_adds_up_by_terminal(database_url: str) -> None:
    async with open_rig(database_url) as rig, opened(rig.app) as browser:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 2000)
        last = await ended(rig, session)
        open_one = await rig.authorize(101, 3000)
        capture, release = (last["settlement"][f"amount_to_{what}"] for what in ("capture", "release"))
        for outcome, amount in (("captured", capture), ("released", release)):
            report = {"outcome": outcome, "amount": amount, "reference": f"psp-{outcome}"}
            await rig.call("POST", f"/v1/payment-sessions/{session['id']}/captures", body=report)
        page = await browser.sign_in(rig.ops.api_key)
        page = await browser.get("/console/money")
        check(page)
        row = section(page, "By terminal").one("tbody").one("tr")
        name, sessions, authorized, captured, released, still_open, settled, monta = cells(row)
        assert name == "lane 3 Nordlade"
        assert (sessions, authorized) == ("2", "50.00 EUR")
        assert (captured, released) == (f"{capture / 100:.2f}", f"{release / 100:.2f}")
        assert float(captured) + float(released) + float(still_open) == 50
        assert settled == monta == captured
        assert section(page, "Differences").one("p").text == "All 2 sessions of the day agree."
        assert "No open hold expires" in section(page, "Holds that expire").text
        books = await browser.http.get("/console/charges.csv?month=2026-11")
        assert books.text.startswith("operator_id,session_id,charge_id")
        assert (await browser.http.get("/console/charges.csv?month=2026-13")).status_code == 422
        file = await browser.http.get("/console/money.csv?date=2026-11-22")
        assert session["id"] in file.text
        assert open_one["id"] in file.text


async def test_differences_and_overdue_captures_and_expiring_holds_are_named(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        short, late = await service.authorize("101", "A-1"), await service.authorize("102", "A-2")
        await service.charging(short["id"], "77")
        await service.settle(short["id"], 6000)
        settled = (await service.settle(late["id"], 700)).settlement
        assert settled is not None
        flagged = replace(
            settled, overdue_since=settled.decided_at, deadline=settled.decided_at + timedelta(hours=3)
        )
        await service.change(late["id"], settlement=flagged)
        expiring = await service.authorize("103", "A-3", authorization={"expires_at": "2026-11-22T20:00:00Z"})
        await browser.sign_in(service.one.ops.api_key)
        page = await browser.get("/console/money")
        check(page)
        differing = section(page, "Differences").one("tbody").all("tr")
        told = {cells(row)[0].split(" ")[0]: cells(row) for row in differing}
        assert "overrun" in told[short["display_reference"]][1]
        assert told[short["display_reference"]][2] == "10.00 EUR"
        overdue = section(page, "Captures overdue").one("tbody").one("tr")
        assert cells(overdue)[0] == late["display_reference"]
        assert cells(overdue)[4] == "7.00"
        held = section(page, "Holds that expire").one("tbody").one("tr")
        assert cells(held)[0] == expiring["display_reference"]
        refused = {"outcome": "failed", "amount": 5000, "reference": "P-1"}
        await service.call("POST", f"/v1/payment-sessions/{short['id']}/captures", refused)
        failed = section(await browser.get("/console/money"), "Captures that failed").one("tbody").one("tr")
        assert cells(failed)[0] == short["display_reference"]
        assert "tried again at 2026-11-22 10:01" in cells(failed)[5]
        await wait(service, timedelta(hours=11))
        page = await browser.sign_in(service.one.ops.api_key)
        page = await browser.get("/console/money?date=2026-11-22")
        assert "expired" in section(page, "Holds that expire").one("tbody").text


async def test_another_day_is_empty_and_a_wrong_one_is_refused(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        await service.authorize()
        await browser.sign_in(service.one.ops.api_key)
        page = await browser.get("/console/money?date=2026-11-20")
        check(page)
        assert "No session was authorized on this day." in page.text
        for wrong in ("today", "2026-13-01", "0001-01-01"):
            check(await browser.get(f"/console/money?date={wrong}", 422))


async def theirs(service: Service) -> str:
    key = service.other.terminal.api_key
    answer = await service.call("POST", "/v1/payment-sessions", payment("102", "B-1"), key=key)
    session: str = answer.json()["id"]
    return session


async def test_a_key_of_one_operator_sees_no_money_of_another(kept_apart: str) -> None:
    async with open_service(kept_apart) as service:
        session_id = await theirs(service)
        settled = (await service.settle(session_id, 6000)).settlement
        assert settled is not None
        await service.change(session_id, settlement=replace(settled, overdue_since=settled.decided_at))
        for key, sees in ((service.one.ops.api_key, False), (service.other.ops.api_key, True)):
            async with opened(service.apps[0]) as person:
                await person.sign_in(key)
                page = await person.get("/console/money")
                links = [a.attributes["href"] for a in page.all("a")]
                assert (f"/console/sessions/{session_id}" in links) is sees
                assert ("50.00 EUR" in page.text) is sees
                assert (session_id in (await person.http.get("/console/money.csv")).text) is sees
