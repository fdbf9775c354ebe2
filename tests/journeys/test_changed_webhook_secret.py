"""Tests of app/flows/admin/provision, app/flows/operator/sync.

The webhook secret is changed while charges run: Monta gets the new one, and deliveries signed before are not lost.
"""

import json

import pytest
from sqlalchemy import text

from app.flows.admin import provision
from app.flows.admin.provision import SECRET_OVERLAP
from app.simulator.faults.catalog import FaultKind
from app.simulator.webhooks.outbox import signature
from tests.journeys.rig import Rig, open_rig

pytestmark = pytest.mark.anyio

PUT = ("PUT", "/webhooks/config")


async def delivered(rig: Rig, secret: str, number: int) -> int:
    entry = {"entityType": "site", "entityId": str(number), "eventType": "updated", "payload": {}}
    body = json.dumps({"entries": [entry], "pending": 0}).encode()
    headers = {"X-Monta-Signature": f"sha1={signature(secret, body)}", "Content-Type": "application/json"}
    return (await rig.http.post(rig.operator.webhook_path, content=body, headers=headers)).status_code


async def test_F44_monta_gets_a_changed_secret_as_soon_as_it_answers_and_no_delivery_is_refused_meanwhile(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        old, before = rig.operator.webhook_secret, rig.calls(*PUT)
        session = await rig.authorize(106, 5000)
        await rig.until(session["id"], "charging")
        rig.monta.faults.next(*PUT, FaultKind.UNAVAILABLE, times=1)
        changed = await provision.change_webhook_secret(rig.context, rig.operator.operator_id, at_once=False)

        await rig.pass_time(5)
        assert rig.calls(*PUT) == before + 1
        assert await delivered(rig, old, 1) == 200
        await rig.pass_time(90)
        assert rig.calls(*PUT) == before + 2
        assert [await delivered(rig, secret, 2) for secret in (old, changed.webhook_secret)] == [200, 200]
        assert {sent.status for sent in rig.monta.deliveries} == {200}
        assert (await rig.session(session["id"]))["energy_wh"] > 0

        await rig.pass_time(SECRET_OVERLAP.total_seconds() + 900)
        assert [await delivered(rig, secret, 3) for secret in (old, changed.webhook_secret)] == [401, 200]
        assert rig.calls(*PUT) == before + 2, "once told, it is not told again"
        async with rig.context.database.transaction() as connection:
            row = (await connection.execute(text(KEPT))).one()
        assert tuple(row) == (None, None, None, None), (
            "no problem is reported, and the old secret is forgotten"
        )


KEPT = """
    SELECT previous_webhook_secret, previous_webhook_secret_until, webhook_secret_pending_since, webhook_mended_at
    FROM operators
"""
