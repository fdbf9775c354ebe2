"""Tests of app/console/routes.

Every address of the console, by everyone who may not: other operators' keys, keys that may only read, sessions that are
over, forms that are no form of the session. Nothing is shown or changed, and the security log has a line.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import text
from starlette.types import Message
from structlog.testing import capture_logs

from app.api.http.rate_limits import Quotas, RateLimits
from app.console.http.signed_in import COOKIE
from app.domain.units.ids import OperatorId
from app.flows.admin.manage_keys import add_ops_key
from app.security_log import WINDOW_S
from app.store.operators.keys import Role
from tests.api.service import LOOK, Json, Service, open_service, payment, wait
from tests.console.browser import FORM, Browser, opened
from tests.row_digests import contents

pytestmark = pytest.mark.anyio

PREFIX = "/console"
STREAM = "/console/live/stream"
OPEN_TO_ALL = {"/console/", "/console/sign-in", "/console/static/{address}", "/console/{rest:path}"}
"""They show nothing of anyone: the sign-in, files, and "there is nothing under this address"."""
OF_EVERY_KEY = {"/console/sign-out", "/console/sign-ins/end"}
"""Forms that concern the key's own sessions only."""
WRONG_COOKIES = ("", "x", "tw_console_" + "0" * 43, "a" * 5000)
SECRETS = ("B-theirs", "theirs-card", "9998887776", "Other bay")
"""Of the other operator; ids are added."""


class Theirs:
    """What belongs to the other operator: ids by kind."""

    def __init__(self, session: Json, service: Service) -> None:
        self.session_id: str = session["id"]
        self.ids = {
            "session": session["id"],
            "display reference": session["display_reference"],
            "reference": "B-theirs",
            "charge": "9998887776",
            "operator": service.other.operator.operator_id,
            "terminal": service.other.terminal.id,
            "card": "theirs-card",
        }

    def shown_in(self, content: bytes) -> list[str]:
        words = (*self.ids.values(), *SECRETS)
        return [word for word in words if word.encode() in content]


def routes_of(app: FastAPI) -> list[tuple[str, str]]:
    return sorted(
        (method, route.path)
        for route in iter_route_contexts(app.routes)
        if route.path is not None and route.path.startswith(PREFIX)
        for method in route.methods or ()
        if method != "HEAD"
    )


def forms_of(app: FastAPI) -> list[str]:
    return [path for method, path in routes_of(app) if method == "POST" and path not in OPEN_TO_ALL]


def fields_of(csrf: str) -> dict[str, str]:
    """Every field that any form has, all of them right."""
    return {"csrf": csrf, "reason": "because", "amount": "1", "code": "other"}


def filled(path: str, session_id: str) -> str:
    return path.format(id=session_id)


async def csrf_of(browser: Browser) -> str:
    form = (await browser.get("/console")).one("form", action="/console/sign-out")
    return form.one("input", name="csrf").attributes["value"]


async def theirs_of(service: Service) -> Theirs:
    held = payment("101", "B-theirs", authorization={"card": {"fingerprint": "theirs-card", "last4": "4242"}})
    answer = await service.call("POST", "/v1/payment-sessions", held, key=service.other.terminal.api_key)
    assert answer.status_code == 201, answer.text
    session: Json = answer.json()
    await service.charging(session["id"], "9998887776")
    await service.change(session["id"], attention=LOOK)
    return Theirs(session, service)


@asynccontextmanager
async def signed_in(service: Service, *keys: str) -> AsyncIterator[list[Browser]]:
    async with AsyncExitStack() as stack:
        browsers = [await stack.enter_async_context(opened(service.apps[0])) for _ in keys]
        for browser, key in zip(browsers, keys, strict=True):
            await browser.sign_in(key)
        yield browsers


def security(logged: Any) -> list[str]:
    return [line["event"] for line in logged if line.get("stream") == "security"]


def with_limits(service: Service) -> None:
    """As many calls as a test likes: what a limit does is another test's."""
    service.apps[0].state.limits = RateLimits(Quotas(failed_keys=10**9, calls=10**9), hold_back_s=0)


async def test_no_page_shows_or_changes_anything_of_another_operator(database_url: str) -> None:
    async with open_service(database_url) as service:
        with_limits(service)
        theirs = await theirs_of(service)
        async with signed_in(service, service.one.ops.api_key) as (browser,):
            csrf, before, done = await csrf_of(browser), await contents(database_url), 0
            for kind, foreign_id in theirs.ids.items():
                noted = ["foreign_access"] if kind == "session" else []
                for method, path in routes_of(service.apps[0]):
                    if "{id}" not in path:
                        continue
                    with capture_logs() as logged:
                        answer = await sent(browser, method, filled(path, foreign_id), fields_of(csrf))
                    assert answer.status_code == 404, f"{method} {path} {foreign_id}"
                    assert theirs.shown_in(answer.content) == [], f"{method} {path}"
                    events = [event for event in security(logged) if event != "key_acts"]
                    assert events == noted, f"{method} {path}"
                    done += 1
                done += await try_queries(browser, service.apps[0], theirs, foreign_id)
            assert theirs.shown_in(await first_event(service.apps[0], browser)) == []
            assert await contents(database_url) == before
        async with signed_in(service, service.other.ops.api_key) as (owner,):
            assert theirs.session_id.encode() in await first_event(service.apps[0], owner)
            assert theirs.shown_in((await owner.http.get("/console/search.csv")).content), "it is there"
        assert done >= 150, done


async def sent(browser: Browser, method: str, path: str, fields: Mapping[str, str]) -> httpx.Response:
    browser.http.follow_redirects = False
    return await (browser.http.get(path) if method == "GET" else browser.post(path, fields))


FILTERS = ("q", "terminal_id", "charge_point_id", "cursor", "operator_id")
OTHERS = ("date", "done", "next", "operator_id", "session_id", "id")


async def try_queries(browser: Browser, app: FastAPI, theirs: Theirs, foreign_id: str) -> int:
    """Each page and file with an id as each parameter: nothing is found but what was sent."""
    done = 0
    for method, path in routes_of(app):
        if method != "GET" or path == STREAM or "{" in path:
            continue
        given = [[name] for name in FILTERS] if "search" in path else [OTHERS]
        for names in given:
            query = urlencode(dict.fromkeys(names, foreign_id) | {"month": "2026-11"})
            answer = await browser.http.get(f"{path}?{query}")
            assert answer.status_code in (200, 303, 308, 422), f"{path} {names}: {answer.status_code}"
            shown = set(theirs.shown_in(answer.content)) - {foreign_id}
            assert shown == set(), f"{path} {names}"
            done += 1
    return done


async def first_event(app: FastAPI, browser: Browser) -> bytes:
    """What the stream sends up to its first update; then the browser leaves."""
    cookie = "; ".join(f"{name}={value}" for name, value in browser.http.cookies.items())
    got, left = bytearray(), asyncio.Event()

    async def receive() -> Message:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        got.extend(message.get("body", b""))
        if b"event: update" in got:
            left.set()

    scope = {
        "type": "http", "method": "GET", "path": STREAM, "raw_path": STREAM.encode(), "query_string": b"",
        "headers": [(b"host", b"tapwatt.test"), (b"cookie", cookie.encode())], "scheme": "https",
        "client": ("127.0.0.1", 1), "server": ("tapwatt.test", 443), "http_version": "1.1",
    }  # fmt: skip
    await app(scope, receive, send)
    assert b"event: update" in got
    return bytes(got)


async def test_no_session_that_is_over_or_never_was_opens_a_page(database_url: str) -> None:
    async with open_service(database_url) as service:
        with_limits(service)
        theirs, app = await theirs_of(service), service.apps[0]
        revoked, expired, left = [await add_ops_key(service.context, None) for _ in range(3)]
        async with signed_in(service, revoked.api_key, expired.api_key, left.api_key) as browsers:
            tokens = [browser.http.cookies[f"__Host-{COOKIE}"] for browser in browsers]
            csrfs = [await csrf_of(browser) for browser in browsers]
            await browsers[2].post("/console/sign-out", {"csrf": csrfs[2]})
            await end_keys(service, revoked.id, expired.id)
            before, done = await contents(database_url), 0
            cookies = [(token, "0" * 64) for token in (*WRONG_COOKIES, service.one.ops.api_key)]
            for token, csrf in [*zip(tokens, csrfs, strict=True), *cookies]:
                await wait(service, timedelta(seconds=WINDOW_S))  # after which refusals are logged again
                for method, path in routes_of(app):
                    if path in OPEN_TO_ALL:
                        continue
                    with capture_logs() as logged:
                        answer = await with_cookie(app, method, filled(path, theirs.session_id), token, csrf)
                    assert answer.status_code == 303, f"{method} {path}"
                    assert answer.headers["location"].startswith("/console/sign-in")
                    assert answer.content == b""
                    noted = ["session_refused"] if token or method == "POST" else []
                    assert security(logged) == noted, f"{method} {path}"
                    assert not token or token not in str(logged)
                    done += 1
            assert await contents(database_url) == before
        assert done >= 100, done


async def end_keys(service: Service, revoked: str, expired: str) -> None:
    """Revokes one key, and lets another expire."""
    past = {"at": service.context.clock.now() - timedelta(seconds=1)}
    async with service.context.database.transaction() as connection:
        for column, key_id in (("revoked_at", revoked), ("expires_at", expired)):
            statement = text(f"UPDATE api_keys SET created_at = :at, {column} = :at WHERE id = :key")
            await connection.execute(statement, past | {"key": key_id})


async def with_cookie(app: FastAPI, method: str, path: str, token: str, csrf: str) -> httpx.Response:
    headers = dict(FORM) | ({"Cookie": f"__Host-{COOKIE}={token}"} if token else {})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://tapwatt.test") as http:
        return await http.request(
            method, path, headers=headers, content=urlencode(fields_of(csrf)) if method == "POST" else b""
        )


async def test_no_form_acts_for_a_key_that_only_reads_or_without_the_sessions_own_token(
    database_url: str,
) -> None:
    async with open_service(database_url) as service:
        with_limits(service)
        session, app, owner = await service.authorize(), service.apps[0], service.one
        reader = await add_ops_key(service.context, OperatorId(owner.operator.operator_id), role=Role.READ)
        keys = (owner.ops.api_key, owner.ops.api_key, service.other.ops.api_key, reader.api_key)
        async with signed_in(service, *keys) as (browser, same_key, other, reads):
            mine, before, done = await csrf_of(browser), await contents(database_url), 0
            forged = [
                ("", FORM), ("0" * 64, FORM), (mine[:-1], FORM), (mine.upper(), FORM),
                (await csrf_of(same_key), FORM), (await csrf_of(other), FORM),
                (mine, FORM | {"Sec-Fetch-Site": "cross-site"}), (mine, FORM | {"Sec-Fetch-Site": "same-site"}),
                (mine, FORM | {"Sec-Fetch-Site": "none"}),
                (mine, {"Content-Type": FORM["Content-Type"], "Origin": "https://evil.test"}),
                (mine, {"Content-Type": FORM["Content-Type"], "Origin": "null"}),
            ]  # fmt: skip
            for path in forms_of(app):
                service.context.security._windows.clear()  # so that each refusal is logged
                for csrf, headers in forged:
                    with capture_logs() as logged:
                        answer = await browser.post(filled(path, session["id"]), fields_of(csrf), headers)
                    assert answer.status_code == 403, f"{path} {headers}"
                    assert security(logged) == ["form_refused"], path
                    done += 1
                if path in OF_EVERY_KEY:
                    continue
                with capture_logs() as logged:
                    fields = fields_of(await csrf_of(reads))
                    answer = await reads.post(filled(path, session["id"]), fields)
                assert answer.status_code == 403, path
                assert security(logged) == ["key_acts"], path
                done += 1
            assert await contents(database_url) == before
            assert done >= 55, done


async def test_a_form_is_of_no_use_after_its_session_and_acts_once(database_url: str) -> None:
    """A form that was recorded, sent again: the act was done once, and after the sign-out it is no one's."""
    async with open_service(database_url) as service:
        session = await service.authorize()
        async with signed_in(service, service.one.ops.api_key) as (browser,):
            fields, path = fields_of(await csrf_of(browser)), f"/console/sessions/{session['id']}/close"
            assert (await browser.post(path, fields)).status_code == 200
            before = await contents(database_url)
            assert (await browser.post(path, fields)).status_code == 200
            assert await contents(database_url) == before
            await browser.post("/console/sign-out", fields)
            await browser.sign_in(service.one.ops.api_key)
            before = await contents(database_url)
            assert (await browser.post(path, fields)).status_code == 403
            assert await contents(database_url) == before


async def test_calls_of_the_console_count_against_the_limits_of_its_key(database_url: str) -> None:
    async with (
        open_service(database_url) as service,
        signed_in(service, service.one.ops.api_key) as (browser,),
    ):
        service.apps[0].state.limits = RateLimits(Quotas(calls=4), hold_back_s=0)
        assert (await browser.http.get("/console/search.csv")).status_code == 200
        with capture_logs() as logged:
            answer = await browser.http.get("/console/search.csv")
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0
        assert security(logged) == ["too_many_calls"]


async def test_cookies_of_no_session_count_as_failed_keys_and_a_valid_one_is_served_beside_them(
    database_url: str,
) -> None:
    async with (
        open_service(database_url) as service,
        signed_in(service, service.one.ops.api_key) as (browser,),
    ):
        service.apps[0].state.limits = RateLimits(Quotas(failed_keys=4), hold_back_s=0)
        guessed = [await with_cookie(service.apps[0], "GET", "/console", "guess", "") for _ in range(2)]
        assert [answer.status_code for answer in guessed] == [303, 429]
        assert (await browser.http.get("/console")).status_code == 200
        sign_in = await with_cookie(service.apps[0], "GET", "/console/sign-in", "guess", "")
        assert sign_in.status_code == 200, "who has an old cookie can sign in again"
