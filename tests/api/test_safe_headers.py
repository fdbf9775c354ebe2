"""app/main.py: every answer says that browsers may neither run, frame, sniff nor keep it; names are sent once."""

import json

import httpx
import pytest

from tests.api.service import assert_problem, open_service, payment

pytestmark = pytest.mark.anyio

PATHS = ("/health/live", "/v1/payment-sessions?reference=A", "/v1/charge-points", "/nowhere", "/openapi.json")
YEAR_S = 365 * 24 * 3600


def directives(answer: httpx.Response) -> dict[str, str]:
    found = (each.strip().partition(" ") for each in answer.headers["content-security-policy"].split(";"))
    return {name: value for name, _, value in found}


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_every_answer_is_safe_in_a_browser(database_url: str, scheme: str) -> None:
    async with open_service(database_url) as service:
        transport = httpx.ASGITransport(service.apps[0])
        async with httpx.AsyncClient(transport=transport, base_url=f"{scheme}://tapwatt.test") as http:
            answers = [await http.get(path) for path in (*PATHS, "/docs", "/console/sign-in", "/console/x")]
            answers.append(await http.request("TRACE", "/health/live"))
            answers.append(await http.get("/v1/payment-sessions", headers={"Origin": "https://evil.test"}))
    assert answers[-2].status_code == 405
    for answer in answers:
        policy, path = directives(answer), answer.request.url.path
        assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'", path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["cache-control"] == "no-store", path
        assert answer.headers["referrer-policy"] in ("no-referrer", "same-origin"), path
        assert not [name for name in answer.headers if name.startswith("access-control-")], path
        assert answer.headers["content-type"] != "text/html", "a page names its encoding"
        assert answer.status_code not in range(300, 400), "plain http is not led to https: a key went over it"
        assert not {"server", "x-powered-by"} & set(answer.headers), path
        kept = answer.headers.get("strict-transport-security", "")
        assert kept == ("" if scheme == "http" else f"max-age={2 * YEAR_S}; includeSubDomains"), path


async def test_a_name_that_is_twice_in_a_query_is_refused(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize(reference="A-1")
        for path, key in (
            ("/v1/payment-sessions?reference=A-1&reference=A-2", service.one.terminal.api_key),
            (
                f"/v1/payment-sessions/{session['id']}?version=1&version=99&wait=1",
                service.one.terminal.api_key,
            ),
            ("/v1/ops/payment-sessions?status=charging&status=completed", service.all_ops.api_key),
            ("/v1/ops/orphans?closed=true&closed=false", service.all_ops.api_key),
        ):
            problem = assert_problem(await service.call("GET", path, key=key), 422, "invalid_request")
            assert problem["errors"] == [{"field": "query", "message": "has a name twice: send each once"}]
        for value in ("k", "other"):
            headers = [
                ("Authorization", f"Bearer {service.one.terminal.api_key}"),
                ("Content-Type", "application/json"),
                *(("Idempotency-Key", each) for each in ("k", value)),
            ]
            answer = await service.clients[0].post(
                "/v1/payment-sessions", content=json.dumps(payment("102", "A-9")), headers=headers
            )
            problem = assert_problem(answer, 422, "invalid_request")
            assert [error["field"] for error in problem["errors"]] == ["Idempotency-Key"]
        assert await service.count() == 1
        once = await service.call("GET", "/v1/payment-sessions?reference=A-1")
        assert [each["id"] for each in once.json()["data"]] == [session["id"]]
