"""Tests of app/simulator/http.

The Partner API as documented: shapes, constraints, filters, paging, errors, quota, scopes, tokens.
"""

import re
from datetime import timedelta
from typing import Any

import pytest

from app.domain.units.ids import ChargePointId
from app.simulator.config import GATEWAY_SCOPES
from app.simulator.http.routes import Purpose
from tests.simulator.rig import AC, DC, HOOK, a_rig, decoded, start_body

pytestmark = pytest.mark.anyio

CHARGE_REQUIRED = {
    "humanReadableId",
    "user",
    "type",
    "publicChargePoint",
    "createdAt",
    "updatedAt",
    "state",
    "kwhPerHour",
    "kwhPerMaxResolution",
    "priceBreakdown",
    "costBreakdown",
    "emaidProviderId",
    "protocolData",
}
POINT_REQUIRED = {
    "id",
    "teamId",
    "cablePluggedIn",
    "connectors",
    "createdAt",
    "deeplinks",
    "evseId",
    "isActive",
    "location",
    "protocolData",
    "reservable",
    "roaming",
    "showOnMap",
    "updatedAt",
    "visibility",
}


async def test_the_charge_object_has_all_required_fields_an_18_digit_id_and_plain_numbers() -> None:
    rig = await a_rig()
    charge = await rig.start(AC, kwhLimit=20, priceLimit=12.5, partnerCustomPayload={"lane": "3"})
    assert set(charge) >= CHARGE_REQUIRED
    assert isinstance(charge["id"], int)
    assert len(str(charge["id"])) == 18
    assert re.fullmatch(r"[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{5}", charge["humanReadableId"])
    assert charge["currency"] == {"identifier": "eur", "name": "Euro", "decimals": 2}
    assert (charge["kwhLimit"], float(charge["priceLimit"])) == (20, 12.5)
    assert charge["genericPaymentSession"]["externalId"] == "K7QM-4TXP"
    assert charge["partnerCustomPayload"] == {"lane": "3"}
    assert (charge["chargePointId"], charge["payingTeam"]["id"]) == (AC, 4711)
    assert charge["startSource"] == "server-api"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"payingTeamId": None}, "payingTeamId"),
        ({"chargePointId": None}, "chargePointId"),
        ({"chargePointId": "102"}, "chargePointId"),
        ({"chargePointId": True}, "chargePointId"),
        ({"kwhLimit": 0.99}, "kwhLimit"),
        ({"kwhLimit": 500.01}, "kwhLimit"),
        ({"socLimit": 101}, "socLimit"),
        ({"priceLimit": 0.99}, "priceLimit"),
        ({"priceLimit": "5"}, "priceLimit"),
        ({"priceGroupId": 0}, "priceGroupId"),
        ({"reserveCharge": "yes"}, "reserveCharge"),
        ({"genericPaymentSession": {"provider": "acme"}}, "genericPaymentSession.externalId"),
        ({"genericPaymentSession": {"externalId": "x"}}, "genericPaymentSession.provider"),
        ({"genericPaymentSession": {"provider": "a", "externalId": "x", "amount": -1}}, "amount"),
        ({"genericPaymentSession": []}, "genericPaymentSession"),
        ({"partnerExternalId": 7}, "partnerExternalId"),
        ({"partnerCustomPayload": {"text": "x" * 1000}}, "partnerCustomPayload"),
    ],
)
async def test_a_start_that_breaks_a_constraint_is_a_400_that_names_the_field(
    change: dict[str, Any], field: str
) -> None:
    rig = await a_rig()
    answer = await rig.post_charge(AC, **change)
    error = answer.json()
    assert answer.status_code == 400
    assert (error["status"], error["errorCode"]) == ("BAD_REQUEST", "BAD_REQUEST")
    assert error["message"].startswith(field)
    assert rig.sim.charges() == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a": NaN}', b"[" * 90_000, b'{"a":' * 200 + b"1"])
async def test_a_body_that_is_no_json_object_is_a_400(body: bytes) -> None:
    rig = await a_rig()
    assert (await rig.http.post("/charges", content=body)).status_code == 400


@pytest.mark.parametrize("change", [{"payingTeamId": 1}, {"chargePointId": 1}, {"priceGroupId": 99}])
async def test_unknown_ids_are_a_404(change: dict[str, int]) -> None:
    rig = await a_rig()
    answer = await rig.http.post("/charges", json=start_body() | change)
    assert answer.status_code == 404
    assert answer.json()["errorCode"] == "RESOURCE_NOT_FOUND"


async def test_the_answer_to_a_start_can_be_switched_to_the_other_observed_shape() -> None:
    rig = await a_rig(wraps_start_answer=True, start_status=201)
    answer = await rig.http.post("/charges", json=start_body())
    assert answer.status_code == 201
    assert answer.json()["charge"]["state"] == "starting"


async def test_a_reserved_charge_starts_by_restart_and_a_completed_one_does_not() -> None:
    rig = await a_rig()
    charge = await rig.start(AC, reserveCharge=True)
    assert (charge["state"], charge["startedAt"]) == ("reserved", None)
    point = decoded(await rig.http.get(f"/charge-points/{AC}"))
    assert point["state"] == "busy-reserved"
    await rig.http.get(f"/charges/{charge['id']}/restart")
    await rig.pass_time(60)
    await rig.stop(charge["id"])
    await rig.pass_time(10)
    assert (await rig.http.get(f"/charges/{charge['id']}/restart")).status_code == 400


async def test_a_charge_point_id_is_no_charge_id() -> None:
    rig = await a_rig()
    for path in (f"/charges/{AC}", f"/charges/{AC}/stop", f"/charges/{AC}/breakdown", "/charges/9" * 3):
        assert (await rig.http.get(path)).status_code == 404
    assert (await rig.http.get("/charges/abc")).status_code == 400
    assert (await rig.http.post(f"/charges/{AC}/stop")).status_code == 404, "stop is a GET"


async def test_patch_replaces_what_it_brings_and_keeps_the_rest() -> None:
    rig = await a_rig()
    charge = await rig.start()
    session = {"provider": "acme", "externalId": "NEW", "amount": 10.1}
    await rig.http.patch(f"/charges/{charge['id']}", json={"genericPaymentSession": session})
    patched = await rig.read(charge["id"])
    assert patched["genericPaymentSession"]["externalId"] == "NEW"
    assert patched["genericPaymentSession"]["cardLast4"] is None
    assert patched["partnerExternalId"] == "ps_1"


async def test_lists_come_in_pages_with_an_envelope() -> None:
    rig = await a_rig()
    for number in range(23):
        charge = await rig.start(AC, partnerExternalId=f"ps_{number}")
        await rig.stop(charge["id"])
        await rig.pass_time(7)
    page = decoded(await rig.http.get("/charges", params={"page": 2, "perPage": 10}))
    assert page["meta"] == {
        "itemCount": 3,
        "currentPage": 2,
        "perPage": 10,
        "totalPageCount": 3,
        "totalItemCount": 23,
    }
    assert [row["partnerExternalId"] for row in page["data"]] == ["ps_2", "ps_1", "ps_0"]
    assert len(decoded(await rig.http.get("/charges"))["data"]) == 10
    assert decoded(await rig.http.get("/charges", params={"page": 9}))["data"] == []


@pytest.mark.parametrize(
    "query",
    [
        {"perPage": 0},
        {"perPage": 101},
        {"page": -1},
        {"page": "x"},
        {"state": "releasing"},
        {"state": "charging,starting"},
        {"fromDate": "2026-11-22"},
        {"fromDate": "2026-13-22T10:00:00Z"},
        {"toDate": "2026-11-22T10:00:00"},
        {"chargePointId": "abc"},
        {"chargeAuthId": "04A2"},
        {"operatorRole": "guest"},
    ],
)
async def test_a_filter_that_is_not_documented_so_is_a_400(query: dict[str, Any]) -> None:
    rig = await a_rig()
    answer = await rig.http.get("/charges", params=query)
    assert (answer.status_code, answer.json()["errorCode"]) == (400, "BAD_REQUEST")


async def test_every_documented_filter_selects() -> None:
    rig = await a_rig()
    first = await rig.start(AC)
    await rig.pass_time(100)
    await rig.stop(first["id"])
    await rig.pass_time(10)
    second = await rig.start(DC, partnerExternalId="ps_2")
    await rig.pass_time(10)
    rig.sim.local_start(ChargePointId("104"), "04A2")

    async def found(**query: Any) -> list[int]:
        return [row["id"] for row in await rig.search(**query)]

    own = [second["id"], first["id"]]
    assert await found(partnerExternalId="ps_2") == [second["id"]]
    assert await found(partnerExternalId="unknown") == []
    assert await found(chargePointId=AC) == [first["id"]]
    assert await found(state="completed") == [first["id"]]
    assert await found(fromDate="2026-11-22T10:01:50Z", chargePointId=DC) == [second["id"]]
    assert await found(toDate="2026-11-22T10:00:00Z") == [first["id"]]
    assert await found(fromUpdatedDate="2026-11-22T10:03:00Z") == []
    assert await found(fromCompletedDate="2026-11-22T10:01:00Z") == [first["id"]]
    assert await found(toCompletedDate="2026-11-22T10:01:00Z") == []
    assert await found(operatorRole="payer") == own
    assert await found(operatorRole="payer", teamId=4711) == own
    assert len(await found(teamId=13)) == 3
    assert len(await found(chargeAuthType="rfid", chargeAuthId="04A2")) == 1
    assert await found(siteId=5) == []
    assert (await rig.http.get("/charges", params={"operatorId": 1})).status_code == 403


async def test_charge_points_tell_their_state_and_come_ordered_by_id() -> None:
    rig = await a_rig()
    await rig.start(AC)
    await rig.pass_time(10)
    rows = decoded(await rig.http.get("/charge-points", params={"perPage": 100}))["data"]
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    by_id = {row["id"]: row for row in rows}
    assert set(by_id[AC]) >= POINT_REQUIRED
    assert (by_id[AC]["state"], by_id[AC]["maxKw"], by_id[AC]["type"]) == ("busy-charging", 11, "ac")
    assert (by_id[DC]["state"], by_id[DC]["cablePluggedIn"]) == ("available", True)
    assert by_id[902]["state"] == "disconnected"
    answer = await rig.http.get("/charge-points", params={"state": "busy-charging"})
    assert [row["id"] for row in answer.json()["data"]] == [AC]
    assert (await rig.http.get("/charge-points/1")).status_code == 404


async def test_price_groups_carry_minor_units_and_forecasts_ten_thousandths() -> None:
    rig = await a_rig()
    group = decoded(await rig.http.get("/price-groups/24"))
    assert group["masterPrice"]["price"]["amount"] == 69
    assert group["masterPrice"]["price"]["currency"]["decimals"] == 2
    fees = {fee["type"]: fee for fee in group["fees"]}
    assert (fees["starting"]["price"]["amount"], fees["idle"]["applyAfterMinutes"]) == (50, 10)
    assert fees["idle"]["feePriceMax"]["amount"] == 1200
    assert (await rig.http.get("/price-groups")).status_code == 400, "teamId is required"
    assert len(decoded(await rig.http.get("/price-groups?teamId=13"))["data"]) == 5
    forecast = decoded(await rig.http.get(f"/prices/forecast?chargePointId={DC}"))
    assert forecast["forecasts"][0]["pricePerKwh"] == 7900


async def test_breakdown_and_receipt_add_up_to_the_price() -> None:
    rig = await a_rig()
    charge = await rig.start(103)
    await rig.pass_time(5000)
    assert (await rig.http.get(f"/receipts/by-charge/{charge['id']}")).status_code == 404
    await rig.stop(charge["id"])
    await rig.pass_time(10)
    price = (await rig.read(charge["id"]))["price"]
    parts = decoded(await rig.http.get(f"/charges/{charge['id']}/breakdown"))["priceBreakdown"]
    assert parts["summary"]["totalPrice"] == price * 100
    hours = sum(row["subTotalPrice"] for row in parts["breakdown"])
    assert hours + sum(fee["price"] for fee in parts["fees"]) == price * 100
    receipt = decoded(await rig.http.get(f"/receipts/by-charge/{charge['id']}"))
    assert receipt["totalAmount"] == price
    assert receipt["vat"] > 0


async def test_the_version_header_is_honoured() -> None:
    rig = await a_rig()
    assert (await rig.http.get("/consumers/me", headers={"Monta-Version": "v1"})).status_code == 200
    dated = await rig.http.get("/consumers/me", headers={"Monta-Version": "2024-01-18"})
    assert dated.headers["Deprecation"] == "true"
    assert dated.headers["X-Api-Version-Hint"] == "v1"
    assert (await rig.http.get("/consumers/me", headers={"Monta-Version": "v9"})).status_code == 400


async def test_every_answer_shows_the_quota_and_beyond_it_comes_429_until_the_window_ends() -> None:
    rig = await a_rig(rate_limit=5, rate_window_s=60)
    for left in (4, 3, 2, 1, 0):
        answer = await rig.http.get("/charges")
        assert answer.headers["RateLimit-Remaining"] == str(left)
    await rig.pass_time(20)
    over = await rig.http.get("/charges")
    assert over.status_code == 429
    assert over.headers["RateLimit-Policy"] == "Quota"
    assert over.headers["RateLimit-Quota"] == "5"
    assert over.headers["RateLimit-TimeWindow"] == "60"
    assert over.headers["RateLimit-ResetsIn"] == "40"
    await rig.pass_time(40)
    assert (await rig.http.get("/charges")).status_code == 200


async def test_scopes_are_checked_and_a_higher_permission_includes_the_lower() -> None:
    rig = await a_rig(scopes=frozenset({"charges:delete", "charge-transactions:read"}))
    charge_free = await rig.http.get("/charges")
    refused = await rig.post_charge()
    assert charge_free.status_code == 200
    assert (refused.status_code, refused.json()["errorCode"]) == (403, "ACCESS_FORBIDDEN")
    assert (await rig.http.get("/webhooks/config")).status_code == 403
    assert (await rig.http.get("/charges/1/breakdown")).status_code == 404, "charges:read is included"
    gateway = await a_rig(scopes=GATEWAY_SCOPES)
    assert (await gateway.post_charge()).status_code == 200
    assert (await gateway.http.put("/webhooks/config", json=HOOK)).status_code == 200


async def test_a_token_lives_an_hour_and_a_refresh_token_works_once() -> None:
    rig = await a_rig()
    config = rig.sim.config
    secrets = {"clientId": config.client_id, "clientSecret": config.client_secret}
    token = (await rig.http.post("/auth/token", json=secrets)).json()
    for name in ("accessTokenExpirationDate", "refreshTokenExpirationDate"):
        assert re.fullmatch(r"2026-11-2\dT\d\d:\d\d:\d\d\.\d{9}Z", token[name])
    assert token["accessTokenExpirationDate"].startswith("2026-11-22T11:00:00")
    renewed = await rig.http.post("/auth/refresh", json={"refreshToken": token["refreshToken"]})
    assert renewed.json()["accessToken"] != token["accessToken"]
    again = await rig.http.post("/auth/refresh", json={"refreshToken": token["refreshToken"]})
    assert (again.status_code, again.json()["errorCode"]) == (401, "INVALID_ACCESS_TOKEN")
    rig.clock.set(rig.clock.now() + timedelta(seconds=3600))
    assert (await rig.http.get("/consumers/me")).status_code == 401
    rig.clock.set(rig.clock.now() + timedelta(seconds=90_000))
    late = await rig.http.post("/auth/refresh", json={"refreshToken": renewed.json()["refreshToken"]})
    assert late.status_code == 401


async def test_wrong_credentials_are_a_401_and_missing_ones_a_400() -> None:
    rig = await a_rig()
    wrong = await rig.http.post("/auth/token", json={"clientId": "a", "clientSecret": "b"})
    assert (wrong.status_code, wrong.json()["errorCode"]) == (401, "CONSUMER_NOT_FOUND")
    assert (await rig.http.post("/auth/token", json={"clientId": "a"})).status_code == 400
    rig.sim.tokens.revoked = True
    assert (await rig.http.get("/charges")).status_code == 401


async def test_without_a_bearer_everything_is_a_401_and_unknown_paths_are_a_404() -> None:
    rig = await a_rig()
    assert (await rig.http.get("/nowhere")).status_code == 404
    me = (await rig.http.get("/consumers/me")).json()
    assert (me["rateLimit"], me["rateLimitIntervalInSeconds"]) == (1000, 600)
    assert (await rig.http.get("/auth/me")).json() == me
    del rig.http.headers["Authorization"]
    for path in ("/charges", "/consumers/me", "/charge-points/102", "/webhooks/config"):
        answer = await rig.http.get(path)
        assert (answer.status_code, answer.json()["errorCode"]) == (401, "INVALID_ACCESS_TOKEN")


async def test_the_request_log_says_what_each_request_was_for() -> None:
    rig = await a_rig()
    charge = await rig.start()
    await rig.search(partnerExternalId="ps_1")
    await rig.stop(charge["id"])
    purposes = [line.purpose for line in rig.sim.requests]
    assert purposes == [Purpose.TOKEN, Purpose.START, Purpose.SEARCH, Purpose.STOP]
    assert [line.status for line in rig.sim.requests] == [200, 200, 200, 200]
    assert rig.sim.requests[2].query == "partnerExternalId=ps_1"
    assert rig.sim.counters["charges_created"] == 1
