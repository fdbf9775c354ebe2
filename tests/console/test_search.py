"""Tests of app/console/routes/search.

Search: every id that a caller may have, filters in the address, pages, CSV; only what the key may see.
"""

import csv
from datetime import timedelta
from io import StringIO

import pytest

from tests.api.service import LOOK, Service, open_service, payment, wait
from tests.console.accessibility import check
from tests.console.browser import Browser, opened
from tests.journeys.checks import ended
from tests.journeys.rig import energy_tariff, open_rig

pytestmark = pytest.mark.anyio


async def found(browser: Browser, query: str) -> list[str]:
    """The display references of a search's page."""
    page = await browser.get(f"/console/search?{query}")
    check(page)
    return [row.one("th").one("a").text for row in page.all("tr") if row.within("tbody")]


async def test_a_receipt_and_every_id_of_a_real_charge_lead_to_its_session(database_url: str) -> None:
    async with open_rig(database_url) as rig, opened(rig.app) as browser:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 2000, authorization={"card": {"brand": "visa", "last4": "4242"}})
        last = await ended(rig, session)
        other = await rig.authorize(101, 2000)
        await browser.sign_in(rig.ops.api_key)
        mine, day = session["display_reference"], last["settlement"]["receipt"]["date"]
        ids = (session["id"], last["charge"]["id"], "A-1", mine, mine.lower())
        for query in (*(f"q={each}" for each in ids), f"from={day}&to={day}&last4=4242", "status=completed"):
            assert await found(browser, query) == [mine], query
        assert await found(browser, "q=nothing") == []
        assert await found(browser, "charge_point_id=101") == [other["display_reference"]]
        row = (await browser.get(f"/console/search?q={mine}")).all("tr")[1]
        cells = [cell.text for cell in row.all("td")]
        assert cells[1:3] == ["completed due", cells[2]]
        assert cells[-2] == f"{last['settlement']['amount_to_capture'] / 100:.2f}"


async def test_filters_combine_and_stay_in_the_form(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        one = await service.authorize("101", "A-1")
        await wait(service, timedelta(days=1))
        two = await service.authorize("102", "A-2")
        await service.change(two["id"], attention=LOOK)
        await service.settle(one["id"], 700)
        await browser.sign_in(service.one.ops.api_key)
        both = [two["display_reference"], one["display_reference"]]
        assert await found(browser, "") == both
        assert await found(browser, "from=2026-11-23") == both[:1]
        assert await found(browser, "to=2026-11-22") == both[1:]
        assert await found(browser, "needs_attention=true") == both[:1]
        assert await found(browser, "settlement_status=due") == both[1:]
        assert await found(browser, f"terminal_id={one['terminal_id']}&status=completed") == both[1:]
        page = await browser.get("/console/search?q=A-1&status=completed&from=2026-11-22")
        values = {node.attributes["name"]: node.attributes["value"] for node in page.all("input")}
        assert (values["q"], values["from"]) == ("A-1", "2026-11-22")
        chosen = [
            option.attributes["value"] for option in page.all("option") if "selected" in option.attributes
        ]
        assert chosen == ["completed"]
        link = next(a.attributes["href"] for a in page.all("a") if a.text.startswith("CSV"))
        assert link == "/console/search.csv?q=A-1&status=completed&from=2026-11-22"


async def test_a_wrong_filter_is_named_and_finds_nothing(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        await service.authorize()
        await browser.sign_in(service.one.ops.api_key)
        for query in ("from=yesterday", "to=2026-02-30", "last4=12a4", "q=%00", "from=0001-01-01"):
            page = await browser.get(f"/console/search?{query}", 422)
            check(page)
            name = query.partition("=")[0]
            wrong = page.one("input", name=name)
            assert wrong.attributes["aria-invalid"] == "true"
            assert page.one("small", id=wrong.attributes["aria-describedby"]).text
            assert not page.all("table")
        page = await browser.get("/console/search?cursor=nonsense", 422)
        check(page)
        assert (await browser.http.get("/console/search.csv?last4=x")).status_code == 422


async def test_a_long_list_has_pages_and_one_csv_file(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.flows.console.search.CSV_PAGE", 2)
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        for number in range(5):
            await service.authorize(str(101 + number), f"=A-{number}")
            await wait(service, timedelta(seconds=1))
        await browser.sign_in(service.one.ops.api_key)
        everything = await found(browser, "")
        monkeypatch.setattr("app.flows.console.search.search.__kwdefaults__", {"after": None, "limit": 2})
        page = await browser.get("/console/search?status=authorized")
        shown = [row.one("th").text for row in page.all("tr") if row.within("tbody")]
        for _ in range(2):
            following = next(a.attributes["href"] for a in page.all("a") if a.text == "Older sessions")
            assert "status=authorized&" in following
            page = await browser.get(following)
            shown += [row.one("th").text for row in page.all("tr") if row.within("tbody")]
        assert shown == everything
        answer = await browser.http.get("/console/search.csv")
        assert answer.headers["content-type"].startswith("text/csv")
        rows = list(csv.DictReader(StringIO(answer.text)))
        assert [row["display_reference"] for row in rows] == everything
        assert {row["authorization_reference"][:2] for row in rows} == {"'="}, "no formula for a spreadsheet"


async def theirs(service: Service) -> str:
    answer = await service.call(
        "POST", "/v1/payment-sessions", payment("102", "B-1"), key=service.other.terminal.api_key
    )
    reference: str = answer.json()["display_reference"]
    return reference


async def test_a_key_of_one_operator_finds_nothing_of_another(kept_apart: str) -> None:
    async with open_service(kept_apart) as service, opened(service.apps[0]) as browser:
        mine = await service.authorize("101", "A-1")
        other = await theirs(service)
        await browser.sign_in(service.one.ops.api_key)
        assert await found(browser, "") == [mine["display_reference"]]
        for query in (f"q={other}", "q=B-1", "charge_point_id=102"):
            assert await found(browser, query) == []
            assert other not in (await browser.http.get(f"/console/search.csv?{query}")).text
        async with opened(service.apps[0]) as all_seeing:
            await all_seeing.sign_in(service.all_ops.api_key)
            assert set(await found(all_seeing, "")) == {mine["display_reference"], other}
