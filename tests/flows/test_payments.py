"""Tests of app/flows/payments and authorize: calls that are recorded together do not change each other's answers."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import insert

from app.flows.payments import PaymentCall
from app.flows.terminal import authorize
from app.store.tables import tariffs
from tests.api.service import Service, open_service, payment

pytestmark = pytest.mark.anyio

PATH = "/v1/payment-sessions"


async def together(service: Service, *bodies: Any) -> list[tuple[int, str]]:
    """Status and error code, or the session's reference, of calls that are made at once."""
    answers = await asyncio.gather(*(service.call("POST", PATH, body) for body in bodies))
    return [(a.status_code, a.json().get("code") or a.json()["authorization_reference"]) for a in answers]


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of calls in each statement."""
    sizes: list[int] = []
    record = authorize._record

    async def noted(context: Any, calls: Sequence[PaymentCall]) -> None:
        sizes.append(len(calls))
        await record(context, calls)

    monkeypatch.setattr(authorize, "_record", noted)
    return sizes


async def test_each_call_of_a_batch_gets_its_own_answer(database_url: str, batches: list[int]) -> None:
    async with open_service(database_url) as service:
        await service.authorize("101", "A-1")
        answers = await together(
            service,
            payment("102", "A-2"),
            payment("101", "A-1"),
            payment("103", "A-1"),
            payment("101", "A-4"),
            payment("999", "A-5"),
            payment("104", "A-6", authorization={"amount": 1}),
            payment("105", "A-7", authorization={"currency": "SEK"}),
            payment("106", "A-8"),
            payment("106", "A-9"),
            payment("107", "A-8"),
            payment("108", "A-10"),
        )
        assert max(batches) > 2, "several were recorded together"
        assert answers[:7] == [
            (201, "A-2"),
            (200, "A-1"),
            (409, "reference_conflict"),
            (409, "charge_point_busy"),
            (404, "charge_point_unknown"),
            (422, "amount_too_small"),
            (201, "A-7"),
        ]
        assert sorted(answers[7:]) == [
            (201, "A-10"),
            (201, "A-8"),
            (409, "charge_point_busy"),
            (409, "reference_conflict"),
        ]


async def test_what_is_broken_at_one_charge_point_fails_no_call_at_another(
    database_url: str, batches: list[int]
) -> None:
    async with open_service(database_url) as service:
        async with service.context.database.transaction() as connection:
            await connection.execute(
                insert(tariffs).values(
                    operator_id=service.one.operator.operator_id,
                    charge_point_id="105",
                    tariff={},
                    set_at=service.context.clock.now(),
                )
            )
        calls = [
            asyncio.create_task(service.call("POST", PATH, payment(str(101 + n), f"A-{n}"))) for n in range(8)
        ]
        await asyncio.wait(calls)
        answers = [0 if call.exception() else call.result().status_code for call in calls]
        assert [n for n, status in enumerate(answers) if status != 201] == [4]
        assert max(batches) > 2
