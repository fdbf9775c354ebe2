"""Tests of app/store/db/secret_box.

F90: a process with another TAPWATT_SECRET_KEY answers 503, says what to do, and loses nothing.
"""

from dataclasses import replace

import httpx
import pytest
from sqlalchemy import text

from app.flows.context import Context
from app.main import create_app
from app.store.db.secret_box import SecretBox
from app.store.operators.operators import Operators
from app.store.operators.secret_keys import WrongSecretKey
from app.watcher import Watcher
from tests.api.service import Service, charge_entry, delivery, open_service, sign

pytestmark = pytest.mark.anyio


def with_wrong_key(service: Service) -> Context:
    box = SecretBox("another key, as long as it has to be, but not the one")
    return replace(service.context, operators=Operators(box))


async def count(service: Service, table: str) -> int:
    async with service.context.database.transaction() as connection:
        return int((await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())


async def test_F90_webhooks_are_answered_503_so_that_monta_sends_them_again(database_url: str) -> None:
    async with open_service(database_url) as service:
        operator = service.one.operator
        body = delivery(charge_entry(77, consumedKwh=1))
        headers = {"X-Monta-Signature": sign(operator.webhook_secret, body)}
        transport = httpx.ASGITransport(create_app(with_wrong_key(service)))
        async with httpx.AsyncClient(transport=transport, base_url="http://tapwatt.test") as client:
            answer = await client.post(operator.webhook_path, content=body, headers=headers)
            assert answer.status_code == 503
            assert "TAPWATT_SECRET_KEY" in answer.json()["detail"]
            assert await count(service, "inbox") == 0
            ready = await client.get("/health/ready")
            assert ready.status_code == 503
            assert "TAPWATT_SECRET_KEY" in ready.json()["checks"]["secrets"]
            ops = {"Authorization": f"Bearer {service.all_ops.api_key}"}
            summary = await client.get("/v1/ops/summary", headers=ops)
            assert summary.status_code == 200
            assert (await client.get("/metrics", headers=ops)).status_code == 200
        assert (await service.webhook(body)).status_code == 200
        assert await count(service, "inbox") == 1


async def test_F90_a_watcher_with_a_wrong_key_ends_and_has_touched_nothing(database_url: str) -> None:
    async with open_service(database_url) as service:
        await service.authorize()
        with pytest.raises(WrongSecretKey, match="TAPWATT_SECRET_KEY"):
            await Watcher(with_wrong_key(service), name="wrong").run()
        async with service.context.database.transaction() as connection:
            row = (
                await connection.execute(
                    text("SELECT lease_token, failures, needs_attention FROM payment_sessions")
                )
            ).one()
        assert tuple(row) == (0, 0, False)
