"""app/simulator/http/fields: Requests are accepted as far as Monta's reference allows, and no further."""

import json
from typing import Any

import pytest

from tests.simulator.rig import HOOK, a_rig, start_body

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"payingTeamId": 0}, 404),
        ({"chargePointId": -1}, 404),
        ({"chargePointId": 2**63}, 400),
        ({"chargePointId": 102.0}, 400),
        ({"priceGroupId": 0}, 400),
        ({"reserveCharge": None}, 400),
        ({"kwhLimit": None, "priceLimit": None, "socLimit": None}, 200),
        ({"kwhLimit": 1}, 200),
        ({"kwhLimit": 500}, 200),
        ({"priceLimit": 10**400}, 400),
        ({"genericPaymentSession": {"provider": "", "externalId": ""}}, 200),
        ({"genericPaymentSession": {"provider": None, "externalId": "x"}}, 400),
        ({"genericPaymentSession": {"provider": "a", "externalId": "x", "cardLast4": 4242}}, 400),
        ({"partnerExternalId": "x" * 500}, 200),
        ({"partnerExternalId": "\ud800"}, 200),
        ({"somethingElse": 1}, 200),
    ],
)
async def test_a_start_is_refused_for_what_the_reference_forbids_and_nothing_else(
    change: dict[str, Any], status: int
) -> None:
    rig = await a_rig()
    body = json.dumps(start_body() | change)
    assert (await rig.http.post("/charges", content=body)).status_code == status


@pytest.mark.parametrize("spelling", [b"1e400", b"1e99999999999999999999", b"Infinity"])
async def test_a_number_beyond_a_double_is_no_json(spelling: bytes) -> None:
    rig = await a_rig()
    body = b'{"payingTeamId":4711,"chargePointId":102,"partnerCustomPayload":{"a":' + spelling + b"}}"
    assert (await rig.http.post("/charges", content=body)).status_code == 400


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"eventTypes": []}, 200),
        ({"eventTypes": ["*"]}, 400),
        ({"eventTypes": ["charges"] * 513}, 400),
        ({"webhookSecret": "x" * 15}, 400),
        ({"webhookSecret": "x" * 16}, 200),
        ({"webhookSecret": "x" * 192}, 400),
        ({"webhookUrl": "http://partner.example"}, 400),
        ({"webhookUrl": "https://partner.example/monta.com"}, 400),
        ({"webhookUrl": "https://" + "x" * 184}, 400),
        ({"customHeaders": {}}, 400),
        ({"customHeaders": {"headers": {"X-a": None}}}, 400),
        ({"customHeaders": {"headers": {"Accept": "x"}}}, 400),
        ({"customHeaders": {"headers": {f"X-{n}": "" for n in range(6)}}}, 400),
    ],
)
async def test_a_webhook_configuration_is_taken_just_within_its_bounds(
    change: dict[str, Any], status: int
) -> None:
    rig = await a_rig()
    assert (await rig.http.put("/webhooks/config", json=HOOK | change)).status_code == status


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/charges?fromDate=2026-11-22T10:00:00%2B01:00", 200),
        ("/charges?fromDate=2026-11-22T10:00:00.123456789Z", 200),
        ("/charges?chargePointId=-1", 200),
        ("/charges?perPage=1e1", 400),
        ("/charges/-1", 404),
        ("/charges/9223372036854775808", 400),
        ("/charge-points?operatorId=1", 403),
        ("/charge-points?includeDeleted=true&includePublic=false", 200),
        ("/charge-points?includeDeleted=yes", 400),
        ("/charge-points?sortByLocation=55.7096,12.5856", 200),
        ("/charge-points?sortByLocation=55,12", 400),
        ("/charge-points?boundingBox=1,2,3", 400),
        ("/prices/forecast?priceGroupId=0", 400),
        ("/prices/forecast?chargePointId=102&teamMemberId=x", 400),
    ],
)
async def test_queries_follow_the_types_of_the_reference(path: str, status: int) -> None:
    rig = await a_rig()
    assert (await rig.http.get(path)).status_code == status


async def test_periods_of_consumption_are_a_closed_list() -> None:
    rig = await a_rig()
    charge = await rig.start()
    for size_s, status in ((300, 200), (600, 200), (900, 200), (1800, 200), (3600, 200), (301, 400)):
        query = {"consumptionPeriodSizeInSeconds": size_s}
        answer = await rig.http.get(f"/charges/{charge['id']}/kwh-consumption", params=query)
        assert answer.status_code == status
