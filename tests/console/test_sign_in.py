"""Tests of app/console/routes/sign_in.

Signing in with an operations key: cookies, tokens of forms, ends, limits; what no one may do without it.
"""

from contextlib import AsyncExitStack
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from app.console.http import pages
from app.console.http.signed_in import COOKIE, FAILURES_WITHIN_S, MOST_ADDRESSES, MOST_FAILURES, FailedSignIns
from app.store.operators import console_sessions
from app.store.operators.console_sessions import IDLE, LONGEST
from tests.api.service import Service, open_service, wait
from tests.console.accessibility import check
from tests.console.browser import FORM, opened
from tests.console.html import Node

pytestmark = pytest.mark.anyio


async def revoke(service: Service, key_id: str) -> None:
    statement = text("UPDATE api_keys SET revoked_at = created_at WHERE id = :key")
    async with service.context.database.transaction() as connection:
        await connection.execute(statement, {"key": key_id})


HOST_ONLY = f"__Host-{COOKIE}"


def cookie(answer: httpx.Response, name: str = HOST_ONLY) -> str:
    return next(each for each in answer.headers.get_list("set-cookie") if each.startswith(f"{name}="))


async def test_a_key_opens_the_console_and_signing_out_closes_it_for_good(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        page = await browser.get("/console")
        assert page.one("h1").text == "Sign in"
        live = await browser.sign_in(service.one.ops.api_key)
        assert live.one("h1").text == "Live"
        token = browser.http.cookies[HOST_ONLY]
        page = await browser.send(live.one("form", action="/console/sign-out"))
        assert page.one("h1").text == "Sign in"
        assert browser.last.history[0].headers["clear-site-data"] == '"cache"'
        assert HOST_ONLY not in browser.http.cookies
        for name in (HOST_ONLY, COOKIE):
            browser.http.cookies.set(name, token, domain="tapwatt.test", path="/")
        assert (await browser.get("/console")).one("h1").text == "Sign in"


async def test_cookies_are_for_this_site_and_no_script_and_leave_over_tls_only(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        form = (await browser.get("/console/sign-in")).one("form")
        nonce = form.one("input", name="csrf").attributes["value"]
        fields = {"csrf": nonce, "next": "/console", "key": service.one.ops.api_key}
        browser.http.follow_redirects = False
        answer = await browser.post("/console/sign-in", fields)
        assert answer.status_code == 303
        for word in ("HttpOnly", "SameSite=strict", "Secure", "Path=/"):
            assert word in cookie(answer).split("; ")
        assert "Domain" not in cookie(answer), "a cookie named __Host- is of one host"
        browser.http.cookies = httpx.Cookies({COOKIE: browser.http.cookies[HOST_ONLY]})
        assert (await browser.http.get("/console")).status_code == 303, (
            "set without the prefix it is no session"
        )
        assert "Max-Age" not in cookie(answer)
        assert service.one.ops.api_key not in str(answer.headers)


@pytest.mark.parametrize(
    ("host", "allowed", "secure"),
    [("127.0.0.1", False, False), ("tapwatt.test", True, False), ("tapwatt.test", False, True)],
)
async def test_a_cookie_without_tls_is_for_development_only(
    database_url: str, host: str, allowed: bool, secure: bool
) -> None:
    async with open_service(database_url) as service:
        app = service.apps[0]
        app.state.allow_plain_http = allowed
        try:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as http:
                answer = await http.get("/console/sign-in")
                name = "__Host-tapwatt_sign_in" if secure else "tapwatt_sign_in"
                assert ("Secure" in cookie(answer, name)) is secure
        finally:
            app.state.allow_plain_http = False


async def test_a_wrong_key_is_refused_and_ten_of_them_close_the_door_for_a_while(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        for _ in range(MOST_FAILURES):
            page = await browser.sign_in("tw_ops_wrong", 401)
            assert page.one(role="alert").text == "This key is not valid."
        page = await browser.sign_in(service.one.ops.api_key, 429)
        assert "Too many failed sign-ins" in page.one(role="alert").text
        await wait(service, timedelta(seconds=FAILURES_WITHIN_S + 1))
        assert (await browser.sign_in(service.one.ops.api_key)).one("h1").text == "Live"


def test_failures_are_counted_for_a_bounded_number_of_addresses() -> None:
    failed = FailedSignIns()
    for number in range(MOST_ADDRESSES + 5):
        for _ in range(MOST_FAILURES):
            failed.count(f"address {number}", 0.0)
    waiting = [n for n in range(MOST_ADDRESSES + 5) if failed.wait_s(f"address {n}", 1.0)]
    assert waiting == list(range(5, MOST_ADDRESSES + 5))
    failed.forget("address 7")
    assert not failed.wait_s("address 7", 1.0)


async def test_a_terminals_key_does_not_open_the_console(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        for wrong in (service.one.terminal.api_key, "x" * 300, ""):
            page = await browser.sign_in(wrong, 401)
            assert page.one(role="alert").text == "This key is not valid."


async def test_a_session_ends_when_its_key_is_revoked(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        await browser.sign_in(service.one.ops.api_key)
        assert (await browser.get("/console")).one("h1").text == "Live"
        await revoke(service, service.one.ops.id)
        assert (await browser.get("/console")).one("h1").text == "Sign in"


async def test_a_session_ends_when_it_is_idle_and_after_half_a_day_at_the_latest(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        await browser.sign_in(service.one.ops.api_key)
        for _ in range(int(LONGEST / IDLE) * 2 - 1):
            await wait(service, IDLE / 2)
            assert (await browser.get("/console")).one("h1").text == "Live"
        await wait(service, IDLE / 2)
        assert (await browser.get("/console")).one("h1").text == "Sign in"
        await browser.sign_in(service.one.ops.api_key)
        await wait(service, IDLE + timedelta(seconds=1))
        assert (await browser.get("/console")).one("h1").text == "Sign in"


async def test_signing_in_leads_to_the_page_that_was_wanted_and_to_no_other_site(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        page = await browser.get("/console/sessions/ps_1?done=stop")
        assert page.one("input", name="next").attributes["value"] == "/console/sessions/ps_1?done=stop"
        for elsewhere in ("//evil.test", "https://evil.test", "/consoleevil", "/console\\..\\x", "/v1/ops"):
            page = await browser.get(f"/console/sign-in?next={elsewhere}")
            assert page.one("input", name="next").attributes["value"] == "/console"


async def test_a_form_of_another_site_or_session_changes_nothing(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        session = await service.authorize()
        path = f"/console/sessions/{session['id']}"
        live = await browser.sign_in(service.one.ops.api_key)
        csrf = live.one("form", action="/console/sign-out").one("input", name="csrf").attributes["value"]
        fields = {"csrf": csrf, "reason": "because"}
        forged = [
            await browser.post(f"{path}/stop", {"reason": "because"}),
            await browser.post(f"{path}/stop", fields | {"csrf": "0" * 64}),
            await browser.post(f"{path}/stop", fields | {"csrf": "ö"}),
            await browser.post(f"{path}/stop", fields, FORM | {"Sec-Fetch-Site": "cross-site"}),
            await browser.post(f"{path}/stop", fields, FORM | {"Sec-Fetch-Site": "same-site"}),
            await browser.post(
                f"{path}/stop", fields, {"Content-Type": FORM["Content-Type"], "Origin": "https://evil.test"}
            ),
            await browser.post("/console/sign-out", {"csrf": ""}),
            await browser.post("/console/sign-in", {"csrf": "", "key": service.one.ops.api_key}),
        ]
        assert [answer.status_code for answer in forged] == [403] * len(forged)
        async with opened(service.apps[0]) as stranger:
            answer = await stranger.post(f"{path}/stop", fields)
            assert answer.url.path == "/console/sign-in"
        detail = await service.call(
            "GET", f"/v1/ops/payment-sessions/{session['id']}/journal", key=service.one.ops.api_key
        )
        assert [line["kind"] for line in detail.json()["data"]] == ["payment_authorized"]
        assert (await browser.post(f"{path}/stop", fields)).status_code == 200


async def test_of_one_keys_sessions_the_oldest_end_beyond_a_bound(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_sessions, "MOST_OF_A_KEY", 2)
    async with open_service(database_url) as service, AsyncExitStack() as stack:
        browsers = [await stack.enter_async_context(opened(service.apps[0])) for _ in range(4)]
        keys = [service.one.ops, service.other.ops, service.one.ops, service.one.ops]
        for browser, key in zip(browsers, keys, strict=True):
            await browser.sign_in(key.api_key)
            await wait(service, timedelta(seconds=1))
        shown = [(await browser.get("/console")).one("h1").text for browser in browsers]
        assert shown == ["Sign in", "Live", "Live", "Live"]
        assert len({browser.http.cookies[HOST_ONLY] for browser in browsers[1:]}) == 3


async def test_a_keys_sessions_are_listed_and_ended_by_who_has_the_key(database_url: str) -> None:
    async with open_service(database_url) as service, AsyncExitStack() as stack:
        one, two, three, other = [await stack.enter_async_context(opened(service.apps[0])) for _ in range(4)]
        for browser in (one, two, three):
            await browser.sign_in(service.one.ops.api_key)
            await wait(service, timedelta(seconds=1))
        await other.sign_in(service.other.ops.api_key)
        page = await one.get("/console/sign-ins")
        check(page)
        choices = [option.attributes["value"] for option in page.all("option")]
        assert (len(choices), choices[0]) == (3, "others"), "its own session is not offered"
        for key in (service.other.ops.api_key, service.one.terminal.api_key, "wrong", ""):
            with capture_logs() as logged:
                await one.send(form_of(page), {"which": "others", "key": key}, 403)
            assert [(line["event"], line["result"]) for line in logged] == [("signed_out", "refused")]
        theirs = (await other.get("/console/sign-ins")).all("tr")
        assert len(theirs) == 2, "only its own key's"
        right = {"key": service.one.ops.api_key}
        ended = await one.send(form_of(page), right | {"which": choices[1]})
        assert ended.one(role="status").text == "1 ended."
        assert [(await b.get("/console")).one("h1").text for b in (one, two, three)].count("Sign in") == 1
        with capture_logs() as logged:
            await one.send(form_of(page), right | {"which": "others"})
        assert [(line["result"], line["ended"]) for line in logged] == [("done", "1")]
        shown = [(await b.get("/console")).one("h1").text for b in (one, two, three, other)]
        assert shown == ["Live", "Sign in", "Sign in", "Live"]
        assert (await one.send(form_of(page), right | {"which": "nothing"})).one(
            role="status"
        ).text == "0 ended."


def form_of(page: Node) -> Node:
    return page.one("form", action="/console/sign-ins/end")


async def test_the_field_of_the_key_is_masked_and_a_key_can_be_pasted(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        page = await browser.get("/console/sign-in")
        field = page.one("input", name="key").attributes
        assert field["type"] == "password"
        assert field["autocomplete"] == "current-password"
        assert int(field["maxlength"]) > len(service.one.ops.api_key)
        assert not [
            name for node in page.all("input", "form") for name in node.attributes if name.startswith("on")
        ]
        assert not page.all("script")


async def test_every_page_has_a_button_to_sign_out(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        session = await service.authorize()
        await browser.sign_in(service.one.ops.api_key)
        for path in (*(address for address, _ in pages.PAGES), f"/console/sessions/{session['id']}"):
            form = (await browser.get(path)).one("form", action="/console/sign-out")
            assert form.one("button").text == "Sign out"


async def test_a_body_that_is_too_long_or_no_form_is_refused(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        await browser.sign_in(service.one.ops.api_key)
        assert (await browser.post("/console/sign-out", {"csrf": "x" * 9000})).status_code == 413
        answer = await browser.http.post("/console/sign-out", content=b"csrf=\xff&a=%ff", headers=FORM)
        assert answer.status_code == 400
        answer = await browser.http.post("/console/sign-out", content=b"&".join([b"a=1"] * 50), headers=FORM)
        assert answer.status_code == 400
        live = await browser.get("/console")
        csrf = live.one("form", action="/console/sign-out").one("input", name="csrf").attributes["value"]
        answer = await browser.http.post("/console/sign-out", content=f"csrf=x&csrf={csrf}", headers=FORM)
        assert answer.status_code == 400, "a field that was sent twice"


PAGES = ("/console", "/console/", "/console/sign-in", "/console/nothing", "/console/sessions/ps_none")


async def test_every_page_allows_nothing_inline_and_nothing_from_elsewhere(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        for signed_in in (False, True):
            for path in PAGES:
                answer = await browser.http.get(path)
                policy = answer.headers["content-security-policy"]
                assert "default-src 'none'" in policy
                assert "frame-ancestors 'none'" in policy
                assert "unsafe" not in policy
                assert answer.headers["cache-control"] == "no-store"
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["content-type"] == "text/html; charset=utf-8"
            if not signed_in:
                await browser.sign_in(service.one.ops.api_key)


async def test_files_are_kept_by_browsers_under_names_that_change_with_their_contents(
    database_url: str,
) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        page = await browser.get("/console/sign-in")
        address = page.one("link", rel="stylesheet").attributes["href"]
        answer = await browser.http.get(address)
        assert answer.headers["content-type"] == "text/css; charset=utf-8"
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        again = await browser.http.get(address, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        gone = await browser.http.get("/console/static/console-0123456789abcdef.css")
        assert gone.status_code == 404
        assert (await browser.http.get("/console/static/..%2f..%2fmain.py")).status_code == 404
