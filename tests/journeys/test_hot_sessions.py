"""Tests of app/flows/session/advance, app/store/sessions/leases.

F114: real concurrency. Signed webhooks by many writers, watchers without pauses, sessions that all of them want.

Elsewhere time is virtual and transactions hardly ever wait for each other's locks; here they always do.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.clock import SystemClock
from app.domain.charging.charge import ChargeReport, ChargeState, merge
from app.domain.session.machine import Change
from app.domain.session.payment_session import Authorization, Card, PaymentSession, Start, Status
from app.domain.units.ids import ChargeId, ChargePointId
from app.flows.admin import provision
from app.flows.context import Context
from app.store.sessions import payment_sessions, recording
from app.store.sessions.recording import NewPayment
from app.watcher import Watcher
from tests.api.service import charge_entry, delivery, make_context, sign
from tests.conftest import Sized
from tests.shared_objects import lent_app, lent_database

pytestmark = pytest.mark.anyio

SESSIONS = 40
WRITERS = 16
BATCH = 10
WATCHERS = 2
PLACES = 8
"""Of each watcher."""
QUIET_S = 0.5
"""Silence at the end: a session that was woken has been advanced by then, unless it must still wait."""
FIRST_CHARGE = 7000
LOST = text(
    "SELECT s.id, count(*) FROM inbox i JOIN payment_sessions s ON s.operator_id = i.operator_id"
    " AND (s.id = i.session_reference OR s.charge_id = i.charge_id)"
    " WHERE i.applied_at IS NULL AND s.lease_until IS NULL AND (s.due_at IS NULL OR s.due_at > :now)"
    " GROUP BY s.id"
)
"""Sessions with unread reports, not due before their own next due time: lost wake-ups."""


class Depot:
    """Many running sessions of one operator, its webhook, and the watchers."""

    def __init__(self, context: Context, http: httpx.AsyncClient, operator: provision.AddedOperator) -> None:
        self.context = context
        self.http = http
        self.operator = operator
        self.sessions: list[PaymentSession] = []
        self.energy = dict.fromkeys(range(SESSIONS), 0.1)

    async def fill(self) -> None:
        points = [ChargePointId(str(500 + n)) for n in range(SESSIONS)]
        terminal = await provision.add_terminal(
            self.context, self.operator.operator_id, provider="tapwatt", name="depot", charge_point_ids=points
        )
        now = self.context.clock.now()
        for n, point in enumerate(points):
            session = PaymentSession(
                id=self.context.ids.session_id(),
                operator_id=self.operator.operator_id,
                terminal_id=terminal.id,  # type: ignore[arg-type]
                charge_point_id=point,
                display_reference="K7QM-4TXP",
                authorization=Authorization(
                    reference=f"A-{n}", amount_minor=5000, currency="EUR", card=Card(last4="4242")
                ),
                created_at=now,
                updated_at=now,
                start=Start(deadline=now + timedelta(seconds=300)),
            )
            await self._run(session, FIRST_CHARGE + n, now)

    async def _run(self, session: PaymentSession, charge_id: int, now: datetime) -> None:
        report = ChargeReport(
            id=ChargeId(str(charge_id)),
            state=ChargeState.CHARGING,
            seen_at=now,
            updated_at=now,
            energy_wh=100,
        )
        async with self.context.database.transaction() as connection:
            change = Change(session)
            new = NewPayment(change=change, request_hash=b"", idempotency_key=None)
            assert await recording.record(connection, [new])
            before = await payment_sessions.lock(connection, session.id)
            assert before is not None
            running = replace(
                before, status=Status.CHARGING, charge=merge(None, report, by_rest=True), power_bound_w=11_000
            )
            sealer = self.context.sealer
            self.sessions.append(
                await payment_sessions.save(connection, before, Change(running), now, sealer)
            )

    def news(self, chance: random.Random) -> bytes:
        """Ten entries, each of another session: half name the session, half the charge only."""
        return delivery(*(self._entry(n, chance) for n in chance.sample(range(SESSIONS), BATCH)))

    def _entry(self, n: int, chance: random.Random) -> dict[str, Any]:
        self.energy[n] += 0.0001
        named = {"partnerExternalId": self.sessions[n].id} if chance.random() < 0.5 else {}
        now = self.context.clock.now().astimezone(UTC).isoformat()
        payload: dict[str, Any] = {"consumedKwh": round(self.energy[n], 4), "updatedAt": now} | named
        return charge_entry(FIRST_CHARGE + n, **payload) | {"eventTime": now}

    async def deliver(self, body: bytes) -> bool:
        """Whether it was accepted: a refused delivery has not happened, and Monta would repeat it."""
        headers = {"X-Monta-Signature": sign(self.operator.webhook_secret, body)}
        answer = await self.http.post(self.operator.webhook_path, content=body, headers=headers)
        assert answer.status_code in (200, 503), answer.text  # 503: it waited too long for so many rows
        return answer.status_code == 200

    async def lost(self) -> dict[str, int]:
        async with self.context.database.transaction() as connection:
            rows = await connection.execute(LOST, {"now": self.context.clock.now()})
            return {row[0]: row[1] for row in rows}


@asynccontextmanager
async def depot(database_url: str) -> AsyncIterator[Depot]:
    async with lent_database(database_url, pool_size=WRITERS + 8) as database:
        context = make_context(database, SystemClock(), virtual=False)
        new = provision.NewOperator(
            name="Nordlade",
            monta_url="https://monta.test/api/v1",
            client_id="client",
            client_secret="secret",
            paying_team_id="11",
        )
        operator = await provision.add_operator(context, new)
        with lent_app(context) as app:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://tapwatt.test") as http:
                depot = Depot(context, http, operator)
                await depot.fill()
                yield depot


async def test_F114_after_a_storm_of_news_none_is_left_that_no_watcher_will_look_at(
    database_url: str, sized: Sized
) -> None:
    deliveries = sized(6, 300)
    async with depot(database_url) as here:
        watchers = [Watcher(here.context, name=f"w{n}", concurrency=PLACES) for n in range(WATCHERS)]
        watching = [asyncio.create_task(watcher.run()) for watcher in watchers]

        async def write(number: int) -> int:
            chance = random.Random(number)
            return sum([await here.deliver(here.news(chance)) for _ in range(deliveries)])

        taken = sum(await asyncio.gather(*(write(n) for n in range(WRITERS))))
        await asyncio.sleep(QUIET_S)
        lost = await here.lost()
        for watcher in watchers:
            watcher.stop()
        await asyncio.gather(*watching)
        assert taken > WRITERS * deliveries / 2, "too little was taken: this shows nothing"
        assert lost == {}, f"after {taken} deliveries"
