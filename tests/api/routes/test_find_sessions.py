"""What a terminal finds again after a lost answer or a reboot: its own sessions, and no others."""

import pytest

from app.domain.session.payment_session import NotStartedReason, Status
from tests.api.service import Service, assert_problem, open_service

pytestmark = pytest.mark.anyio

PATH = "/v1/payment-sessions"


async def test_a_session_is_found_by_its_reference(database_url: str) -> None:  # F3
    async with open_service(database_url) as service:
        session = await service.authorize(reference="A-1")
        for query in ("reference=A-1", "reference=A-1&open=true", "reference=A-1&open=false&limit=1"):
            found = await service.call("GET", f"{PATH}?{query}")
            assert found.status_code == 200
            assert found.json() == {"data": [session], "next_cursor": None}
        nothing = await service.call("GET", f"{PATH}?reference=A-2")
        assert nothing.json() == {"data": [], "next_cursor": None}
        wrong = ("", "?reference=", "?reference=a%20b", "?reference=%00", "?open=false", "?open=maybe")
        for query in (*wrong, "?open=true&cursor=x", "?open=true&limit=0", "?open=true&limit=201"):
            assert_problem(await service.call("GET", f"{PATH}{query}"), 422, "invalid_request")


async def test_after_a_reboot_a_terminal_finds_all_that_is_not_over_for_it(database_url: str) -> None:
    async with open_service(database_url) as service:
        names = (
            "authorized",
            "charging",
            "due",
            "part",
            "retried",
            "refused",
            "captured",
            "released",
            "none",
        )
        ids = {n: (await service.authorize(str(p), n))["id"] for p, n in enumerate(names, 101)}
        await service.charging(ids["charging"], "77")
        for name in ("due", "part", "retried", "refused", "captured"):
            await service.settle(ids[name], 1234)
        for name in ("released", "none"):
            await never_started(service, ids[name])
        await reported(service, ids["part"], "captured", 1000)
        await reported(service, ids["captured"], "captured", 1234)
        await reported(service, ids["released"], "released", 5000)
        await reported(service, ids["retried"], "failed", 1234)
        await reported(service, ids["refused"], "failed", 1234, retryable=False)
        sibling = await service.add_terminal(service.one.operator.operator_id)

        open_ones = {"authorized", "charging", "due", "part", "retried", "none"}
        expected = {ids[name] for name in open_ones}
        assert set(await open_ids(service)) == expected
        pages = await open_ids(service, "&limit=4")
        assert (len(pages), set(pages)) == (6, expected), "pages neither miss nor repeat any"
        for key in (sibling.api_key, service.other.terminal.api_key):
            assert await open_ids(service, key=key) == []
        over = await service.call("GET", f"{PATH}?open=true&reference=captured")
        assert over.json()["data"] == []


async def never_started(service: Service, session_id: str) -> None:
    """Ends a session without a charge: all of its hold is to be released."""
    settled = await service.settle(session_id, 0)
    await service.change(
        settled.id, status=Status.NOT_STARTED, not_started_reason=NotStartedReason.START_TIMEOUT
    )


async def reported(service: Service, session_id: str, outcome: str, amount: int, **more: bool) -> None:
    report = {"outcome": outcome, "amount": amount, "reference": f"P-{session_id}"} | more
    answer = await service.call("POST", f"{PATH}/{session_id}/captures", report)
    assert answer.status_code == 200, answer.text


async def open_ids(service: Service, more: str = "", key: str | None = None) -> list[str]:
    """All pages of a terminal's open sessions."""
    found: list[str] = []
    cursor = ""
    while True:
        page = (await service.call("GET", f"{PATH}?open=true{more}{cursor}", key=key)).json()
        found += [session["id"] for session in page["data"]]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"
