"""A browser without scripts: keeps cookies, follows redirects, sends the forms that pages have."""

import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import httpx
from fastapi import FastAPI

from tests.console.html import Node, parsed

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""Of this machine; None: there is none."""
ORIGIN = "https://tapwatt.test"
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}


class Browser:
    """One person at the console."""

    last: httpx.Response
    """The answer to the last form that was sent."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def get(self, path: str, status: int = 200) -> Node:
        answer = await self.http.get(path)
        assert answer.status_code == status, (path, answer.status_code, answer.text[:2000])
        return parsed(answer.text)

    async def send(self, form: Node, fields: Mapping[str, str] | None = None, status: int = 200) -> Node:
        """Fills a form in and sends it. Fails for a field that the form does not have."""
        given = {
            node.attributes["name"]: node.attributes.get("value", "")
            for node in form.all("input", "select")
            if "name" in node.attributes
        }
        assert set(fields or {}) <= set(given), (fields, given)
        answer = self.last = await self.post(form.attributes["action"], given | dict(fields or {}))
        assert answer.status_code == status, (answer.status_code, answer.text[:2000])
        return parsed(answer.text)

    async def post(
        self, path: str, fields: Mapping[str, str], headers: Mapping[str, str] = FORM
    ) -> httpx.Response:
        return await self.http.post(path, content=urlencode(fields), headers=dict(headers))

    async def sign_in(self, key: str, status: int = 200) -> Node:
        page = await self.get("/console/sign-in")
        return await self.send(page.one("form", action="/console/sign-in"), {"key": key}, status)


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[Browser]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, follow_redirects=True) as http:
        yield Browser(http)
