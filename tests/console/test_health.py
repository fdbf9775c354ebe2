"""Tests of app/console/routes/health.

Health: what does not work is named, with what is known of each operator, watcher and stop.
"""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.domain.alerts.causes import Cause
from app.domain.session.attention import Severity
from app.domain.session.payment_session import Status, Stop, StopReason
from app.domain.units.ids import OperatorId
from app.flows.console.health import UNCONFIRMED_AFTER
from app.store import alerts, health
from tests.api.service import open_service, wait
from tests.console.accessibility import check
from tests.console.browser import opened
from tests.console.html import Node
from tests.journeys.checks import ended
from tests.journeys.rig import energy_tariff, open_rig

pytestmark = pytest.mark.anyio


def tiles(page: Node) -> dict[str, str]:
    return {t.one("dt").text: t.one("dd").text for t in page.all("div", class_="tile")}


def section(page: Node, title: str) -> Node:
    return next(s for s in page.all("section") if s.one("h2").text.startswith(title))


async def test_after_a_real_charge_all_is_well_and_the_figures_are_there(database_url: str) -> None:
    async with open_rig(database_url) as rig, opened(rig.app) as browser:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 2000)
        await ended(rig, session)
        async with rig.context.database.transaction() as connection:
            await health.beat(connection, "watcher-1", rig.clock.now())
        rig.app.state.process_metrics = rig.context.telemetry.text  # type: ignore[attr-defined]
        try:
            await browser.sign_in(rig.ops.api_key)
            page = await browser.get("/console/health")
        finally:
            rig.app.state.process_metrics = lambda: ""
        check(page)
        checks = ("Database", "Schema", "Clock", "Watcher", "Secrets")
        assert [tiles(page)[name] for name in checks] == ["ok"] * 5
        operator = [
            c.text for c in section(page, "Operators").one("tbody").one("tr").children if isinstance(c, Node)
        ]
        assert operator[0].startswith("Nordlade")
        assert operator[1] == "ok"
        assert operator[2].startswith("last ")
        assert "of" in operator[3]
        assert operator[5] == "0"
        assert "watcher-1" in section(page, "Watchers").text
        assert section(page, "Stops not confirmed").one("p").text == "Every stop is confirmed."
        figures = section(page, "This process").text
        assert "Webhooks refused 0" in figures
        assert "Stops sent this late, on average" in figures


async def test_what_is_wrong_is_named(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        session = await service.authorize()
        running = await service.charging(session["id"], "77")
        stop = Stop(reason=StopReason.DRIVER, decided_at=service.context.clock.now(), attempts=4)
        await service.change(session["id"], status=Status.STOPPING, stop=stop)
        problems = {
            "webhook_problem": "Monta calls another address",
            "sync_problem": "no answer",
            "access_problem": "Monta refuses the credential",
            "reconcile_problem": "list cut short",
        }
        changes = ", ".join(f"{name} = '{value}'" for name, value in problems.items())
        async with service.context.database.transaction() as connection:
            await connection.execute(text(f"UPDATE operators SET {changes}, monta_clock_ahead_s = 40"))
        await browser.sign_in(service.one.ops.api_key)
        early = await browser.get("/console/health")
        assert session["display_reference"] not in early.text
        await wait(service, UNCONFIRMED_AFTER + timedelta(seconds=1))
        page = await browser.get("/console/health")
        check(page)
        assert "problem no watcher is running" in tiles(page)["Watcher"]
        for problem in problems.values():
            assert problem in section(page, "Operators").text
        assert "Monta's clock is 40 s ahead" in page.text
        late = section(page, "Stops not confirmed").one("tbody").one("tr")
        assert late.one("a").text == session["display_reference"]
        assert late.all("td")[-1].text == "4"
        assert "This process" not in page.text, "its counters are those of all operators"
        await service.change(
            session["id"], status=Status.FINISHING, stop=replace(stop, confirmed_at=running.created_at)
        )
        assert "Every stop is confirmed." in (await browser.get("/console/health")).text


async def test_open_alerts_say_what_to_do_to_whom_they_concern(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        mine = OperatorId(service.one.operator.operator_id)
        causes = [
            Cause(
                code="shortfall",
                severity=Severity.INFO,
                detail="by 1.00",
                operator_id=mine,
                session_id=session["id"],
            ),
            Cause(code="webhook_silent", severity=Severity.WARNING, detail="for 20 min", operator_id=mine),
            Cause(code="clock_wrong", severity=Severity.CRITICAL, detail="3 s", about="watcher-1"),
        ]
        now = service.context.clock.now()
        async with service.context.database.transaction() as connection:
            await alerts.open_and_close(connection, causes, [], now)
        shown = {}
        for name, key in (("all", service.all_ops), ("one", service.one.ops), ("other", service.other.ops)):
            async with opened(service.apps[0]) as person:
                await person.sign_in(key.api_key)
                page = await person.get("/console/health")
                check(page)
                found = section(page, "Open alerts")
                shown[name] = [row.one("th").text for row in found.all("tr") if row.within("tbody")]
                if name == "one":
                    links = [a.attributes["href"] for a in found.all("a")]
                    assert "/console/runbook#webhook_silent" in links
                    (link,) = [each for each in links if "/sessions/" in each]
                    assert link == f"/console/sessions/{session['id']}"
                    assert "See in Monta's portal whether the webhook is active" in found.text
        own = ["webhook silent for 20 min", "shortfall by 1.00"]
        assert shown == {"all": ["clock wrong 3 s", *own], "one": own, "other": []}
