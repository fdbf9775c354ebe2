"""Rows that store tests begin with: operators, terminals, sessions and their ends."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.domain.charging.charge import ChargeReport, ChargeState, merge
from app.domain.session.machine import Change, Source
from app.domain.session.payment_session import Authorization, Card, PaymentSession, Start, Status
from app.domain.session.settlement import settle
from app.domain.session.states.journal import JournalKind
from app.domain.session.states.kept_readings import Allowed
from app.domain.units.ids import ChargeId, ChargePointId, KeyId, OperatorId, SessionId, TerminalId
from app.store.db.database import Database
from app.store.db.secret_box import SecretBox
from app.store.operators import keys, terminals
from app.store.operators.keys import ApiKey, KeyKind
from app.store.operators.operators import Operator, Operators
from app.store.operators.terminals import Terminal
from app.store.sessions import payment_sessions, recording
from app.store.sessions.recording import NewPayment

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
OP_ONE, OP_OTHER = OperatorId("op_one"), OperatorId("op_other")
TRM_ONE, TRM_OTHER = TerminalId("trm_one"), TerminalId("trm_other")
SECRET_KEY = "for-tests-Vq7nX2kM9sD4wL1zR8cT5bG3"
SEALER = SecretBox(SECRET_KEY).sealer
ALLOWED = Allowed(
    reference=None,
    said="as ever",
    energy_wh=100,
    at=NOW,
    power_w=3_600_000,
    shown_price=Decimal(0),
    price=Decimal(0),
    price_per_wh=Decimal(0),
    price_per_s=Decimal(0),
    most_price=Decimal(0),
    most_wh=10**6,
    step_wh=10**6,
    skew_s=5,
    due_at=NOW + timedelta(hours=1),
    stop_at=NOW + timedelta(hours=1),
    silent_after=timedelta(seconds=72),
)
"""Readings of almost any energy are kept for an hour."""


def operator(operator_id: OperatorId = OP_ONE) -> Operator:
    return Operator(
        id=operator_id,
        name="Nordlade",
        monta_url="https://monta.test/api/v1",
        client_id="client",
        client_secret="the client secret",
        paying_team_id="11",
        webhook_endpoint_id=f"wh_{operator_id}",
        webhook_secret="the webhook secret",
    )


def terminal_key(terminal: Terminal, key_id: str | None = None) -> ApiKey:
    return ApiKey(
        id=KeyId(key_id or f"key_{terminal.id}"),
        kind=KeyKind.TERMINAL,
        operator_id=terminal.operator_id,
        terminal_id=terminal.id,
        name="first",
        created_at=NOW,
    )


@asynccontextmanager
async def provisioned(database_url: str) -> AsyncIterator[Database]:
    """A database with two operators, each with one terminal for the charge points 101 to 104."""
    database = Database(database_url)
    keep = Operators(SecretBox(SECRET_KEY))
    points = [ChargePointId(str(n)) for n in range(101, 105)]
    try:
        async with database.transaction() as connection:
            for op, trm in ((OP_ONE, TRM_ONE), (OP_OTHER, TRM_OTHER)):
                await keep.add(connection, operator(op), NOW)
                terminal = Terminal(trm, op, "tapwatt", "lane")
                await terminals.add_terminal(connection, terminal, NOW)
                await keys.add(connection, (terminal_key(terminal), keys.key_hash(f"key of {trm}")))
                await terminals.assign(connection, terminal, points)
        yield database
    finally:
        await database.close()


def a_session(
    name: str = "a",
    *,
    charge_point: str = "101",
    reference: str | None = None,
    terminal: TerminalId = TRM_ONE,
    operator_id: OperatorId = OP_ONE,
    amount_minor: int = 2000,
    at: datetime = NOW,
    fingerprint: str | None = None,
) -> PaymentSession:
    return PaymentSession(
        id=SessionId(f"ps_{name}"),
        operator_id=operator_id,
        terminal_id=terminal,
        charge_point_id=ChargePointId(charge_point),
        display_reference="K7QM-4TXP",
        authorization=Authorization(
            reference=reference or f"A-{name}",
            amount_minor=amount_minor,
            currency="EUR",
            card=Card(last4="4242", fingerprint=fingerprint),
        ),
        created_at=at,
        updated_at=at,
        start=Start(deadline=at + timedelta(seconds=300)),
    )


async def record(
    database: Database, session: PaymentSession, *, key: str | None = None, contents: bytes = b"same"
) -> bool:
    change = Change(session).note(JournalKind.PAYMENT_AUTHORIZED, Source.TERMINAL)
    async with database.transaction() as connection:
        new = NewPayment(change=change, request_hash=contents, idempotency_key=key)
        return bool(await recording.record(connection, [new]))


async def change(
    database: Database, before: PaymentSession, after: PaymentSession, at: datetime = NOW
) -> PaymentSession:
    """Lock, save, commit."""
    async with database.transaction() as connection:
        locked = await payment_sessions.lock(connection, before.id)
        assert locked is not None
        return await payment_sessions.save(connection, locked, Change(after), at, SEALER)


def with_charge(session: PaymentSession, charge_id: str, energy_wh: int = 0) -> PaymentSession:
    report = ChargeReport(
        id=ChargeId(charge_id),
        state=ChargeState.CHARGING,
        seen_at=NOW,
        updated_at=NOW,
        energy_wh=energy_wh,
    )
    return replace(session, status=Status.CHARGING, charge=merge(session.charge, report, by_rest=True))


def settled(session: PaymentSession, price_minor: int, at: datetime = NOW) -> PaymentSession:
    settlement = settle(
        session.authorization.amount_minor,
        price_minor,
        energy_wh=2500,
        at=at,
        deadline=at + timedelta(days=2),
        session_date=at,
    )
    return replace(session, status=Status.COMPLETED, settlement=settlement)


def ids_of(sessions: Sequence[PaymentSession]) -> list[str]:
    return [s.id for s in sessions]
