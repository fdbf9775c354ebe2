"""Tests of app/console/routes/session.

One session: what its page shows of real journeys, what operations may do there, hostile strings everywhere.
"""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from app.console.views.chart import chart_of
from app.domain.alerts.causes import AlertCode
from app.domain.session.attention import Attention, AttentionCode
from app.domain.session.machine import Change, Source
from app.domain.session.payment_session import Status
from app.domain.session.states.journal import JournalKind
from app.domain.units.ids import OperatorId, SessionId
from app.flows.admin import queries
from app.flows.admin.manage_keys import add_ops_key
from app.flows.console import session as session_flow
from app.flows.saving import save
from app.store.operators.keys import Role
from app.store.sessions import payment_sessions
from app.store.sessions.session_filter import SessionFilter
from tests.api.hostile_texts import write_everywhere
from tests.api.service import LOOK, Service, open_service
from tests.console.accessibility import check
from tests.console.browser import Browser, opened
from tests.console.html import Node
from tests.journeys.checks import ended
from tests.journeys.rig import energy_tariff, open_rig
from tests.postgres import run_as_owner

pytestmark = pytest.mark.anyio

HOSTILE = "\"'><script src=//evil.test></script><img src=x onerror=alert(1)>{{ 7*7 }}&amp;"


def facts(page: Node) -> dict[str, str]:
    """Each term of a description list with its text."""
    found: dict[str, str] = {}
    for one in page.all("dl"):
        cells = [node for node in one.walk() if node.tag in ("dt", "dd")]
        found |= {dt.text: dd.text for dt, dd in zip(cells[::2], cells[1::2], strict=True)}
    return found


async def shown(browser: Browser, session_id: str) -> Node:
    page = await browser.get(f"/console/sessions/{session_id}")
    check(page)
    return page


async def test_a_stopped_charge_is_told_with_its_chart_its_decisions_and_their_causes(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig, opened(rig.app) as browser:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 2000, authorization={"card": {"brand": "visa", "last4": "4242"}})
        await browser.sign_in(rig.ops.api_key)
        check(await shown(browser, session["id"]))
        await rig.until(session["id"], "charging")
        await rig.pass_time(200)
        running = await shown(browser, session["id"])
        chart = running.one("svg", class_="chart")
        assert chart.one("polyline", class_="cost forecast").attributes["points"]
        assert "at the present rate the limit is reached at" in chart.attributes["aria-label"]

        last = await ended(rig, session)
        page = await shown(browser, session["id"])
        known = facts(page)
        settled = last["settlement"]
        assert known["Authorized"] == "20.00 EUR"
        assert known["To capture"].startswith(f"{settled['amount_to_capture'] / 100:.2f} EUR")
        assert known["To release"] == f"{settled['amount_to_release'] / 100:.2f} EUR"
        assert known["Reference"] == "A-1"
        assert known["Card"] == "visa •••• 4242"
        assert known["Stopped because"].startswith("limit reached")
        assert known["Monta's charge"].startswith(last["charge"]["id"])
        chart = page.one("svg", class_="chart")
        assert not chart.all("polyline", class_="cost forecast")
        assert len(chart.one("polyline", class_="energy line").attributes["points"].split()) > 5
        decided = [item.text.split(" ", 2)[2] for item in page.one("ul", class_="legend").all("li")]
        assert decided == ["start intended", "stop decided: limit reached", "settlement decided: capture"]

        journal = await rig.journal(session["id"])
        rows = page.one("table").one("tbody").all("tr")
        assert len(rows) == len(journal)
        for row, line in zip(rows, journal, strict=True):
            assert line["kind"].replace("_", " ") in row.one("th").text
            assert json.loads(row.one("pre").text) == line["detail"]
        by_kind = {line["kind"]: row for row, line in zip(rows, journal, strict=True)}
        assert by_kind["stop_accepted"].all("td")[2].text.startswith("stop intended")
        assert by_kind["stop_intended"].one("span", class_="badge").text == "call"
        assert by_kind["stop_decided"].one("span", class_="badge busy").text == "decision"


async def test_a_reading_between_the_two_reads_of_a_page_never_lets_the_energy_fall(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 2000)
        await rig.until(session["id"], "charging")
        await rig.pass_time(60)
        earlier = await queries.session(rig.context, SessionId(session["id"]), SessionFilter())
        await rig.pass_time(60)
        lines = await queries.journal_of(rig.context, SessionId(session["id"]), after=0, limit=1000)
        assert earlier is not None
        chart = chart_of(earlier, lines, rig.context.policy, rig.clock.now())
        assert chart is not None
        heights = [float(point.split(",")[1]) for point in chart.energy.split()]
        assert len(heights) > 3
        assert heights == sorted(heights, reverse=True)


def form_to(page: Node, action: str) -> Node:
    return next(form for form in page.all("form") if form.attributes["action"].endswith(f"/{action}"))


async def test_a_stop_is_requested_with_a_reason_and_the_key_in_the_journal(database_url: str) -> None:
    async with open_rig(database_url) as rig, opened(rig.app) as browser:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 2000)
        await rig.until(session["id"], "charging")
        await browser.sign_in(rig.ops.api_key)
        page = await shown(browser, session["id"])
        refused = await browser.send(form_to(page, "stop"), {"reason": "  "}, 422)
        check(refused)
        assert "Nothing was changed" in refused.text
        page = await browser.send(form_to(page, "stop"), {"reason": "cable is hot"})
        assert page.one("p", class_="notice done").text.startswith("The stop is requested")
        assert not [f for f in page.all("form") if f.attributes["action"].endswith("/stop")]
        last = await ended(rig, session)
        assert last["stop_reason"] == "operations"
        line = next(each for each in await rig.journal(session["id"]) if each["kind"] == "stop_requested")
        assert line["detail"]["note"] == "cable is hot"
        assert line["detail"]["by"] == rig.ops.id
        assert line["source"] == "operations"


async def test_a_session_is_closed_by_an_amount_that_the_hold_covers(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        session = await service.authorize()
        await browser.sign_in(service.one.ops.api_key)
        page = await shown(browser, session["id"])
        for wrong in ("50.01", "-1", "1.234", "NaN", "1e3", "ten", ""):
            await browser.send(form_to(page, "close"), {"amount": wrong, "reason": "test"}, 422)
        page = await browser.send(form_to(page, "close"), {"amount": "12,34", "reason": "meter broken"})
        assert facts(page)["To capture"].startswith("12.34 EUR")
        assert not [f for f in page.all("form") if f.attributes["action"].endswith("/close")]
        journal = await journal_of(service, session["id"])
        closed = next(line for line in journal if line["kind"] == "closed_by_operations")
        assert closed["detail"] | {"status": None} == {
            "amount_minor": 1234,
            "reason": "meter broken",
            "by": service.one.ops.id,
            "by_name": "operations",
            "status": None,
        }


async def test_of_a_long_journal_the_newest_lines_are_shown_with_a_way_to_those_before(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_flow, "MOST_LINES", 4)
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        session = await service.authorize()
        await note(service, session["id"], 9)  # with the first one ten lines
        await browser.sign_in(service.one.ops.api_key)
        page = await shown(browser, session["id"])
        lines = await queries.journal_of(service.context, SessionId(session["id"]), after=0, limit=99)
        journal = [line.id for line in lines]
        assert len(journal) == 10
        seen = [ids_of(page)]
        assert not page.all("div", class_="notice problem"), "the shown part of the chain fits"
        while links := [a for a in page.all("a") if a.text == "Earlier lines"]:
            page = await browser.get(links[0].attributes["href"])
            check(page)
            seen.append(ids_of(page))
        assert seen == [journal[6:], journal[2:6], journal[:2]]
        await run_as_owner(
            database_url,
            "ALTER TABLE journal DISABLE TRIGGER append_only",
            f"UPDATE journal SET source = 'nobody' WHERE id = {journal[8]}",
            "ALTER TABLE journal ENABLE TRIGGER append_only",
        )
        assert "line 9 or its hash was changed" in (await shown(browser, session["id"])).text
        empty = await browser.get(f"/console/sessions/{session['id']}/journal?before=nonsense")
        assert "There are no earlier lines." in empty.text


async def note(service: Service, session_id: str, lines: int) -> None:
    async with service.context.database.transaction() as connection:
        before = await payment_sessions.lock(connection, SessionId(session_id))
        assert before is not None
        change = Change(before)
        for number in range(lines):
            change = change.note(JournalKind.SEARCHED, Source.MONTA_API, found=number)
        await save(service.context, connection, before, change, service.context.clock.now())


def ids_of(page: Node) -> list[int]:
    return [int(row.attributes["data-line"]) for row in page.one("table").one("tbody").all("tr")]


async def test_a_form_that_came_too_late_says_so(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        session = await service.authorize()
        await browser.sign_in(service.one.ops.api_key)
        page = await shown(browser, session["id"])
        await service.settle(session["id"], 700)
        late = await browser.send(form_to(page, "close"), {"amount": "1", "reason": "late"}, 409)
        check(late)
        assert "settlement is never changed" in late.text


async def test_attention_says_what_to_do_and_is_acknowledged_with_a_note(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        session = await service.authorize()
        await service.change(
            session["id"], attention=(Attention(code="stop_unconfirmed", detail="3 stops"), *LOOK)
        )
        await browser.sign_in(service.one.ops.api_key)
        page = await shown(browser, session["id"])
        assert "Stop it in Monta's portal" in page.text
        assert len(page.all("div", class_="notice problem")) == 1
        assert "0 ms ago" in page.text, "its age"
        (link,) = [a for a in page.all("a") if a.attributes["href"].endswith("#stop_unconfirmed")]
        runbook = await browser.get(link.attributes["href"])
        check(runbook)
        titled = {node.attributes.get("id") for node in runbook.all("h3")}
        assert titled == {*AttentionCode, *AlertCode}
        form = next(f for f in page.all("form") if f.all("input", name="code", value="stop_unconfirmed"))
        page = await browser.send(form, {"reason": "stopped at the post"})
        assert "stopped at the post" in page.text
        assert service.one.ops.id in page.text
        detail = await service.call(
            "GET", f"/v1/ops/payment-sessions/{session['id']}", key=service.one.ops.api_key
        )
        seen = {item["code"]: item["acknowledged"] for item in detail.json()["attention"]}
        assert seen["stop_unconfirmed"]["by"] == service.one.ops.id
        assert seen["other"] is None


async def journal_of(service: Service, session_id: str) -> list[dict[str, Any]]:
    answer = await service.call(
        "GET", f"/v1/ops/payment-sessions/{session_id}/journal", key=service.all_ops.api_key
    )
    lines: list[dict[str, Any]] = answer.json()["data"]
    return lines


async def test_a_key_of_another_operator_neither_sees_nor_changes_a_session(kept_apart: str) -> None:
    async with open_service(kept_apart) as service, opened(service.apps[0]) as browser:
        session = await service.authorize()
        await service.change(session["id"], attention=LOOK)
        live = await browser.sign_in(service.other.ops.api_key)
        csrf = live.one("form", action="/console/sign-out").one("input", name="csrf").attributes["value"]
        page = await browser.get(f"/console/sessions/{session['id']}", 404)
        check(page)
        assert session["display_reference"] not in page.text
        fields = {"csrf": csrf, "reason": "mine", "amount": "1", "code": "other"}
        for action in ("stop", "settle", "close", "acknowledge"):
            answer = await browser.post(f"/console/sessions/{session['id']}/{action}", fields)
            assert answer.status_code == 404, action
        assert [line["kind"] for line in await journal_of(service, session["id"])] == ["payment_authorized"]


async def test_a_key_that_may_only_read_sees_all_and_changes_nothing(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        session = await service.authorize()
        await service.change(session["id"], attention=LOOK)
        reader = await add_ops_key(
            service.context, OperatorId(service.one.operator.operator_id), role=Role.READ
        )
        live = await browser.sign_in(reader.api_key)
        page = await shown(browser, session["id"])
        assert [f.attributes["action"] for f in page.all("form")] == ["/console/sign-out"]
        csrf = live.one("form", action="/console/sign-out").one("input", name="csrf").attributes["value"]
        fields = {"csrf": csrf, "reason": "mine", "amount": "1", "code": "other"}
        for action in ("stop", "settle", "close", "acknowledge"):
            answer = await browser.post(f"/console/sessions/{session['id']}/{action}", fields)
            assert answer.status_code == 403, action
        assert [line["kind"] for line in await journal_of(service, session["id"])] == ["payment_authorized"]


async def test_hostile_strings_in_every_field_stay_text_on_every_page(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        session = await service.authorize()
        await write_everywhere(service, session["id"], HOSTILE)
        live = await browser.sign_in(service.one.ops.api_key)
        assert live.one("h1").text == "Live"
        page = await shown(browser, session["id"])
        for each in (live, page):
            check(each)
            assert "{{ 7*7 }}" in each.text
            assert "49" not in each.one("h1").text
            assert not each.one("main").all("img", "script")
            assert "<script src=//evil.test>" in each.text, "shown as it is"
        for path in ("search", "money", "equipment", "health", f"search?{urlencode({'q': HOSTILE})}"):
            other = await browser.get(f"/console/{path}")
            check(other)
            assert not other.one("main").all("img", "script"), path
            assert "<script src=//evil.test>" in other.text, "the key's name, at least"
        known = facts(page)
        for name in ("Operator", "Terminal", "Charge point", "Reference", "Card", HOSTILE):
            assert "onerror=alert(1)" in known[name], name


async def test_a_session_of_every_status_has_a_page(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        await browser.sign_in(service.one.ops.api_key)
        session = await service.authorize()
        for status in (Status.AUTHORIZED, Status.STARTING, Status.STOPPING, Status.FINISHING):
            await service.change(session["id"], status=status)
            page = await shown(browser, session["id"])
            assert page.one("h1").text.endswith(status.value)
        settled = await service.settle(session["id"], 7000)
        assert settled.settlement is not None
        flagged = replace(
            settled.settlement, overdue_since=settled.settlement.decided_at + timedelta(hours=1)
        )
        await service.change(session["id"], settlement=flagged)
        page = await shown(browser, session["id"])
        assert "shortfall 20.00 EUR" in facts(page)["To release"]
        assert "overdue since" in facts(page)["Outcome"]
