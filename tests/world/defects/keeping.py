"""Defects in what is kept: keys, rows, locks and leases."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from sqlalchemy import select

from app.domain.session.machine import Wait
from app.domain.session.payment_session import PaymentSession
from app.domain.units.ids import SessionId
from app.flows.context import Context
from app.flows.terminal import authorize
from app.flows.terminal.authorize import Recorded
from app.store.db.connection import Connection
from app.store.db.statements import is_any
from app.store.sessions import claimed, leases, payment_facts, payment_sessions
from app.store.sessions.claimed import Claimed
from app.store.sessions.leases import Lease
from app.store.sessions.payment_facts import PaymentFacts
from app.store.tables import payment_sessions as table
from tests.world.defects.planting import Defect, all_of, substitute
from tests.world.faults import service, site

NO_UNIQUE_KEYS = (
    "ALTER TABLE payment_sessions DROP CONSTRAINT uq_payment_sessions_reference_terminal_id_operator_id",
    "ALTER TABLE payment_sessions DROP CONSTRAINT uq_payment_sessions_terminal_id_idempotency_key_operator_id",
    "DROP INDEX uq_payment_sessions_active_charge_point",
    "ALTER TABLE holds DROP CONSTRAINT pk_holds",
)


async def _never_seen_before(*_: object) -> None:
    return None


async def _facts_as_if_new(connection: Connection, *how: Any) -> list[PaymentFacts]:
    return [replace(facts, is_known=False) for facts in await _LOAD_FACTS(connection, *how)]


_LOAD_FACTS = payment_facts.load


async def _lock_whoever(
    connection: Connection, session_id: SessionId, *, lease_token: int | None = None
) -> PaymentSession | None:
    await connection.execute(select(table.c.id).where(table.c.id == session_id).with_for_update())
    return await payment_sessions.get(connection, session_id)


async def _claims_of_whoever(
    connection: Connection, claims: Sequence[Lease], *, wait: bool
) -> dict[Lease, Claimed]:
    """Takes the token that the row has now for one's own."""
    ids = [claim.session_id for claim in claims]
    rows = select(table.c.id, table.c.lease_token).where(is_any(table.c.id, ids)).order_by(table.c.id)
    locked = await connection.execute(rows.with_for_update(skip_locked=not wait))
    theirs = [Lease(SessionId(id_), token, claims[0].operator_id) for id_, token in locked]
    found = await _LOCK_CLAIMED(connection, theirs, wait=wait)
    rows_by_id = {lease.session_id: row for lease, row in found.items()}
    return {claim: rows_by_id[claim.session_id] for claim in claims if claim.session_id in rows_by_id}


_LOCK_CLAIMED = claimed.lock


async def _claims_without_lock(
    connection: Connection, claims: Sequence[Lease], *, wait: bool
) -> dict[Lease, Claimed]:
    ids = [claim.session_id for claim in claims]
    tokens = select(table.c.id, table.c.lease_token).where(is_any(table.c.id, ids))
    mine = {(claim.session_id, claim.token): claim for claim in claims}
    held = {id_: mine[id_, token] for id_, token in await connection.execute(tokens) if (id_, token) in mine}
    given = {"operator": claims[0].operator_id, "sessions": list(held)}
    return {
        held[row["id"]]: Claimed(row, row["provider"], row["has_news"], row["has_polled"])
        for row in await connection.execute(claimed._LOAD, given)
    }


async def _read_without_lock(
    connection: Connection, session_id: SessionId, *, lease_token: int | None = None
) -> PaymentSession | None:
    return await payment_sessions.get(connection, session_id)


async def _claim_for_ever(connection: Connection, *, now: datetime, **how: Any) -> list[Lease]:
    """Makes leases endless."""
    return await _CLAIM(connection, **how | {"now": now, "until": now + timedelta(days=365)})


_CLAIM = leases.claim


def _released_for_ever(session: PaymentSession, wait: Wait) -> dict[str, object]:
    """Releases a session without its due time."""
    return {**_RELEASED(session, wait), "due_at": None, "stop_due_at": None}


_RELEASED = leases.released


_AUTHORIZE = authorize.authorize


async def _acknowledge_anyway(context: Context, terminal: Any, payment: Any) -> Recorded:
    """Ignores a failed commit."""
    kept: list[PaymentSession] = []
    made = authorize._new_session

    def noted(*args: Any) -> PaymentSession:
        kept.append(made(*args))
        return kept[-1]

    with ExitStack() as stack:
        substitute(authorize, "_new_session", noted)(stack)
        try:
            return await _AUTHORIZE(context, terminal, payment)
        except asyncpg.PostgresError:
            if not kept:
                raise
            return Recorded(kept[-1], replayed=False)


DEFECTS: tuple[Defect, ...] = (
    Defect(name="no unique keys", schema=NO_UNIQUE_KEYS, under=(site.impatience,), noticed_in=3),
    Defect(
        name="no look for an earlier call, and no unique keys",
        plant=all_of(
            substitute(authorize, "_earlier", _never_seen_before),
            substitute(payment_facts, "load", _facts_as_if_new),
        ),
        schema=NO_UNIQUE_KEYS,
        under=(site.impatience,),
    ),
    Defect(
        name="acknowledged though not committed",
        plant=substitute(authorize, "authorize", _acknowledge_anyway),
        under=(service.many_lost_commits,),
    ),
    Defect(
        name="no fencing",
        plant=all_of(
            substitute(payment_sessions, "lock", _lock_whoever),
            substitute(claimed, "lock", _claims_of_whoever),
        ),
        under=(service.long_freezes,),
        noticed_in=19,
    ),
    Defect(
        name="sessions are not locked",
        plant=all_of(
            substitute(payment_sessions, "lock", _read_without_lock),
            substitute(claimed, "lock", _claims_without_lock),
        ),
        under=(site.change_of_mind,),
        noticed_in=2,
    ),
    Defect(
        name="leases never run out",
        plant=substitute(leases, "claim", _claim_for_ever),
        under=(service.crashes,),
        noticed_in=6,
    ),
    Defect(name="no due time", plant=substitute(leases, "released", _released_for_ever), noticed_in=15),
)
