"""Tests of app/flows/known_keys, app/flows/deliveries, app/monta_access, app/api/http/rate_limits.

The wall clock is set back or forward: what a process remembers for a moment, and its limits, go by the monotonic clock.
"""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.api.http.rate_limits import RateLimits
from app.flows.admin import manage_keys, provision
from app.flows.context import operator_of
from app.monta_access import CHECKED_S
from app.store.operators.keys import KeyKind
from tests.api.service import Service, charge_entry, delivery, open_service, sign
from tests.shared_objects import ENDLESS
from tests.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)


async def pass_time(service: Service, seconds: float, *, step: timedelta) -> None:
    clock = service.context.clock
    assert isinstance(clock, VirtualClock)
    clock.step(step)
    await clock.advance(seconds)


async def test_F11_a_revoked_key_is_refused_within_a_second_though_the_clock_was_set_back(
    database_url: str,
) -> None:
    async with open_service(database_url) as service:
        assert (await service.call("GET", "/v1/charge-points")).status_code == 200
        await manage_keys.revoke_key(service.context, service.one.terminal.key_id, KeyKind.TERMINAL)
        await pass_time(service, 1, step=-HOUR)
        assert (await service.call("GET", "/v1/charge-points")).status_code == 401


async def test_F44_a_leaked_webhook_secret_is_refused_within_a_second_though_the_clock_was_set_back(
    database_url: str,
) -> None:
    async with open_service(database_url) as service:
        bodies = [delivery(charge_entry(number)) for number in (1, 2)]
        leaked = service.one.operator.webhook_secret
        assert (await service.webhook(bodies[0])).status_code == 200
        await provision.change_webhook_secret(service.context, service.one.operator.operator_id, at_once=True)
        await pass_time(service, 1, step=-HOUR)
        assert (await service.webhook(bodies[1], signature=sign(leaked, bodies[1]))).status_code == 401


@pytest.mark.parametrize("step", [-HOUR, HOUR])
async def test_an_operators_account_is_read_again_after_its_time_and_not_before(
    database_url: str, step: timedelta
) -> None:
    async with open_service(database_url) as service:
        operator_id = service.one.operator.operator_id
        await operator_of(service.context, operator_id)
        await pass_time(service, CHECKED_S / 2, step=step)
        assert service.context.monta.known(operator_id) is not None
        await pass_time(service, CHECKED_S / 2, step=-step)
        assert service.context.monta.known(operator_id) is None


async def test_calls_beyond_the_limit_are_refused_though_the_clock_was_set_forward(database_url: str) -> None:
    async with open_service(database_url) as service:
        service.apps[0].state.limits = RateLimits(replace(ENDLESS, calls=12), hold_back_s=0)
        answers = [(await service.call("GET", "/v1/charge-points")).status_code for _ in range(4)]
        await pass_time(service, 0, step=HOUR)
        answers.append((await service.call("GET", "/v1/charge-points")).status_code)
        await pass_time(service, 5, step=-HOUR)
        answers.append((await service.call("GET", "/v1/charge-points")).status_code)
    assert answers == [200, 200, 200, 429, 429, 200]
