"""app/api/routes/well_known.py: the page of the API without a script, and where to report a weakness."""

import re
from datetime import datetime, timedelta

import httpx
import pytest

from app.main import create_app
from tests.api.service import Service, assert_problem, make_context, open_service
from tests.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


async def of_another_app(service: Service, path: str, **settings: object) -> httpx.Response:
    app = create_app(make_context(service.context.database, VirtualClock()), **settings)  # type: ignore[arg-type]
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://tapwatt.test") as client:
        return await client.get(path)


async def test_the_page_of_the_api_loads_nothing_and_runs_nothing(database_url: str) -> None:
    async with open_service(database_url) as service:
        answer = await service.clients[0].get("/docs")
        document = (await service.clients[0].get("/openapi.json")).json()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "script" not in answer.headers["content-security-policy"]
    page = answer.text
    assert not re.search(r"<script|<link|<img|<iframe|\son\w+=|url\(|@import|src=", page)
    assert set(re.findall(r"href='([^']*)'", page)) == {"/openapi.json"}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert f"{method.upper()} {path}" in page
            assert operation["summary"].replace("'", "&#x27;") in page


async def test_the_documentation_can_be_switched_off(database_url: str) -> None:
    async with open_service(database_url) as service:
        for path in ("/docs", "/openapi.json"):
            assert_problem(await of_another_app(service, path, docs=False), 404, "not_found")
        assert (await of_another_app(service, "/health/live", docs=False)).status_code == 200


async def test_a_contact_for_security_is_named_where_one_is_set(database_url: str) -> None:
    path = "/.well-known/security.txt"
    async with open_service(database_url) as service:
        assert_problem(await service.clients[0].get(path), 404, "not_found")
        answer = await of_another_app(service, path, security_contact="mailto:security@example.com")
        now = service.context.clock.now()
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    fields = dict(line.split(": ", 1) for line in answer.text.splitlines())
    assert fields["Contact"] == "mailto:security@example.com"
    assert now < datetime.fromisoformat(fields["Expires"]) < now + timedelta(days=365)
