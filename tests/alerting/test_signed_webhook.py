"""Tests of app/alerting/signed_webhook: what is sent verifies by the library, and by the code in the docs."""

import re
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from app.alerting.outlet import NotDelivered
from app.alerting.signed_webhook import MOST_READ_BYTES, SignedOutlet, signed_headers
from tests.postgres import ROOT

pytestmark = pytest.mark.anyio

OLD, NEW = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_plJ3nmyCDGBKInavdOK15jsl"
BODY = b'{"type":"endpoint.test"}'


def is_ours() -> Callable[[str, dict[str, str], bytes], bool]:
    """The function that docs/terminal-api.md gives to terminal makers."""
    page = (ROOT / "docs/terminal-api.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)
    function: Callable[[str, dict[str, str], bytes], bool] = found["is_ours"]
    return function


def test_both_secrets_verify_and_nothing_else_does() -> None:
    now, verifies = datetime.now(UTC), is_ours()
    headers = signed_headers([NEW, OLD], "evt_1", now, BODY)
    for secret in (NEW, OLD):
        assert Webhook(secret).verify(BODY.decode(), headers) == {"type": "endpoint.test"}
        assert verifies(secret, headers, BODY)
    assert not verifies("whsec_c2VjcmV0", headers, BODY)
    assert not verifies(NEW, headers, BODY + b" ")
    assert not verifies(NEW, headers | {"webhook-id": "evt_2"}, BODY)
    assert not verifies(NEW, headers | {"webhook-timestamp": str(int(time.time()) + 1)}, BODY)
    old = signed_headers([NEW], "evt_1", datetime.fromtimestamp(time.time() - 400, UTC), BODY)
    assert not verifies(NEW, old, BODY)


class Answers(httpx.AsyncBaseTransport):
    def __init__(self, status: int, chunks: int = 1) -> None:
        self.status, self.chunks, self.sent = status, chunks, 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(self.status, stream=_Body(self), headers={"location": "https://other.test/"})


class _Body(httpx.AsyncByteStream):
    def __init__(self, of: Answers) -> None:
        self.of = of

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.of.chunks):
            self.of.sent += 1
            yield b"x" * 4096


async def deliver(answers: Answers) -> None:
    async with httpx.AsyncClient(transport=answers, follow_redirects=True) as http:
        await SignedOutlet(http).send("https://maker.test/", [NEW], "evt_1", datetime.now(UTC), BODY)


@pytest.mark.parametrize("status", [301, 302, 307, 400, 410, 429, 500])
async def test_only_2xx_is_taken_and_no_redirect_is_followed(status: int) -> None:
    with pytest.raises(NotDelivered, match=f"answered {status}"):
        await deliver(Answers(status))


async def test_no_more_of_an_answer_is_read_than_its_bound() -> None:
    answers = Answers(200, chunks=1000)
    await deliver(answers)
    assert answers.sent == MOST_READ_BYTES // 4096 + 1
