"""Tests of app/telemetry.

A whole journey at the finest log level: no secret and no card digit is in what was logged.
"""

import pytest
import structlog
from sqlalchemy import text

from app.simulator.faults.catalog import FaultKind
from app.store.operators import monta_access
from app.telemetry import configure_logging
from tests.build_context import SECRET_KEY
from tests.journeys.rig import Rig, open_rig

pytestmark = pytest.mark.anyio

LAST4, FINGERPRINT = "7391", "canary-fingerprint"


async def everything_secret(rig: Rig) -> dict[str, str]:
    async with rig.context.database.transaction() as connection:
        operator = await rig.context.operators.get(connection, rig.operator.operator_id)
        pair = await monta_access.load_tokens(
            connection, rig.operator.operator_id, rig.context.operators._box
        )
    assert operator is not None
    assert pair is not None
    return {
        "the key of the service": SECRET_KEY,
        "the client secret": operator.client_secret,
        "Monta's access token": pair.access,
        "Monta's refresh token": pair.refresh,
        "the webhook's secret": rig.operator.webhook_secret,
        "the webhook's address": rig.operator.webhook_path,
        "the terminal's key": rig.terminal.api_key,
        "the key of operations": rig.ops.api_key,
        "digits of the card": LAST4,
        "the card's fingerprint": FINGERPRINT,
    }


async def test_F91_no_secret_is_in_the_logs_of_a_journey_full_of_faults(
    database_url: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    configure_logging(level="debug", as_json=True)
    caplog.set_level("DEBUG")
    try:
        async with open_rig(database_url) as rig:
            rig.monta.faults.next("POST", "/charges", FaultKind.FAILED_THOUGH_DONE)
            rig.monta.faults.next("GET", "/charges", FaultKind.UNREACHABLE, times=2)
            rig.monta.faults.next("POST", "/auth/token", FaultKind.REFUSED)
            rig.monta.faults.forged_signatures = 2
            card = {"card": {"last4": LAST4, "fingerprint": FINGERPRINT, "brand": "visa"}}
            session = await rig.authorize(907, 2000, authorization=card)
            await rig.until(session["id"], "charging", "finishing", "completed")
            await rig.call("GET", "/v1/charge-points", key="x" + rig.terminal.api_key)
            async with rig.context.database.transaction() as connection:
                await connection.execute(text("UPDATE payment_sessions SET body = '{}'"))
            await rig.pass_time(30)
            async with rig.context.database.transaction() as connection:
                await connection.execute(text("UPDATE payment_sessions SET due_at = NULL"))
            secrets = await everything_secret(rig)
    finally:
        structlog.reset_defaults()
    captured = capsys.readouterr()
    logs = captured.out + captured.err + caplog.text
    assert "session_failed" in logs
    for name, secret in secrets.items():
        assert secret not in logs, name
