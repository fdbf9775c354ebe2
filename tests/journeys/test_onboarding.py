"""Tests of app/flows/admin/check_setup.

Configuration that does not fit what Monta shows: reported at the command and at each sync, until it fits.
"""

import pytest

from app.api.figures import Figures
from app.domain.units.ids import ChargePointId
from app.flows.admin import check_setup, provision
from app.flows.admin.check_setup import EveryStartWouldFail, SiteUnusable
from app.simulator.faults.catalog import FaultKind
from tests.journeys.rig import Rig, energy_tariff, open_rig, usual

pytestmark = pytest.mark.anyio

SYNC_S = 900
PRICES_S = 1800
WITHOUT_PRICES = frozenset(
    {
        "charge-points:read",
        "charge-transactions:read",
        "control-charging:write",
        "manage-webhooks:write",
        "webhooks:read",
    }
)


async def setup_problem(rig: Rig) -> str:
    found = (await rig.call("GET", "/v1/ops/summary", key=rig.ops.api_key)).json()["operators"][0]
    metrics = await Figures().text(rig.context)  # read now, not within the next ten seconds
    gauge = f'tapwatt_operator_problem{{operator="{found["id"]}",what="setup"}} '
    assert gauge + ("1.0" if found["setup_problem"] else "0.0") in metrics
    return found["setup_problem"] or ""


async def compare(rig: Rig, *points: str) -> check_setup.Compared:
    ids = [ChargePointId(point) for point in points]
    return await check_setup.compare_charge_points(rig.context, rig.operator.operator_id, ids)


async def test_F36_what_fits_is_no_news(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        assert await setup_problem(rig) == ""
        assert await compare(rig, "101", "102") == check_setup.Compared(())
        assert await check_setup.compare_operator(
            rig.context, rig.operator.operator_id
        ) == check_setup.Compared(())


async def test_F36_teams_that_the_credential_is_not_for_are_reported_until_monta_shows_them(
    database_url: str,
) -> None:
    config = usual(credential_team_ids=(99,))
    async with open_rig(database_url, config=config) as rig:
        told = await setup_problem(rig)
        assert "the paying team 4711 is not one of" in told
        assert "charge point 101 belongs to team 13" in told
        (warning,) = (await check_setup.compare_operator(rig.context, rig.operator.operator_id)).warnings
        assert "paying team 4711" in warning
        assert len((await compare(rig, "101")).warnings) == 2
        rig.monta.tokens.team_ids = (4711, 13)
        await rig.pass_time(SYNC_S)
        assert await setup_problem(rig) == ""


async def test_F36_a_charge_point_that_monta_does_not_know_is_refused_and_one_that_was_added_is_reported(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        with pytest.raises(EveryStartWouldFail, match="charge point 4040 is not known to Monta"):
            await compare(rig, "101", "4040")
        await provision.add_terminal(
            rig.context,
            rig.operator.operator_id,
            provider="tapwatt",
            name="unchecked",
            charge_point_ids=[ChargePointId("4040")],
        )
        await rig.pass_time(1)
        assert "charge point 4040 is not known to Monta" in await setup_problem(rig)


async def test_F36_a_price_group_that_cannot_be_read_is_reported_until_a_tariff_is_set(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        rig.monta.tokens.scopes = WITHOUT_PRICES
        (warning,) = (await compare(rig, "101")).warnings
        assert "of charge point 101 is not known as a tariff" in warning
        assert "403" in warning
        await rig.pass_time(PRICES_S + SYNC_S)
        assert "of charge point 101 is not known as a tariff" in await setup_problem(rig)
        await rig.set_tariff(energy_tariff())
        assert await compare(rig, "101") == check_setup.Compared(())
        await rig.pass_time(SYNC_S)
        assert await setup_problem(rig) == ""


async def test_F36_while_monta_does_not_answer_nothing_is_refused_and_the_last_answer_counts(
    database_url: str,
) -> None:
    config = usual(credential_team_ids=(99,))
    async with open_rig(database_url, config=config) as rig:
        told = await setup_problem(rig)
        assert told
        rig.monta.faults.next("GET", "/consumers/me", FaultKind.UNAVAILABLE, times=3)
        unanswered = await compare(rig, "4040")
        assert "not compared with Monta" in unanswered.warnings[0]
        await rig.pass_time(SYNC_S)
        assert await setup_problem(rig) == told


async def test_F116_scopes_that_are_missing_are_reported_when_an_operator_is_added(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        rig.monta.tokens.scopes, rig.monta.tokens.lists_permissions = WITHOUT_PRICES, True
        (warning,) = (await check_setup.compare_operator(rig.context, rig.operator.operator_id)).warnings
        assert "price-groups:read" in warning
        rig.monta.tokens.scopes = frozenset({"all:read"})
        told = (await check_setup.compare_operator(rig.context, rig.operator.operator_id)).warnings
        assert len(told) == 2
        assert "no charge can be started or stopped" in told[0]
        assert "manage-webhooks:write" in told[1]


async def test_F116_sync_reports_a_scope_without_which_nothing_works_until_it_is_there(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        rig.monta.tokens.lists_permissions = True
        rig.monta.tokens.scopes = WITHOUT_PRICES - {"control-charging:write", "webhooks:read"}
        await rig.set_tariff(energy_tariff())
        await rig.pass_time(SYNC_S)
        told = await setup_problem(rig)
        assert "control-charging:write" in told
        assert "webhooks:read" not in told, "it may be missing on purpose"
        rig.monta.tokens.scopes = WITHOUT_PRICES
        await rig.pass_time(SYNC_S)
        assert await setup_problem(rig) == ""


async def test_a_terminal_takes_all_charge_points_of_a_site_and_hundreds_are_compared_at_once(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        owner, config = rig.operator.operator_id, rig.monta.config
        points = await check_setup.charge_points_of_site(rig.context, owner, str(config.site_id))
        assert points == [str(point.id) for point in sorted(config.points, key=lambda point: point.id)]
        with pytest.raises(SiteUnusable, match="no charge points of site '999'"):
            await check_setup.charge_points_of_site(rig.context, owner, "999")
        wanted = [*points, ChargePointId("4040")]
        assert await check_setup.unknown_charge_points(rig.context, owner, wanted) == ["4040"]
        rig.monta.faults.next("GET", "/charge-points", FaultKind.UNAVAILABLE, times=9)
        with pytest.raises(SiteUnusable, match="Nothing was added"):
            await check_setup.charge_points_of_site(rig.context, owner, str(config.site_id))
