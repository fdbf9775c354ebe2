"""Tests of app/console/routes/equipment.

Terminals and charge points: state, what holds them, price, latest use; only those that the key may see.
"""

from datetime import timedelta

import pytest
from sqlalchemy import text

from app.domain.session.payment_session import NotStartedReason, Status
from app.flows.console.equipment import USED_WITHIN
from tests.api.service import Service, open_service, wait
from tests.console.accessibility import check
from tests.console.browser import opened
from tests.console.html import Node
from tests.journeys.rig import energy_tariff, open_rig

pytestmark = pytest.mark.anyio


def row_of(page: Node, title: str, first: str) -> list[str]:
    section = next(s for s in page.all("section") if s.one("h2").text == title)
    rows = [[c.text for c in row.children if isinstance(c, Node)] for row in section.one("tbody").all("tr")]
    return next(row for row in rows if row[0].startswith(first))


async def test_charge_points_are_shown_as_monta_and_their_sessions_have_them(database_url: str) -> None:
    async with open_rig(database_url) as rig, opened(rig.app) as browser:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 2000)
        await rig.until(session["id"], "charging")
        await browser.sign_in(rig.ops.api_key)
        page = await browser.get("/console/equipment")
        check(page)
        busy = row_of(page, "Charge points", "106 ")
        assert busy[1].startswith("busy-charging seen")
        assert busy[3] == f"{session['display_reference']} charging"
        assert float(busy[4].split()[0]) > 50
        assert busy[5] == "0.79 EUR a kWh operator"
        assert busy[6:8] == ["1", "0"]
        assert row_of(page, "Charge points", "101 ")[3] == "–"
        terminal = row_of(page, "Terminals", "lane 3")
        assert terminal[1] == "tapwatt Nordlade"
        assert terminal[6:8] == ["1", "0"]
        assert terminal[8].endswith(" ago")


async def test_what_is_out_of_order_and_what_did_not_start_stands_out(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        session = await service.authorize("101", "A-1")
        await service.authorize("102", "A-2")
        await service.change(
            session["id"], status=Status.NOT_STARTED, not_started_reason=NotStartedReason.REFUSED
        )
        await service.show("101")
        async with service.context.database.transaction() as connection:
            await connection.execute(
                text("UPDATE charge_points SET state = 'error' WHERE charge_point_id = '101'")
            )
        await browser.sign_in(service.one.ops.api_key)
        page = await browser.get("/console/equipment")
        check(page)
        broken = row_of(page, "Charge points", "101 Bay 1")
        assert broken[1].startswith("error")
        assert broken[6:8] == ["1", "1 100 %"]
        assert row_of(page, "Charge points", "103")[1] == "never shown by Monta"
        assert row_of(page, "Terminals", "lane")[6:8] == ["2", "1 50 %"]
        tiles = {t.one("dt").text: t.one("dd").text for t in page.all("div", class_="tile")}
        assert tiles == {
            "Terminals": "1",
            "Charge points": "10",
            "Held by a session of ours": "1",
            "Out of order": "1",
        }
        await wait(service, USED_WITHIN + timedelta(seconds=1))
        await browser.sign_in(service.one.ops.api_key)
        page = await browser.get("/console/equipment")
        assert row_of(page, "Terminals", "lane")[6:] == ["0", "0", "–"]


async def rename(service: Service, tenant: str, name: str) -> None:
    statements = (
        "UPDATE terminals SET name = :name WHERE operator_id = :operator",
        "UPDATE charge_points SET name = :name, seen_at = '2026-11-22', state = 'available'"
        " WHERE operator_id = :operator",
        "UPDATE operators SET name = :name WHERE id = :operator",
    )
    async with service.context.database.transaction() as connection:
        for statement in statements:
            await connection.execute(text(statement), {"name": name, "operator": tenant})


async def test_a_key_of_one_operator_sees_no_equipment_and_no_health_of_another(kept_apart: str) -> None:
    async with open_service(kept_apart) as service:
        await rename(service, service.one.operator.operator_id, "Nordlade")
        await rename(service, service.other.operator.operator_id, "Sydlade")
        for key, seen, unseen in (
            (service.one.ops.api_key, ["Nordlade"], ["Sydlade"]),
            (service.other.ops.api_key, ["Sydlade"], ["Nordlade"]),
            (service.all_ops.api_key, ["Nordlade", "Sydlade"], []),
        ):
            async with opened(service.apps[0]) as person:
                await person.sign_in(key)
                for path in ("/console/equipment", "/console/health"):
                    shown = (await person.get(path)).text
                    assert all(name in shown for name in seen), path
                    assert not any(name in shown for name in unseen), path


async def test_an_installation_without_anything_has_every_page(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        async with service.context.database.transaction() as connection:
            await connection.execute(text("DELETE FROM api_keys WHERE terminal_id IS NOT NULL"))
            for table in ("terminal_charge_points", "charge_points", "terminals"):
                await connection.execute(text(f"DELETE FROM {table}"))
        await browser.sign_in(service.all_ops.api_key)
        for path in (
            "/console",
            "/console/search",
            "/console/money",
            "/console/equipment",
            "/console/health",
        ):
            page = await browser.get(path)
            check(page)
            assert page.all("p", class_="empty"), path
