"""app/console/templates: Ten questions of operations, each answered in at most three clicks on data with faults."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import urlencode

import pytest

from app.domain.session.attention import Attention
from app.domain.session.payment_session import Status, Stop, StopReason
from app.domain.units.ids import OperatorId
from app.store.operators import operator_state
from app.store.operators.operator_state import CredentialStatus
from tests.api.service import Json, Service, open_service, wait
from tests.checks.pages import ROOT
from tests.console.accessibility import check
from tests.console.browser import Browser, opened
from tests.console.html import Node

pytestmark = pytest.mark.anyio

MOST_CLICKS = 3
DAY = "2026-11-22"


class Walk:
    """A person who begins at Live and follows what is on the pages."""

    def __init__(self, browser: Browser, page: Node) -> None:
        self._browser = browser
        self.page = page
        self.clicks = 0

    async def _open(self, address: str) -> None:
        self.clicks += 1
        self.page = await self._browser.get(address)
        check(self.page)

    async def click(self, text: str) -> None:
        """Follows the first link with this text."""
        links = [a for a in self.page.all("a") if a.text == text]
        assert links, f"no link says {text!r}"
        await self._open(links[0].attributes["href"])

    async def tile(self, title: str) -> None:
        """Follows the link of a tile."""
        (tile,) = [t for t in self.page.all("div", class_="tile") if t.one("dt").text == title]
        await self._open(tile.one("a").attributes["href"])

    async def submit(self, action: str, **fields: str) -> None:
        """Fills the form of this address in and sends it."""
        form = self.page.one("form", action=action)
        assert form.attributes["method"] == "get"
        names = {node.attributes.get("name") for node in form.all("input", "select")}
        assert {name.rstrip("_") for name in fields} <= names
        await self._open(f"{action}?{urlencode({n.rstrip('_'): v for n, v in fields.items()})}")

    def section(self, title: str) -> list[str]:
        """The text of each row of a section's table."""
        (found,) = [s for s in self.page.all("section") if s.one("h2").text.startswith(title)]
        return [row.text for row in found.all("tr") if row.within("tbody")]

    def fact(self, term: str) -> str:
        """What a page says under a term."""
        for facts in self.page.all("dl"):
            cells = [node for node in facts.walk() if node.tag in ("dt", "dd")]
            for dt, dd in zip(cells[::2], cells[1::2], strict=True):
                if dt.text == term:
                    return dd.text
        raise AssertionError(f"nothing is said of {term}")


@dataclass
class Faults:
    """The sessions that something was done to, each otherwise alike among good ones."""

    lost: Json
    stopped: Json
    held: Json
    overdue: Json
    runs_on: Json
    receipt: Json


Path = Callable[[Walk, Faults], Awaitable[None]]


async def lost_money(walk: Walk, put: Faults) -> None:
    await walk.click("Money")
    await walk.submit("/console/money", date="2026-11-23")
    await walk.click("The day before")
    rows = [row for row in walk.section("Differences") if "overrun" in row]
    assert len(rows) == 1
    assert put.lost["display_reference"] in rows[0]
    assert "10.00 EUR" in rows[0]


async def why_stopped(walk: Walk, put: Faults) -> None:
    await walk.click("Search")
    await walk.submit("/console/search", q=put.stopped["id"])
    await walk.click(put.stopped["display_reference"])
    assert walk.fact("Stopped because") == "limit reached, 1 call"


async def terminals_out(walk: Walk, _: Faults) -> None:
    await walk.click("Terminals")
    (row,) = walk.section("Out of service for more than an hour")
    assert "terminal lane" in row
    assert "offline" in row


async def charge_points_available(walk: Walk, _: Faults) -> None:
    await walk.click("Terminals")
    (row,) = [row for row in walk.section("Charge points") if "Bay 1" in row]
    assert "100.00 %" in row


async def what_needs_a_person(walk: Walk, put: Faults) -> None:
    await walk.tile("Needs attention")
    await walk.click(put.held["display_reference"])
    notice = walk.page.all("div", class_="notice")[0].text
    assert "final record held" in notice
    assert "settle the session by hand" in notice


async def where_is_my_money(walk: Walk, _: Faults) -> None:
    await walk.click("Money")
    await walk.submit("/console/money", date=DAY)
    (row,) = walk.section("By terminal")
    assert "350.00 EUR 7.90 42.10 300.00" in row


async def captures_missing(walk: Walk, put: Faults) -> None:
    await walk.tile("Captures overdue")
    (row,) = walk.section("Captures overdue")
    assert put.overdue["display_reference"] in row


async def stops_without_effect(walk: Walk, put: Faults) -> None:
    await walk.click("Health")
    (row,) = walk.section("Stops not confirmed")
    assert put.runs_on["display_reference"] in row
    assert row.endswith(" 4"), "its calls"


async def a_receipt(walk: Walk, put: Faults) -> None:
    await walk.click("Search")
    await walk.submit("/console/search", from_=DAY, to=DAY, last4="4242")
    await walk.click(put.receipt["display_reference"])
    assert walk.fact("Terminal reported").startswith("captured 7.90 EUR")


async def credentials(walk: Walk, _: Faults) -> None:
    await walk.click("Health")
    (row,) = walk.section("Operators")
    assert "credential" in row
    assert "401 from Monta" in row


QUESTIONS: dict[str, Path] = {
    "Which sessions lost money yesterday?": lost_money,
    "Why was this session stopped?": why_stopped,
    "Which terminals were out for more than an hour?": terminals_out,
    "How available was a charge point this month?": charge_points_available,
    "What needs a person, and what is to be done?": what_needs_a_person,
    "Where is my money?": where_is_my_money,
    "Which captures are missing?": captures_missing,
    "Does a charge run on that was stopped?": stops_without_effect,
    "A driver calls with a receipt: what was captured?": a_receipt,
    "Is the credential good, and are webhooks coming?": credentials,
}


async def put_faults(service: Service) -> Faults:
    """Seven sessions of one day, six with a fault of their own, and a terminal that was silent for two hours."""
    ids = ("lost", "stopped", "held", "overdue", "runs_on", "receipt", "good")
    made = {}
    for number, name in enumerate(ids, start=101):
        card = {"card": {"brand": "visa", "last4": "4242"}} if name == "receipt" else {}
        made[name] = await service.authorize(str(number), f"A-{name}", authorization=card)
        await service.charging(made[name]["id"], str(number))
    now = service.context.clock.now()
    await service.settle(made["lost"]["id"], 6000)
    stop = Stop(reason=StopReason.LIMIT_REACHED, decided_at=now, attempts=1, confirmed_at=now)
    await service.change(made["stopped"]["id"], stop=stop, stop_reason=stop.reason, status=Status.FINISHING)
    await service.change(
        made["runs_on"]["id"], stop=replace(stop, attempts=4, confirmed_at=None), status=Status.STOPPING
    )
    await service.change(
        made["held"]["id"], attention=(Attention(code="final_record_held", detail="a price of 0"),)
    )
    settled = (await service.settle(made["overdue"]["id"], 700)).settlement
    assert settled is not None
    await service.change(made["overdue"]["id"], settlement=replace(settled, overdue_since=settled.decided_at))
    await service.settle(made["receipt"]["id"], 790)
    for outcome, amount in (("captured", 790), ("released", 4210)):
        report: Json = {"outcome": outcome, "amount": amount, "reference": f"P-{outcome}"}
        path = f"/v1/payment-sessions/{made['receipt']['id']}/captures"
        assert (await service.call("POST", path, report)).status_code == 200
    await service.show("101")
    await heartbeat(service)
    await wait(service, timedelta(hours=2))
    await heartbeat(service)
    async with service.context.database.transaction() as connection:
        status = CredentialStatus(refused_since=now, problem="401 from Monta")
        owner = OperatorId(service.one.operator.operator_id)
        await operator_state.note_credential_status(connection, owner, status)
    return Faults(**{name: each for name, each in made.items() if name != "good"})


async def heartbeat(service: Service) -> None:
    answer = await service.call("PUT", "/v1/terminal/status", {"state": "online"})
    assert answer.status_code == 200, answer.text


async def test_ten_questions_are_answered_in_three_clicks(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        put = await put_faults(service)
        live = await browser.sign_in(service.one.ops.api_key)
        for question, path in QUESTIONS.items():
            walk = Walk(browser, live)
            await path(walk, put)
            assert 1 <= walk.clicks <= MOST_CLICKS, question
    assert len(QUESTIONS) == 10


def test_the_page_about_the_console_has_the_same_questions() -> None:
    page = (ROOT / "docs/console.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")]
    assert [row for row in rows if row.endswith("?")] == list(QUESTIONS)
