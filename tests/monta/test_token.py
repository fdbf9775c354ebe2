"""One token pair for all replicas, renewed by one of them at a time, whatever fails."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from app.domain.charging.charge import ChargeState
from app.domain.units.ids import ChargeId
from app.monta.client import MontaClient
from app.monta.errors import NotSent, QuotaExceeded, Unauthorized
from app.monta.token import LEASE, WAIT_S, read_token
from tests.monta.fake_monta import CREDENTIALS, Reply
from tests.monta.idle_clock import ORIGIN
from tests.monta.rig import OPERATOR, Rig

pytestmark = pytest.mark.anyio

FIVE = ChargeId("5")
CHARGE = Reply(200, {"id": 5, "state": "charging"})


@pytest.fixture(autouse=True)
def a_charge(rig: Rig) -> None:
    rig.monta.script("GET /charges/5", CHARGE)


async def test_a_token_is_asked_for_once_and_serves_until_shortly_before_its_end(rig: Rig) -> None:
    client = rig.replica()
    for _ in range(3):
        await client.get_charge(FIVE)
    rig.clock.advance(3600 - 61)
    await client.get_charge(FIVE)
    assert rig.monta.calls("POST") == ["POST /auth/token"]
    rig.clock.advance(2)
    await client.get_charge(FIVE)
    assert rig.monta.calls("POST") == ["POST /auth/token", "POST /auth/refresh"]


async def test_replicas_share_a_pair(rig: Rig) -> None:
    await rig.replica().get_charge(FIVE)
    await rig.replica().get_charge(FIVE)
    assert rig.monta.issued == 1


@pytest.mark.parametrize("already", [False, True])
async def test_many_calls_on_many_replicas_renew_once_f28(rig: Rig, already: bool) -> None:
    replicas = [rig.replica() for _ in range(5)]
    if already:
        await replicas[0].get_charge(FIVE)
        rig.clock.advance(3600)
    issued = rig.monta.issued
    reports = await asyncio.gather(*(replica.get_charge(FIVE) for replica in replicas for _ in range(10)))
    assert {report.state for report in reports} == {ChargeState.CHARGING}
    assert rig.monta.issued == issued + 1


async def test_a_refused_refresh_token_falls_back_to_the_credentials_f28(rig: Rig) -> None:
    client = rig.replica()
    await client.get_charge(FIVE)
    rig.monta.refresh.clear()
    rig.clock.advance(3600)
    await client.get_charge(FIVE)
    assert rig.monta.calls("POST") == ["POST /auth/token", "POST /auth/refresh", "POST /auth/token"]


async def test_a_dead_refresh_token_is_not_tried(rig: Rig) -> None:
    client = rig.replica()
    await client.get_charge(FIVE)
    rig.clock.advance(86400)
    await client.get_charge(FIVE)
    assert rig.monta.calls("POST") == ["POST /auth/token", "POST /auth/token"]


async def test_a_refresh_whose_answer_is_lost_falls_back_to_the_credentials(rig: Rig) -> None:
    client = rig.replica()
    await client.get_charge(FIVE)
    rig.clock.advance(3600)
    rig.line.after["POST /auth/refresh"] = httpx.ReadTimeout("lost")
    assert (await client.get_charge(FIVE)).id == FIVE


async def test_a_401_renews_the_token_and_sends_once_more_f27(rig: Rig) -> None:
    client = rig.replica()
    await client.get_charge(FIVE)
    rig.monta.forget_tokens()
    await client.get_charge(FIVE)
    assert rig.monta.calls("GET") == ["GET /charges/5"] * 3
    assert rig.tokens.saves == 2


async def test_a_401_to_a_token_that_another_has_renewed_takes_the_new_one_f28(rig: Rig) -> None:
    slow, quick = rig.replica(), rig.replica()
    await slow.get_charge(FIVE)
    rig.monta.forget_tokens()
    await quick.get_charge(FIVE)
    await slow.get_charge(FIVE)
    assert rig.tokens.saves == 2


async def test_a_second_401_is_unauthorized_and_nothing_is_sent_again_f29(rig: Rig) -> None:
    client = rig.replica()
    rig.monta.script("GET /charges/5", Reply(401, {"errorCode": "INVALID_ACCESS_TOKEN"}))
    with pytest.raises(Unauthorized):
        await client.get_charge(FIVE)
    assert len(rig.monta.calls("GET")) == 2


async def test_credentials_that_monta_does_not_take_are_unauthorized_and_not_echoed_f29_f91(rig: Rig) -> None:
    client = rig.replica(credentials=replace(CREDENTIALS, client_secret="wr0ng-secret"))
    with pytest.raises(Unauthorized) as raised:
        await client.get_charge(FIVE)
    assert "wr0ng-secret" not in str(raised.value) + repr(raised.value) + str(raised.value.__cause__)
    assert rig.monta.calls("GET") == []


@pytest.mark.parametrize("failure", [httpx.ReadTimeout("no answer"), httpx.ConnectError("no way")])
async def test_a_call_for_want_of_a_token_was_certainly_not_sent_f95(rig: Rig, failure: Exception) -> None:
    client = rig.replica()
    rig.line.before["POST /auth/token"] = failure
    with pytest.raises(NotSent):
        await client.get_charge(FIVE)
    assert rig.monta.seen == []
    await client.get_charge(FIVE)  # the same replica still holds the lease and need not wait for it


@pytest.mark.parametrize(
    "reply", [Reply(500, b"<html>"), Reply(200, b"{"), Reply(200, {}), Reply(200, {"accessToken": "a\nb"})]
)
async def test_an_answer_without_a_token_is_not_sent_either(rig: Rig, reply: Reply) -> None:
    rig.monta.script("POST /auth/token", reply)
    with pytest.raises(NotSent):
        await rig.replica().get_charge(FIVE)


async def test_a_429_to_a_token_call_blocks_everything_f26(rig: Rig) -> None:
    client = rig.replica()
    rig.monta.script("POST /auth/token", Reply(429, None, {"Retry-After": "30"}))
    for _ in range(2):
        with pytest.raises(QuotaExceeded) as raised:
            await client.get_charge(FIVE)
        assert raised.value.retry_at == ORIGIN + timedelta(seconds=30)
    assert len(rig.monta.seen) == 1


async def test_a_crashed_leader_is_replaced_within_one_call_f28(rig: Rig) -> None:
    assert await rig.tokens.lease_renewal(
        OPERATOR, 0, rig.clock.now() + LEASE, rig.clock.now()
    )  # and never comes back
    await rig.replica().get_charge(FIVE)
    assert LEASE.total_seconds() <= rig.clock.passed_s < WAIT_S


async def test_no_call_waits_for_ever_for_a_renewal(rig: Rig) -> None:
    now = rig.clock.now()
    assert await rig.tokens.lease_renewal(OPERATOR, 0, now + timedelta(hours=1), now)
    with pytest.raises(NotSent) as raised:
        await asyncio.gather(*(rig.replica().get_charge(FIVE) for _ in range(3)))
    assert raised.value.retry_at is not None
    assert WAIT_S <= rig.clock.passed_s < WAIT_S + 1


async def test_a_pair_that_still_lives_serves_while_another_renews_it(rig: Rig) -> None:
    client = rig.replica()
    await client.get_charge(FIVE)
    rig.clock.advance(3600 - 30)
    assert await rig.tokens.lease_renewal(OPERATOR, 1, rig.clock.now() + LEASE, rig.clock.now())
    before = rig.clock.passed_s
    await client.get_charge(FIVE)
    assert (rig.monta.issued, rig.clock.passed_s) == (1, before)


async def test_a_pair_that_still_lives_serves_when_it_cannot_be_renewed(rig: Rig) -> None:
    client = rig.replica()
    await client.get_charge(FIVE)
    rig.clock.advance(3600 - 30)
    rig.monta.refresh.clear()
    rig.monta.script("POST /auth/token", Reply(503), Reply(503))
    await client.get_charge(FIVE)
    await client.get_charge(FIVE)
    assert len(rig.monta.calls("POST /auth/token")) == 2  # the first ever, and one failed try
    rig.clock.advance(11)
    await client.get_charge(FIVE)
    assert len(rig.monta.calls("POST /auth/token")) == 3


async def test_a_caller_that_goes_away_leaves_the_others_a_token(rig: Rig) -> None:
    client = rig.replica()
    event = rig.line.gates["POST /auth/token"] = asyncio.Event()
    calls = [asyncio.create_task(client.get_charge(FIVE)) for _ in range(5)]
    for _ in range(20):
        await asyncio.sleep(0)
    calls[0].cancel()
    event.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert all(getattr(answer, "id", None) == FIVE for answer in answers[1:])


async def test_the_calls_of_one_process_wait_without_asking_the_store_over_and_over(rig: Rig) -> None:
    client = rig.replica()
    event = rig.line.gates["POST /auth/token"] = asyncio.Event()
    calls = [asyncio.create_task(client.get_charge(FIVE)) for _ in range(20)]
    for _ in range(100):
        await asyncio.sleep(0)
    assert rig.tokens.loads == 1
    event.set()
    await asyncio.gather(*calls)
    assert rig.monta.issued == 1


async def test_calls_queued_behind_slow_failures_do_not_try_one_after_another(rig: Rig) -> None:
    client = rig.replica()
    rig.monta.script("POST /auth/token", *[Reply(503)] * 20)
    rig.line.meanwhile["POST /auth/token"] = lambda: rig.clock.advance(6)
    answers = await asyncio.gather(*(client.get_charge(FIVE) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(answer, NotSent) for answer in answers)
    assert len(rig.monta.calls("POST /auth/token")) <= WAIT_S / 6 + 1


def test_a_pair_with_strange_dates_is_used_for_a_while_and_401_does_the_rest() -> None:
    for date in ("2001-01-01T00:00:00Z", "soon", None, "2026-11-22T10:00:00"):
        pair = read_token({"accessToken": "a", "accessTokenExpirationDate": date}, ORIGIN)
        assert pair is not None
        assert pair.access_expires_at == ORIGIN + timedelta(seconds=90)
        assert pair.refresh == ""
    for_ever = read_token({"accessToken": "a", "accessTokenExpirationDate": "9999-12-31T00:00:00Z"}, ORIGIN)
    assert for_ever is not None
    assert for_ever.access_expires_at == ORIGIN + timedelta(hours=24)


@pytest.mark.parametrize(
    "value",
    [None, [], {}, {"accessToken": ""}, {"accessToken": "ä"}, {"accessToken": "a b"}, {"accessToken": 5}],
)
def test_what_cannot_stand_in_a_header_is_no_token(value: dict[str, object] | list[object] | None) -> None:
    assert read_token(value, ORIGIN) is None  # type: ignore[arg-type]


def test_no_token_or_secret_shows_in_a_repr_f91(rig: Rig, client: MontaClient) -> None:
    pair = read_token({"accessToken": "acc3ss", "refreshToken": "r3fresh"}, ORIGIN)
    assert "acc3ss" not in repr(pair)
    assert "r3fresh" not in repr(pair)
    assert CREDENTIALS.client_secret not in repr(CREDENTIALS)
