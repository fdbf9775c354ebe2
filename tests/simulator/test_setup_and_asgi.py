"""app/simulator/http/asgi: Configuration errors are named, and the ASGI adapter keeps to its protocol and bounds."""

from collections.abc import MutableMapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from app.domain.units.ids import ChargeId, ChargePointId
from app.simulator.charge_points import PRICE_GROUPS
from app.simulator.config import Driver, PointConfig, SimulatorConfig
from app.simulator.http.asgi import MAX_BODY
from app.simulator.server import with_new_charge_ids
from app.simulator.site.lifecycle import NotPossible
from app.simulator.site.random_streams import RandomStreams
from app.simulator.site.site import UnknownId
from tests.simulator.rig import AC, CONFIG, POINTS, Rig, a_rig

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"meter_interval_s": 0.0}, "meter_interval_s"),
        ({"meter_interval_s": 301.0}, "meter_interval_s"),
        ({"meter_step_wh": 1}, "meter_step_wh"),
        ({"max_w": 0}, "max_w"),
        ({"driver": Driver(vehicle="Trabant")}, "Trabant"),
    ],
)
def test_a_charge_point_that_makes_no_sense_is_refused_by_name(
    change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(POINTS[0], **change)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"points": (POINTS[0], POINTS[0])}, "same id"),
        ({"points": (replace(POINTS[0], price_group_id=1),)}, "price_group_id"),
        ({"webhook_cadence_s": 0.0}, "webhook_cadence_s"),
        ({"paying_team_ids": ()}, "paying_team_ids"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused_by_name(
    change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(CONFIG, **change)


def test_the_smallest_simulator_has_one_charge_point() -> None:
    point = PointConfig(id=1, name="one", max_w=3_700, price_group_id=21)
    rig = Rig(SimulatorConfig(points=(point,), price_groups=PRICE_GROUPS[:1]))
    assert rig.sim.next_event_at() is None, "a plugged car alone does nothing"


def test_a_simulator_that_is_started_again_gives_no_charge_id_twice() -> None:
    begun = datetime(2026, 11, 27, 12, tzinfo=UTC)
    runs = [
        RandomStreams(CONFIG.seed, with_new_charge_ids(CONFIG, at).charge_ids_after)
        for at in (begun, begun + timedelta(seconds=1))
    ]
    first, again = ({run.charge_id() for _ in range(1000)} for run in runs)
    assert first & again == set()
    assert {len(str(found)) for found in first | again} == {18}


async def test_unknown_ids_and_impossible_actions_are_distinguished() -> None:
    rig = await a_rig()
    with pytest.raises(UnknownId):
        rig.sim.unplug(ChargePointId("1"))
    with pytest.raises(UnknownId):
        rig.sim.charge(ChargeId("1"))
    for act in (rig.sim.stop_button, rig.sim.restart, rig.sim.pause, rig.sim.plug_in):
        with pytest.raises(NotPossible):
            act(ChargePointId(str(AC)))


async def test_a_body_above_a_mebibyte_is_a_413() -> None:
    rig = await a_rig()
    answer = await rig.http.post("/charges", content=b" " * (MAX_BODY + 1))
    assert answer.status_code == 413


async def test_outside_the_base_there_is_nothing() -> None:
    rig = await a_rig()
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(rig.sim.app), base_url="http://monta.test", headers=rig.http.headers
    ) as root:
        assert (await root.get("/charges")).status_code == 404
        assert (await root.get("/api/v1/charges")).status_code == 200


@pytest.mark.parametrize("over_socket", [False, True])
async def test_a_cut_answer_is_left_unfinished_over_a_socket_so_that_the_server_hangs_up(
    over_socket: bool,
) -> None:
    rig = await a_rig()
    rig.sim.app.over_socket = over_socket
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b'{"payingTeamId": 4711, "chargePointId": 903}'}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    bearer = rig.http.headers["Authorization"].encode()
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/charges",
        "query_string": b"",
        "headers": [(b"authorization", bearer)],
    }
    await rig.sim.app(scope, receive, send)
    announced = int(dict(sent[0]["headers"])[b"content-length"])
    assert len(sent[1]["body"]) < announced
    assert sent[1]["more_body"] is over_socket
    assert len(rig.sim.charges()) == 1
