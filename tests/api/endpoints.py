"""Every endpoint of the application, and a valid call of each, for the tests that try keys and ids."""

import httpx
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from tests.api.service import Json, Service, payment

OPERATIONS = "/v1/ops/"
SESSION = "/payment-sessions/{id}"
REASON = {"reason": "test"}
BODIES: dict[str, Json] = {
    "/v1/payment-sessions": payment("102", "A-2"),
    "/v1/stop-requests": {"card_fingerprint": "c"},
    "/v1/payment-sessions/{id}/stop": {},
    "/v1/payment-sessions/{id}/captures": {"outcome": "captured", "amount": 1234, "reference": "r"},
    "/v1/payment-sessions/{id}/authorizations": {"reference": "T-1", "amount": 100},
    "/v1/terminal/status": {"state": "out_of_order"},
    "/v1/ops/payment-sessions/{id}/stop": REASON,
    "/v1/ops/payment-sessions/{id}/settle": {"amount": 1} | REASON,
    "/v1/ops/payment-sessions/{id}/close": {"amount": 1} | REASON,
    "/v1/ops/payment-sessions/{id}/attention/{code}/acknowledge": {"note": "seen"},
    "/v1/ops/orphans/{charge_id}/close": REASON,
}
"""What a valid call sends: an endpoint that writes and is not named here fails tests/api/test_scopes.py."""
QUERIES = {"/v1/payment-sessions": "?reference=A-1", "/v1/payment-sessions/{id}": "?wait=30&version=99"}

Endpoint = tuple[str, str]


def endpoints(app: FastAPI) -> list[Endpoint]:
    """Method and path template of every endpoint that needs a key of a terminal or of operations."""
    return sorted(
        (method, route.path)
        for route in iter_route_contexts(app.routes)
        if route.path is not None and route.path.startswith("/v1/")
        for method in route.methods or ()
        if not route.path.startswith("/v1/webhooks/")
    )


async def tried(
    service: Service,
    method: str,
    path: str,
    key: str,
    session_id: str,
    *,
    at_once: bool = False,
    charge_id: str = "77",
) -> httpx.Response:
    """The endpoint's answer to a valid call about this session."""
    filled = path.format(id=session_id, code="other", charge_id=charge_id)
    query = "" if at_once or method != "GET" else QUERIES.get(path, "")
    headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
    body = BODIES[path] if method != "GET" else None
    return await service.clients[0].request(method, filled + query, json=body, headers=headers)
