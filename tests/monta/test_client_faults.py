"""app/monta/client: Failures never cause a second blind send, nor a false refusal."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from app.domain.units.ids import ChargeId, OperatorId
from app.monta.client import MontaClient
from app.monta.errors import (
    MontaError,
    NotDone,
    NotSent,
    OutcomeUnknown,
    QuotaExceeded,
    Refused,
    Unauthorized,
)
from app.monta.ports import Purpose, QuotaSeen
from app.monta.transport import Timeouts
from tests.monta.fake_monta import BASE_URL, CREDENTIALS, FakeMonta, Reply
from tests.monta.idle_clock import ORIGIN
from tests.monta.memory import MemoryBudget
from tests.monta.rig import OPERATOR, START, Rig, row

pytestmark = pytest.mark.anyio

FIVE = ChargeId("5")


async def outcome(client: MontaClient) -> MontaError:
    with pytest.raises(MontaError) as raised:
        await client.start_charge(START)
    return raised.value


@pytest.mark.parametrize(
    "failure",
    [httpx.ConnectError("DNS or TLS"), httpx.ConnectTimeout("too slow"), httpx.PoolTimeout("exhausted")],
)
async def test_without_a_connection_the_start_was_certainly_not_sent_f95(
    rig: Rig, client: MontaClient, failure: Exception
) -> None:
    rig.line.before["POST /charges"] = failure
    error = await outcome(client)
    assert isinstance(error, NotSent)
    assert not error.permanent
    assert rig.monta.calls("POST /charges") == []


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ReadTimeout("no answer"),
        httpx.WriteTimeout("stuck"),
        httpx.WriteError("cut"),
        httpx.ReadError("cut"),
        httpx.RemoteProtocolError("closed without an answer"),
        OSError("an unforeseen error"),
    ],
)
async def test_a_lost_answer_is_unknown_and_the_start_is_not_sent_again_f19(
    rig: Rig, client: MontaClient, failure: Exception
) -> None:
    rig.monta.script("POST /charges", Reply(200, row(5)))
    rig.line.after["POST /charges"] = failure
    assert isinstance(await outcome(client), OutcomeUnknown)
    assert len(rig.monta.calls("POST /charges")) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 302, 307, 405, 408, 410, 418, 425])
async def test_any_other_status_is_unknown_and_nothing_is_sent_again_f21(
    rig: Rig, client: MontaClient, status: int
) -> None:
    html = Reply(status, b"<html>Bad Gateway</html>", {"Location": "/api/v1/charges"})
    rig.monta.script("POST /charges", html)
    error = await outcome(client)
    assert isinstance(error, OutcomeUnknown)
    assert error.status == status
    assert len(rig.monta.calls("POST /charges")) == 1


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{", b"null", b"[]", b"{}", b'{"id": "none"}', b'{"charge": {}}', b"[" * 10**5]
)
async def test_a_2xx_without_a_charge_in_it_is_unknown_f21(
    rig: Rig, client: MontaClient, body: bytes
) -> None:
    rig.monta.script("POST /charges", Reply(200, body))
    assert isinstance(await outcome(client), OutcomeUnknown)


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", {"errorCode": 5, "message": None}])
async def test_a_refusal_is_a_refusal_whatever_it_says_f33(
    rig: Rig, client: MontaClient, status: int, body: object
) -> None:
    rig.monta.script("POST /charges", Reply(status, body))
    error = await outcome(client)
    assert isinstance(error, Refused)
    assert (error.status, error.code, error.message, error.readable) == (status, None, None, None)


async def test_a_refusal_keeps_monta_s_words_cut_and_on_one_line_f33(rig: Rig, client: MontaClient) -> None:
    words = {
        "errorCode": "ACCESS_FORBIDDEN",
        "message": "team\nfrozen\x00" + "x" * 600,
        "readable_message": "No.",
    }
    rig.monta.script("POST /charges", Reply(403, words))
    error = await outcome(client)
    assert isinstance(error, Refused)
    assert (error.code, error.readable) == ("ACCESS_FORBIDDEN", "No.")
    assert error.message is not None
    assert error.message.startswith("team frozen")
    assert len(error.message) == 500


async def test_a_stop_of_a_charge_that_has_ended_is_a_refusal_to_read_again_f65(
    rig: Rig, client: MontaClient
) -> None:
    rig.monta.script("GET /charges/5/stop", Reply(409, {"errorCode": "ALREADY_STOPPED"}))
    with pytest.raises(Refused) as raised:
        await client.stop_charge(FIVE)
    assert raised.value.code == "ALREADY_STOPPED"


@pytest.mark.parametrize(
    "reply", [Reply(503), Reply(302, None, {"Location": f"{BASE_URL}/charges/5/stop"}), Reply(200, b"")]
)
async def test_a_stop_is_sent_once_and_never_retried_or_redirected_f64(
    rig: Rig, client: MontaClient, reply: Reply
) -> None:
    rig.monta.script("GET /charges/5/stop", reply)
    with pytest.raises(OutcomeUnknown):
        await client.stop_charge(FIVE)
    assert rig.monta.calls("GET") == ["GET /charges/5/stop"]


async def test_no_cookie_of_monta_s_is_sent_back(rig: Rig, client: MontaClient) -> None:
    rig.monta.script("GET /charges/5", Reply(200, row(5), {"Set-Cookie": "sticky=operator-one"}))
    for _ in range(2):
        await client.get_charge(FIVE)
    assert all("cookie" not in seen.headers for seen in rig.monta.seen)


async def test_a_start_after_a_401_is_sent_again_under_its_send_guard_f27(
    rig: Rig, client: MontaClient
) -> None:
    rig.monta.script("POST /charges", Reply(200, row(5)))
    rig.monta.script("GET /charges/5", Reply(200, row(5)))
    await client.get_charge(FIVE)
    rig.monta.forget_tokens()
    report = await client.start_charge(START, still_allowed=lambda: True)
    assert report.id == FIVE
    assert len(rig.monta.calls("POST /charges")) == 2
    assert rig.budget.taken == [Purpose.READ, Purpose.START, Purpose.START]


async def test_a_start_after_a_401_is_not_sent_again_when_the_send_guard_has_run_out_f22_f27(
    rig: Rig, client: MontaClient
) -> None:
    rig.monta.script("POST /charges", Reply(200, row(5)))
    rig.monta.script("GET /charges/5", Reply(200, row(5)))
    await client.get_charge(FIVE)
    rig.monta.forget_tokens()
    with pytest.raises(NotSent, match="send guard"):
        await client.start_charge(START, still_allowed=lambda: rig.monta.calls("POST /charges") == [])
    assert len(rig.monta.calls("POST /charges")) == 1


async def test_a_start_is_not_sent_at_all_when_the_send_guard_has_run_out_while_a_token_was_fetched_f22(
    rig: Rig, client: MontaClient
) -> None:
    with pytest.raises(NotSent, match="send guard"):
        await client.start_charge(START, still_allowed=lambda: rig.monta.issued == 0)
    assert rig.monta.calls() == ["POST /auth/token"]


async def test_a_start_with_401_to_every_token_is_unauthorized_and_certainly_not_done_f29(
    rig: Rig, client: MontaClient
) -> None:
    rig.monta.script("POST /charges", Reply(401, {"errorCode": "CONSUMER_NOT_FOUND"}))
    assert isinstance(await outcome(client), Unauthorized)
    assert len(rig.monta.calls("POST /charges")) == 2


async def test_a_429_blocks_reads_and_starts_of_every_replica_until_it_ends_but_no_stop_f26_f58(
    rig: Rig, client: MontaClient
) -> None:
    rig.monta.script("GET /charges/5", Reply(200, row(5)))
    rig.monta.script("GET /charges/5/stop", Reply(200, row(5)))
    rig.monta.script("POST /charges", Reply(429, b"slow down", {"ratelimit-resetsin": "30"}))
    first = await outcome(client)
    assert isinstance(first, QuotaExceeded)
    assert (first.retry_at, first.by_monta) == (ORIGIN + timedelta(seconds=30), True)
    with pytest.raises(QuotaExceeded) as raised:
        await rig.replica().get_charge(FIVE)
    assert (raised.value.retry_at, raised.value.by_monta) == (first.retry_at, False)
    assert rig.monta.calls("GET") == []
    assert (await rig.replica().stop_charge(FIVE)).id == FIVE
    rig.clock.advance(30)
    assert (await rig.replica().get_charge(FIVE)).id == FIVE


async def test_429s_that_say_nothing_block_longer_each_time_until_one_call_gets_through(
    rig: Rig, client: MontaClient
) -> None:
    rig.monta.script("POST /charges", Reply(429), Reply(429), Reply(200, row(5)), Reply(429))
    blocks = []
    for _ in range(4):
        try:
            await client.start_charge(START)
        except QuotaExceeded as error:
            blocks.append((error.retry_at - rig.clock.now()).total_seconds())
            rig.clock.advance(blocks[-1])
    assert blocks == [5, 10, 5]


async def test_without_budget_nothing_is_sent_but_stops_still_go_f55(rig: Rig, client: MontaClient) -> None:
    rig.monta.script("GET /charges/5/stop", Reply(200, row(5)))
    await rig.budget.observe(OPERATOR, QuotaSeen(1000, 600, 50, 100), ORIGIN)
    for refused in (client.get_charge(FIVE), client.start_charge(START)):
        with pytest.raises(QuotaExceeded) as raised:
            await refused
        assert raised.value.retry_at == ORIGIN + timedelta(seconds=100)
    assert rig.monta.seen == []
    await client.stop_charge(FIVE)
    assert rig.budget.taken == [Purpose.STOP]


class BrokenBooks(MemoryBudget):
    """A budget whose database is gone when the answer has come."""

    async def observe(self, operator: OperatorId, seen: QuotaSeen, now: object) -> None:
        raise ConnectionError("the database is gone")


async def test_a_started_charge_is_not_lost_over_our_own_books(rig: Rig) -> None:
    rig.budget = BrokenBooks()
    rig.monta.script("POST /charges", Reply(200, row(5), {"RateLimit-Remaining": "5"}))
    assert (await rig.replica().start_charge(START)).id == FIVE


async def test_a_cancelled_call_is_cancelled_and_nothing_else_f7(rig: Rig, client: MontaClient) -> None:
    rig.line.gates["POST /charges"] = asyncio.Event()
    call = asyncio.create_task(client.start_charge(START))
    for _ in range(50):
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_every_time_out_is_written_down(rig: Rig, client: MontaClient) -> None:
    rig.monta.script("POST /charges", Reply(200, row(5)))
    rig.monta.script("GET /charges/5", Reply(200, row(5)))
    await client.start_charge(START)
    await client.get_charge(FIVE)
    assert rig.line.timeouts == {
        "POST /auth/token": {"connect": 5, "read": 6, "write": 10, "pool": 5},
        "POST /charges": {"connect": 5, "read": 30, "write": 10, "pool": 5},
        "GET /charges/5": {"connect": 5, "read": 10, "write": 10, "pool": 5},
    }


class Endless(httpx.AsyncByteStream):
    """A body that never ends: each chunk at once, or each after a wait that never ends."""

    def __init__(self, chunk: bytes, *, drips: bool) -> None:
        self.chunk = chunk
        self.drips = drips
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield self.chunk
            if self.drips:
                await asyncio.Event().wait()

    async def aclose(self) -> None:
        self.closed = True


class EndlessMonta(httpx.AsyncBaseTransport):
    """Tokens as usual, every other answer without an end."""

    def __init__(self, monta: FakeMonta, status: int, body: Endless) -> None:
        self.tokens = httpx.ASGITransport(app=monta)
        self.status = status
        self.body = body

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if "/auth/" in request.url.path:
            return await self.tokens.handle_async_request(request)
        return httpx.Response(self.status, stream=self.body, headers={"Retry-After": "9"})


QUICK = Timeouts(total_s=0.05, start_s=0.05)


@pytest.mark.parametrize("drips", [True, False])
async def test_an_answer_without_an_end_is_released_and_its_connection_closed_f45_f95(
    rig: Rig, drips: bool
) -> None:
    body = Endless(b" " if drips else b" " * 1024 * 1024, drips=drips)
    http = httpx.AsyncClient(transport=EndlessMonta(rig.monta, 200, body))
    timeouts = QUICK if drips else Timeouts()
    assert isinstance(await outcome(rig.replica(http=http, timeouts=timeouts)), OutcomeUnknown)
    assert body.closed


@pytest.mark.parametrize(("status", "error"), [(404, Refused), (429, QuotaExceeded), (503, OutcomeUnknown)])
async def test_a_status_counts_even_when_its_body_never_ends(
    rig: Rig, status: int, error: type[MontaError]
) -> None:
    http = httpx.AsyncClient(transport=EndlessMonta(rig.monta, status, Endless(b"{", drips=True)))
    assert isinstance(await outcome(rig.replica(http=http, timeouts=QUICK)), error)


@pytest.mark.parametrize(
    "base_url", ["ftp://monta.test", "monta.test/api", "http://[", "http://monta.test:x"]
)
async def test_a_base_url_that_is_none_is_certainly_not_sent(rig: Rig, base_url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        client = rig.replica(http=http, credentials=replace(CREDENTIALS, base_url=base_url))
        with pytest.raises(NotDone):
            await client.get_charge(FIVE)
