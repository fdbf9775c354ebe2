"""app/telemetry: Canaries: no secret and no card number ever appears in logs, answers or reprs (F91)."""

from dataclasses import fields
from typing import Any

import httpx
import pytest

from app.domain.units.ids import KeyId
from app.flows.admin.provision import NewOperator
from app.flows.make_key import AddedKey
from app.main import create_app
from app.monta.ports import Token
from app.store.db.database import Database
from app.store.operators import monta_access
from app.telemetry import mask_secrets
from tests.api.service import (
    CLIENT_SECRET,
    Service,
    charge_entry,
    delivery,
    make_context,
    open_service,
    payment,
)
from tests.build_context import SECRET_KEY
from tests.postgres import as_superuser
from tests.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

PAN = "4111111111111111"


async def everything_that_can_go_wrong(service: Service) -> str:
    """Every endpoint, with right and wrong input; returns all answers."""
    one = service.one
    bodies: list[Any] = [
        payment(),
        payment(),
        payment("102"),
        payment(reference=PAN),
        payment("999", "B"),
        {},
        [],
    ]
    said = [await service.call("POST", "/v1/payment-sessions", body) for body in bodies]
    session = said[0].json()["id"]
    endpoints = [
        ("GET", f"/v1/payment-sessions/{session}"),
        ("POST", f"/v1/payment-sessions/{session}/stop"),
        ("POST", f"/v1/payment-sessions/{session}/captures"),
        ("GET", "/v1/charge-points"),
        ("GET", f"/v1/payment-sessions/{one.terminal.api_key}"),
        ("GET", "/v1/payment-sessions?reference=x"),
        ("GET", "/v1/ops/summary"),
        ("GET", "/v1/ops/payment-sessions"),
        ("GET", f"/v1/ops/payment-sessions/{session}/journal"),
    ]
    keys = (None, one.ops.api_key, one.terminal.api_key + "x", service.all_ops.api_key)
    said += [await service.call(method, path, key=key) for method, path in endpoints for key in keys]
    for body_bytes, signature in ((delivery(charge_entry(5)), None), (b"{", None), (b"{}", "sha1=00")):
        said.append(await service.webhook(body_bytes, signature=signature))
    said += [await service.call("GET", p) for p in ("/metrics", "/health/ready", "/openapi.json", "/docs")]

    async def crash() -> None:
        secret, key, number = CLIENT_SECRET, one.terminal.api_key, PAN
        raise RuntimeError(f"something of {len(secret + key + number)} characters")

    service.apps[0].add_api_route("/crash", crash)
    service.apps[0].add_api_route(service.one.operator.webhook_path, crash)
    said.append(await service.call("GET", service.one.operator.webhook_path))
    said.append(await service.call("GET", "/crash"))
    async with service.context.database.transaction() as connection:
        operators = await service.context.operators.all(connection)
        pair = await monta_access.load_tokens(
            connection, one.operator.operator_id, service.context.operators._box
        )
    assert pair is None
    shown = [service.context, operators, one, service.all_ops, service.context.monta.of(operators[0])]
    return "".join(a.text + str(a.headers) for a in said) + "".join(map(repr, shown))


async def test_no_secret_is_ever_shown(
    database_url: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with open_service(database_url) as service:
        said = await everything_that_can_go_wrong(service)
        await service.context.database.close()
        secrets = {
            "the key of the service": SECRET_KEY,
            "the client secret": CLIENT_SECRET,
            "a terminal's key": service.one.terminal.api_key,
            "a key of operations": service.all_ops.api_key,
            "a webhook's secret": service.one.operator.webhook_secret,
            "a webhook's address": service.one.operator.webhook_path,
            "a card number": PAN,
        }
    captured = capsys.readouterr()
    logs = captured.out + captured.err + caplog.text
    assert "request_failed" in logs, "the crash was logged"
    for name, secret in secrets.items():
        assert secret not in said, name
        assert secret not in logs, name


async def test_the_answers_of_a_service_whose_database_refuses_show_nothing(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "tw_terminal_canary-key"
    database = Database(as_superuser(database_url).replace("postgres@", "nobody:canary-password@"))
    app = create_app(make_context(database, VirtualClock()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tapwatt.test") as http:
        headers = {"Authorization": f"Bearer {key}"}
        answer = await http.post("/v1/payment-sessions", json=payment(), headers=headers)
    await database.close()
    assert answer.status_code == 503
    captured = capsys.readouterr()
    assert "database_trouble" in captured.err
    for secret in ("canary-password", key):
        assert secret not in answer.text + captured.out + captured.err


async def test_what_is_logged_under_a_secrets_name_is_masked() -> None:
    event = {
        "event": "x",
        "client_secret": "canary",
        "accessToken": "canary",
        "api_key": "canary",
        "id": "ps_1",
    }
    assert "canary" not in str(mask_secrets(None, "info", dict(event)))
    assert mask_secrets(None, "info", dict(event))["id"] == "ps_1"


async def test_values_that_hold_a_secret_leave_it_out_of_their_repr() -> None:
    shown = repr(AddedKey("trm_1", "canary", KeyId("key_1"))) + repr(
        NewOperator(name="n", monta_url="u", client_id="c", client_secret="canary", paying_team_id="1")
    )
    assert "canary" not in shown
    hidden = {f.name for kind in (AddedKey, NewOperator) for f in fields(kind) if not f.repr}
    assert hidden == {"api_key", "client_secret"}
    assert Token.__repr__ is not object.__repr__
