"""Tests of app/flows/admin/provision.

A changed webhook secret: the previous one is accepted for an hour, not longer, and never when it has leaked.
"""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.domain.units.ids import OperatorId
from app.flows.admin import provision
from app.flows.admin.provision import SECRET_OVERLAP, SecretJustChanged
from app.flows.context import OperatorUnknown
from tests.api.service import Service, assert_problem, charge_entry, delivery, open_service, sign
from tests.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


async def pass_time(service: Service, passed: timedelta) -> None:
    assert isinstance(service.context.clock, VirtualClock)
    await service.context.clock.advance(passed.total_seconds())


async def change(service: Service, *, at_once: bool = False) -> str:
    operator_id = service.one.operator.operator_id
    return (
        await provision.change_webhook_secret(service.context, operator_id, at_once=at_once)
    ).webhook_secret


async def delivered(service: Service, secret: str, charge: int) -> int:
    body = delivery(charge_entry(charge))
    answer = await service.webhook(body, signature=sign(secret, body))
    if answer.status_code != 200:
        assert_problem(answer, 401, "bad_signature")
    return answer.status_code


async def test_F44_a_secret_that_was_changed_is_taken_for_an_hour_beside_the_new_one(
    database_url: str,
) -> None:
    async with open_service(database_url) as service:
        old = service.one.operator.webhook_secret
        new = await change(service)
        assert new != old
        assert [await delivered(service, secret, 1) for secret in (old, new)] == [200, 200]
        assert await delivered(service, service.other.operator.webhook_secret, 2) == 401
        await pass_time(service, SECRET_OVERLAP - timedelta(seconds=1))
        assert [await delivered(service, secret, 3) for secret in (old, new)] == [200, 200]
        await pass_time(service, timedelta(seconds=1))
        assert [await delivered(service, secret, 4) for secret in (old, new)] == [401, 200]
        newest = await change(service)
        assert [await delivered(service, s, 5) for s in (old, new, newest)] == [401, 200, 200]


async def test_F44_a_secret_that_leaked_is_refused_at_once(database_url: str) -> None:
    async with open_service(database_url) as service:
        old = service.one.operator.webhook_secret
        between = await change(service)
        new = await change(service, at_once=True)
        assert [await delivered(service, secret, 1) for secret in (old, between, new)] == [401, 401, 200]


async def test_F44_a_second_change_within_the_hour_loses_no_secret_that_monta_may_still_sign_with(
    database_url: str,
) -> None:
    async with open_service(database_url) as service:
        old = service.one.operator.webhook_secret
        tries = await asyncio.gather(*(change(service) for _ in range(3)), return_exceptions=True)
        (new,) = [made for made in tries if isinstance(made, str)]
        assert sum(isinstance(made, SecretJustChanged) for made in tries) == 2
        assert [await delivered(service, secret, 1) for secret in (old, new)] == [200, 200]
        with pytest.raises(OperatorUnknown):
            await provision.change_webhook_secret(service.context, OperatorId("op_none"), at_once=False)


async def test_F44_both_secrets_are_sealed_and_neither_is_in_a_repr(database_url: str) -> None:
    async with open_service(database_url) as service:
        old = service.one.operator.webhook_secret
        new = await change(service)
        async with service.context.database.transaction() as connection:
            operator = await service.context.operators.get(connection, service.one.operator.operator_id)
            rows = await connection.execute(text("SELECT * FROM operators"))
            kept = b"".join(v for row in rows for v in row if isinstance(v, bytes))
        assert operator is not None
        assert (operator.webhook_secret, operator.previous_webhook_secret) == (new, old)
        for secret in (old, new):
            assert secret.encode() not in kept
            assert secret not in repr(operator)
