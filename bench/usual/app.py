"""The usual way to write this service: FastAPI, pydantic, the async ORM, a SELECT and an UPDATE an entry."""

import hashlib
import hmac
import os
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from bench.usual.models import ChargePoint, Operator, PaymentSession, Terminal
from bench.usual.schemas import Delivery, Page, PaymentSessionIn, PaymentSessionOut

engine = create_async_engine(os.environ["USUAL_DATABASE_URL"], pool_size=20, max_overflow=10)
make_session = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


async def database() -> AsyncIterator[AsyncSession]:
    async with make_session() as session:
        yield session


Database = Annotated[AsyncSession, Depends(database)]


async def terminal_of(db: Database, authorization: Annotated[str, Header()]) -> Terminal:
    key_hash = hashlib.sha256(authorization.removeprefix("Bearer ").encode()).hexdigest()
    terminal = await db.scalar(select(Terminal).where(Terminal.key_hash == key_hash))
    if terminal is None:
        raise HTTPException(401)
    return terminal


Caller = Annotated[Terminal, Depends(terminal_of)]


@app.get("/health")
async def health() -> dict[str, str]:
    return {}


@app.post("/webhooks/{endpoint}")
async def webhook(
    endpoint: str, request: Request, db: Database, x_monta_signature: Annotated[str, Header()]
) -> dict[str, str]:
    body = await request.body()
    operator = await db.scalar(select(Operator).where(Operator.webhook_endpoint == endpoint))
    if operator is None:
        raise HTTPException(404)
    expected = hmac.new(operator.webhook_secret.encode(), body, hashlib.sha1).hexdigest()
    if not hmac.compare_digest(f"sha1={expected}", x_monta_signature):
        raise HTTPException(401)
    for entry in Delivery.model_validate_json(body).entries:
        charge = entry.payload
        session = await db.scalar(select(PaymentSession).where(PaymentSession.charge_id == str(charge.id)))
        if session is None or (session.charge_updated_at and charge.updated_at <= session.charge_updated_at):
            continue
        session.charge_state = charge.state
        session.charge_updated_at = charge.updated_at
        session.energy_wh = max(session.energy_wh, int((charge.consumed_kwh or 0) * 1000))
        session.price = charge.price
        session.amount_used = int((charge.price or 0) * 100)
        session.version += 1
        session.updated_at = datetime.now(UTC)
        if session.amount_used >= session.amount_authorized:
            session.status = "stopping"
        await db.flush()
    await db.commit()
    return {}


@app.post("/payment-sessions", status_code=201, response_model=PaymentSessionOut)
async def authorize(body: PaymentSessionIn, db: Database, terminal: Caller) -> PaymentSession:
    held = body.authorization
    known = await db.scalar(select(PaymentSession).where(PaymentSession.reference == held.reference))
    if known is not None:
        return known
    point = await db.get(ChargePoint, body.charge_point_id)
    if point is None or point.terminal_id != terminal.id:
        raise HTTPException(404)
    busy = select(PaymentSession.id).where(
        PaymentSession.charge_point_id == point.id, PaymentSession.status.not_in(("completed", "not_started"))
    )
    if await db.scalar(busy) is not None:
        raise HTTPException(409)
    now = datetime.now(UTC)
    session = PaymentSession(
        id=f"ps_{secrets.token_hex(13)}",
        operator_id=terminal.operator_id,
        terminal_id=terminal.id,
        charge_point_id=point.id,
        reference=held.reference,
        display_reference=secrets.token_hex(4).upper(),
        card_brand=held.card.brand,
        card_last4=held.card.last4,
        card_fingerprint=held.card.fingerprint,
        amount_authorized=held.amount,
        currency=held.currency,
        status="authorized",
        created_at=now,
        updated_at=now,
    )
    db.add(session)
    await db.commit()
    return session


@app.get("/payment-sessions/{session_id}", response_model=PaymentSessionOut)
async def one(session_id: str, db: Database, terminal: Caller) -> PaymentSession:
    session = await db.get(PaymentSession, session_id)
    if session is None or session.terminal_id != terminal.id:
        raise HTTPException(404)
    return session


@app.get("/ops/payment-sessions", response_model=Page)
async def page(
    db: Database,
    terminal: Caller,
    limit: Annotated[int, Query(le=200)] = 50,
    reference: str | None = None,
    status: str | None = None,
) -> dict[str, list[PaymentSession]]:
    query = select(PaymentSession).order_by(PaymentSession.created_at.desc(), PaymentSession.id.desc())
    if reference is not None:
        query = query.where(PaymentSession.reference == reference)
    if status is not None:
        query = query.where(PaymentSession.status == status)
    return {"data": list(await db.scalars(query.limit(limit)))}
