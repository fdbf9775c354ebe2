"""app/monta/client: Every call sends what Monta's reference asks for, and reads the answer."""

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from app.domain.charging.charge import ChargeState, PriceUnit
from app.domain.charging.charge_point import ChargePointState
from app.domain.units.ids import ChargeId, ChargePointId
from app.monta.account import DeliveryStatus, WebhookConfig
from app.monta.client import MontaClient
from app.monta.errors import NotSent, OutcomeUnknown, QuotaExceeded, Refused
from app.monta.lists import MAX_FOUND_PAGES
from app.monta.objects import StartCharge
from app.monta.ports import Purpose, QuotaSeen
from tests.monta.fake_monta import Reply
from tests.monta.idle_clock import ORIGIN
from tests.monta.rig import START, Rig, row

pytestmark = pytest.mark.anyio


def page(number: int, of: int, *rows: object) -> Reply:
    return Reply(200, {"data": list(rows), "meta": {"currentPage": number, "totalPageCount": of}})


@pytest.mark.parametrize("answer", [row(5), {"charge": row(5)}])
@pytest.mark.parametrize("status", [200, 201])
async def test_a_start_is_posted_once_with_the_documented_body_and_headers(
    rig: Rig, client: MontaClient, answer: object, status: int
) -> None:
    rig.monta.script("POST /charges", Reply(status, answer))
    report = await client.start_charge(START)
    assert (report.id, report.state, report.seen_at) == (ChargeId("5"), ChargeState.CHARGING, ORIGIN)
    (seen,) = [seen for seen in rig.monta.seen if seen.call == "POST /charges"]
    assert json.loads(seen.body, parse_float=Decimal) == START.body()
    assert seen.headers["authorization"] == "Bearer access-1"
    assert seen.headers["monta-version"] == "v1"
    assert seen.headers["accept"] == "application/json"
    assert seen.headers["accept-encoding"] == "identity"
    assert seen.headers["cache-control"] == "no-store"
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["user-agent"].startswith("tapwatt/")
    assert rig.budget.taken == [Purpose.START]


async def test_a_start_that_monta_would_refuse_is_not_sent_f9(rig: Rig, client: MontaClient) -> None:
    small = StartCharge(
        paying_team_id="14",
        charge_point_id=ChargePointId("101"),
        partner_external_id="ps_01jd",
        provider="acme-pay",
        external_id="K7QM-4TXP",
        price_limit=Decimal("0.99"),
    )
    with pytest.raises(NotSent, match="price_limit") as raised:
        await client.start_charge(small)
    assert raised.value.permanent
    assert rig.monta.seen == []


async def test_a_charge_is_read_and_stopped_by_its_id_f63_f64(rig: Rig, client: MontaClient) -> None:
    rig.monta.script("GET /charges/5", Reply(200, row(5)))
    rig.monta.script("GET /charges/5/stop", Reply(200, row(5, state="stopping")))
    assert (await client.get_charge(ChargeId("5"))).state is ChargeState.CHARGING
    assert (await client.stop_charge(ChargeId("5"))).state is ChargeState.STOPPING
    assert rig.monta.calls("GET") == ["GET /charges/5", "GET /charges/5/stop"]
    assert all(seen.headers["cache-control"] == "no-store" for seen in rig.monta.seen)
    assert rig.budget.taken == [Purpose.READ, Purpose.STOP]


@pytest.mark.parametrize("wrong", ["", "5/stop", "../charge-points/5", "5?x=1", "ps_01jd", "٥"])
async def test_nothing_but_an_id_gets_into_a_path_f63(rig: Rig, client: MontaClient, wrong: str) -> None:
    for call in (client.get_charge, client.stop_charge):
        with pytest.raises(NotSent):
            await call(ChargeId(wrong))
    with pytest.raises(NotSent):
        await client.get_charge_point(ChargePointId(wrong))
    assert rig.monta.seen == []


async def test_a_search_reads_all_pages_and_finds_each_charge_once_f23(rig: Rig, client: MontaClient) -> None:
    rig.monta.script(
        "GET /charges",
        page(0, 2, row(5), row(6), row(7, external_id="ps_other"), row(8, external_id=None)),
        page(1, 2, row(6, state="completed"), row(9)),
    )
    found = await client.find_charges("ps_01jd")
    assert {report.id: report.state for report in found} == {
        "5": ChargeState.CHARGING,
        "6": ChargeState.COMPLETED,
        "9": ChargeState.CHARGING,
    }
    queries = [seen.query for seen in rig.monta.seen if seen.call == "GET /charges"]
    assert queries == [
        {"partnerExternalId": "ps_01jd", "page": "0", "perPage": "100"},
        {"partnerExternalId": "ps_01jd", "page": "1", "perPage": "100"},
    ]


async def test_a_search_without_page_counts_ends_at_the_first_empty_page_f23(
    rig: Rig, client: MontaClient
) -> None:
    rig.monta.script(
        "GET /charges",
        Reply(200, {"data": [row(5)]}),
        Reply(200, {"data": [row(6)]}),
        Reply(200, {"data": []}),
    )
    assert [report.id for report in await client.find_charges("ps_01jd")] == ["5", "6"]


async def test_an_empty_search_finds_nothing(rig: Rig, client: MontaClient) -> None:
    rig.monta.script("GET /charges", page(0, 0))
    assert await client.find_charges("ps_01jd") == ()


@pytest.mark.parametrize(
    "hidden",
    [
        Reply(200, {"data": [{"state": "charging"}], "meta": {"totalPageCount": 1}}),
        page(0, 10**6, row(5)),
        Reply(200, {"data": 5}),
        Reply(200, 5),
    ],
)
async def test_a_search_in_which_a_charge_might_hide_is_unknown_and_never_empty_f23(
    rig: Rig, client: MontaClient, hidden: Reply
) -> None:
    rig.monta.script("GET /charges", hidden)
    with pytest.raises(OutcomeUnknown):
        await client.find_charges("ps_01jd")
    assert len(rig.monta.calls("GET")) <= MAX_FOUND_PAGES


async def test_a_search_for_nothing_is_not_sent(rig: Rig, client: MontaClient) -> None:
    with pytest.raises(NotSent):
        await client.find_charges("")
    assert rig.monta.seen == []


async def test_a_listing_keeps_the_newest_of_overlapping_rows_and_counts_the_unreadable(
    rig: Rig, client: MontaClient
) -> None:
    newer, older = "2026-11-22T10:00:02Z", "2026-11-22T10:00:01Z"
    rig.monta.script(
        "GET /charges",
        page(0, 2, row(5, state="completed", updatedAt=newer), {"id": None}),
        page(1, 2, row(5, updatedAt=older), row(6, "ps_other")),
    )
    local = datetime(2026, 11, 22, 11, 0, 0, 999, tzinfo=timezone(timedelta(hours=1)))
    listing = await client.list_charges(local)
    assert {report.id: report.state for report in listing.charges} == {
        "5": ChargeState.COMPLETED,
        "6": ChargeState.CHARGING,
    }
    assert (listing.unreadable, listing.complete) == (1, True)
    assert rig.monta.seen[-1].query["fromUpdatedDate"] == "2026-11-22T10:00:00Z"


async def test_a_listing_has_a_bound_on_pages_and_says_so(rig: Rig, client: MontaClient) -> None:
    rig.monta.script("GET /charges", page(0, 10**6, row(5)))
    listing = await client.list_charges(ORIGIN, max_pages=3)
    assert (len(listing.charges), listing.complete) == (1, False)
    assert len(rig.monta.calls("GET")) == 3


async def test_prices_in_minor_units_are_a_setting(rig: Rig) -> None:
    answer = row(5, price=741, currency={"identifier": "eur", "decimals": 2})
    rig.monta.script("GET /charges/5", Reply(200, answer))
    assert (await rig.replica().get_charge(ChargeId("5"))).price == Decimal("741")
    assert (await rig.replica(price_unit=PriceUnit.MINOR).get_charge(ChargeId("5"))).price == Decimal("7.41")


async def test_charge_points_are_read_one_or_all(rig: Rig, client: MontaClient) -> None:
    point = {"id": 101, "state": "available", "maxKw": 22}
    rig.monta.script("GET /charge-points/101", Reply(200, point))
    rig.monta.script(
        "GET /charge-points", page(0, 2, point, {"name": "no id"}), page(1, 2, point, {"id": 102})
    )
    assert (await client.get_charge_point(ChargePointId("101"))).max_power_w == 22_000
    points = await client.list_charge_points()
    assert [(p.id, p.state) for p in points] == [
        ("101", ChargePointState.AVAILABLE),
        ("102", ChargePointState.OTHER),
    ]


async def test_a_charge_point_that_cannot_be_read_is_unknown(rig: Rig, client: MontaClient) -> None:
    rig.monta.script("GET /charge-points/101", Reply(200, {"name": "no id"}))
    with pytest.raises(OutcomeUnknown):
        await client.get_charge_point(ChargePointId("101"))


async def test_me_says_whose_credential_it_is(rig: Rig, client: MontaClient) -> None:
    rig.monta.script(
        "GET /consumers/me",
        Reply(
            200,
            {
                "name": "Acme",
                "operatorId": 7,
                "teamIds": [14],
                "rateLimit": 3,
                "rateLimitIntervalInSeconds": 600,
                "scopes": ["charge-points:read"],
            },
        ),
    )
    me = await client.me()
    assert (me.name, me.operator_id, me.team_ids) == ("Acme", "7", ("14",))
    assert (me.rate_limit, me.rate_window_s, me.scopes) == (3, 600, ("charge-points:read",))
    for _ in range(2):
        await client.me()
    with pytest.raises(QuotaExceeded):
        await client.get_webhook_config()


async def test_the_webhook_configuration_is_read_and_replaced_f53(rig: Rig, client: MontaClient) -> None:
    assert await client.get_webhook_config() is None
    config = {
        "webhookUrl": "https://tap.example/v1/webhooks/monta/x",
        "webhookSecret": "sixteen-characters",
        "eventTypes": ["charges"],
    }
    rig.monta.script("PUT /webhooks/config", Reply(200, config))
    rig.monta.script("GET /webhooks/config", Reply(200, config))
    put = await client.put_webhook_config(str(config["webhookUrl"]), "sixteen-characters", ["charges"])
    assert put == await client.get_webhook_config()
    assert put == WebhookConfig(
        url=str(config["webhookUrl"]), event_types=("charges",), secret="sixteen-characters"
    )
    assert "sixteen-characters" not in repr(put)
    assert json.loads(next(seen.body for seen in rig.monta.seen if seen.call.startswith("PUT"))) == config


async def test_a_refused_webhook_configuration_does_not_echo_the_secret_f91(
    rig: Rig, client: MontaClient
) -> None:
    rig.monta.script(
        "PUT /webhooks/config",
        Reply(
            400,
            {
                "errorCode": "BAD_REQUEST",
                "message": "webhookSecret 'sh0rt' has 5 characters",
                "readableMessage": "access-1?",
            },
        ),
    )
    with pytest.raises(Refused) as raised:
        await client.put_webhook_config("https://tap.example", "sh0rt", ["charges"])
    assert raised.value.message == "webhookSecret '[secret]' has 5 characters"
    assert raised.value.readable == "[secret]?"
    assert "sh0rt" not in str(raised.value)


async def test_the_log_of_deliveries_gives_its_entries_f37(rig: Rig, client: MontaClient) -> None:
    entry = {"entityType": "charge", "entityId": "5", "eventType": "updated", "payload": row(5)}
    logged = {
        "id": "e-1",
        "status": "failed",
        "createdAt": "2026-11-22T10:00:00Z",
        "payload": entry,
        "error": {"errorMessage": "timeout"},
    }
    rig.monta.script("GET /webhooks/entries", page(0, 1, logged, {"id": 2, "payload": None}))
    first, second = await client.webhook_entries(DeliveryStatus.FAILED)
    assert (first.id, first.status, first.error, first.created_at) == ("e-1", "failed", "timeout", ORIGIN)
    assert first.entry.charge is not None
    assert first.entry.charge.id == ChargeId("5")
    assert (second.id, second.entry.problem) == ("2", "the entry is not an object")
    assert rig.monta.seen[-1].query["status"] == "failed"


@pytest.mark.parametrize("call", ["GET /charges/5", "GET /charges", "POST /charges"])
async def test_F119_an_answer_shows_what_was_true_since_the_question_and_came_later(
    rig: Rig, client: MontaClient, call: str
) -> None:
    rig.line.meanwhile[call] = lambda: rig.clock.advance(97)
    rig.monta.script(call, page(0, 1, row(5)) if call == "GET /charges" else Reply(200, row(5)))
    if call == "GET /charges":
        (report,) = await client.find_charges("ps_01jd")
    elif call == "POST /charges":
        report = await client.start_charge(START)
    else:
        report = await client.get_charge(ChargeId("5"))
    assert (report.seen_at, report.arrived_at) == (ORIGIN, ORIGIN + timedelta(seconds=97))


async def test_quota_headers_of_any_answer_are_noted(rig: Rig, client: MontaClient) -> None:
    headers = {
        "RateLimit-Quota": "1000",
        "RateLimit-TimeWindow": "600",
        "RateLimit-Remaining": "997",
        "RateLimit-ResetsIn": "x",
    }
    rig.monta.script("GET /charges/5", Reply(404, {"errorCode": "RESOURCE_NOT_FOUND"}, headers))
    with pytest.raises(Refused):
        await client.get_charge(ChargeId("5"))
    assert rig.budget.observed == [QuotaSeen(1000, 600, 997, None)]
