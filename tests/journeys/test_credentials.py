"""Tests of app/flows/operator/check_credential.

F29: the operator's credential is revoked, or loses a scope, while cars charge.
"""

from datetime import timedelta

import pytest

from app.simulator.config import GATEWAY_SCOPES
from app.simulator.faults.catalog import FaultKind
from tests.journeys.checks import ended, minor, the_charge
from tests.journeys.rig import Rig, energy_tariff, open_rig

pytestmark = pytest.mark.anyio

LIMITED = GATEWAY_SCOPES | {"control-charging:write", "manage-webhooks:write"}


async def asked(rig: Rig, charge_point: int) -> int:
    """The status of a new authorization."""
    body = rig.payment(charge_point)
    return (await rig.call("POST", "/v1/payment-sessions", body=body)).status_code


async def problem(rig: Rig) -> str | None:
    answer = await rig.call("GET", "/v1/ops/summary", key=rig.ops.api_key)
    (operator,) = answer.json()["operators"]
    found: str | None = operator["access_problem"]
    return found


async def test_F29_a_revoked_credential_refuses_new_payments_and_the_running_one_ends_by_its_limit(
    database_url: str,
) -> None:
    async with open_rig(database_url, public_url=None) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 1000)
        await rig.pass_time(90)
        rig.monta.tokens.revoked = True
        await rig.pass_time(300)
        assert await asked(rig, 101) == 503
        assert await problem(rig) is not None
        assert (await rig.call("GET", "/v1/payment-sessions/" + session["id"])).status_code == 200
        rig.monta.tokens.revoked = False
        await rig.pass_time(90)
        assert await problem(rig) is None
        last = await ended(rig, session)
        assert last["settlement"]["amount_to_capture"] == 1000
        assert last["settlement"]["shortfall"] == minor(the_charge(rig).price) - 1000 <= 10
        assert await asked(rig, 101) == 201


async def test_F29_a_repeat_of_a_recorded_payment_is_answered_while_new_ones_are_refused(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        body = rig.payment(101)
        assert (await rig.call("POST", "/v1/payment-sessions", body=body)).status_code == 201
        await rig.pass_time(30)
        rig.monta.tokens.revoked = True
        await rig.pass_time(1200)
        assert await asked(rig, 102) == 503
        assert (await rig.call("POST", "/v1/payment-sessions", body=body)).status_code == 200


async def test_F29_credentials_that_are_refused_are_not_hammered_at_monta(database_url: str) -> None:
    async with open_rig(database_url, public_url=None) as rig:
        for point in (101, 102, 103):
            await rig.authorize(point, 3000)
        await rig.pass_time(60)
        rig.monta.tokens.revoked = True
        before = rig.calls("POST", "/auth/token")
        await rig.pass_time(300)
        assert 0 < rig.calls("POST", "/auth/token") - before <= 31


@pytest.mark.parametrize("gone", ["charge-transactions:read", "control-charging:write"])
async def test_F29_a_scope_that_is_gone_refuses_new_payments_until_it_is_back(
    database_url: str, gone: str
) -> None:
    async with open_rig(database_url, public_url=None) as rig:
        rig.monta.tokens.scopes, rig.monta.tokens.lists_permissions = LIMITED, True
        await rig.authorize(101, 3000)
        await rig.pass_time(60)
        rig.monta.tokens.scopes = LIMITED - {gone}
        assert await asked(rig, 102) == 201
        await rig.pass_time(300)
        assert await asked(rig, 103) == 503
        rig.monta.tokens.scopes = LIMITED
        await rig.pass_time(90)
        assert await asked(rig, 103) == 201


async def test_F29_a_single_refusal_closes_nothing(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        rig.monta.tokens.expire_access()
        assert await asked(rig, 101) == 201
        await rig.pass_time(5)
        assert await asked(rig, 102) == 201
        assert await problem(rig) is None


async def test_F29_an_outage_is_no_refusal(database_url: str) -> None:
    async with open_rig(database_url, public_url=None) as rig:
        now = rig.clock.now()
        rig.monta.faults.between(now, now + timedelta(minutes=30), FaultKind.UNAVAILABLE)
        assert await asked(rig, 101) == 201
        await rig.pass_time(600)
        assert await asked(rig, 102) == 201
        assert await problem(rig) is None
