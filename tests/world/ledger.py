"""Reads the rows after each commit, independently of the service, for the invariants."""

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import Any

import asyncpg

from app.domain.evidence.chain import Line, Linked, broken_at

STATE = """
SELECT due.at AS next_due, s.id, s.operator_id, s.terminal_id, s.charge_point_id, s.reference,
    s.authorized_minor AS held_minor, s.status,
    s.version, s.charge_id, s.occupies_charge_point,
    s.needs_attention, s.created_at, s.due_at, s.lease_owner, s.lease_until, s.lease_token,
    (s.body->'start'->>'intent_at')::timestamptz AS intent_at,
    (s.body->'charge'->'latest'->>'price')::numeric AS price,
    coalesce((s.body->'charge'->>'energy_wh')::bigint, 0) AS energy_wh,
    t.action, t.authorized_minor, t.to_capture_minor, t.to_release_minor, t.shortfall_minor, t.decided_at, t.basis
FROM (
    SELECT min(greatest(due_at, lease_until)) AS at FROM (
        SELECT due_at, lease_until FROM payment_sessions UNION ALL SELECT due_at, lease_until FROM operator_jobs
    ) AS rows WHERE due_at IS NOT NULL
) AS due LEFT JOIN payment_sessions s ON true LEFT JOIN settlements t ON t.session_id = s.id
"""
"""All sessions, and when the next work may begin: what is due, or withheld by a dead worker's lease. One
statement, since it runs after each commit that changed a row of these tables."""
LOOKED_AT = ("payment_sessions", "settlements", "operator_jobs", "orphans")
"""The tables of this statement, and of `read_orphans`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    action: str
    authorized: int
    to_capture: int
    to_release: int
    shortfall: int
    decided_at: datetime
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One payment session; amounts in minor units."""

    id: str
    operator_id: str
    terminal_id: str
    charge_point_id: str
    reference: str
    amount: int
    status: str
    version: int
    charge_id: str | None
    energy_wh: int
    occupies_charge_point: bool
    needs_attention: bool
    created_at: datetime
    due_at: datetime | None
    lease_owner: str | None
    lease_until: datetime | None
    lease_token: int
    settled: Settled | None
    intent_at: datetime | None
    """Of the last start."""
    price: Decimal | None
    """Of the charge as Monta's record showed it last, in major units."""

    @property
    def ended(self) -> bool:
        return self.status in ("completed", "not_started")


async def read_state(connection: asyncpg.Connection) -> tuple[dict[str, Row], datetime | None]:
    """The sessions by their ids, and the next due time."""
    records = await connection.fetch(STATE)
    return {r["id"]: _row(r) for r in records if r["id"] is not None}, records[0]["next_due"]


def _row(record: Any) -> Row:
    settled = None
    if record["action"] is not None:
        settled = Settled(
            action=record["action"],
            authorized=record["authorized_minor"],
            to_capture=record["to_capture_minor"],
            to_release=record["to_release_minor"],
            shortfall=record["shortfall_minor"],
            decided_at=record["decided_at"],
            basis=record["basis"],
        )
    return Row(
        id=record["id"],
        operator_id=record["operator_id"],
        terminal_id=record["terminal_id"],
        charge_point_id=record["charge_point_id"],
        reference=record["reference"],
        amount=record["held_minor"],
        status=record["status"],
        version=record["version"],
        charge_id=record["charge_id"],
        energy_wh=record["energy_wh"],
        occupies_charge_point=record["occupies_charge_point"],
        needs_attention=record["needs_attention"],
        created_at=record["created_at"],
        due_at=record["due_at"],
        lease_owner=record["lease_owner"],
        lease_until=record["lease_until"],
        lease_token=record["lease_token"],
        settled=settled,
        intent_at=record["intent_at"],
        price=record["price"],
    )


async def read_orphans(connection: asyncpg.Connection) -> set[str]:
    """Ids of the charges reported to operators as orphans; none is closed by hand."""
    records = await connection.fetch("SELECT charge_id FROM orphans WHERE closed_at IS NULL")
    return {record["charge_id"] for record in records}


UNNOTICED = """
SELECT s.reference FROM inbox i JOIN payment_sessions s
    ON s.operator_id = i.operator_id AND (s.charge_id = i.charge_id OR s.id = i.session_reference)
WHERE i.applied_at IS NULL AND (s.due_at IS NULL OR s.due_at > $1) AND s.lease_owner IS NULL AND s.failures = 0
LIMIT 5
"""


async def read_unnoticed(connection: asyncpg.Connection, now: datetime) -> list[str]:
    """Returns references of sessions with unapplied entries that are neither due nor worked on: a lost wake-up
    (F114)."""
    return [record["reference"] for record in await connection.fetch(UNNOTICED, now)]


CHAINS = """
SELECT s.id, s.body->'journal' AS head, j.at, j.kind, j.source, j.detail, j.hash
  FROM payment_sessions s JOIN journal j ON j.session_id = s.id ORDER BY s.id, j.id
"""


async def read_broken_chains(connection: asyncpg.Connection) -> list[str]:
    """Returns what does not fit in the journals' chains of hashes, by session."""
    broken = []
    for session_id, found in groupby(await connection.fetch(CHAINS), key=itemgetter("id")):
        records = list(found)
        head = json.loads(records[0]["head"])
        lines = [
            Linked(
                Line(
                    session_id=session_id,
                    number=number,
                    at=record["at"],
                    kind=record["kind"],
                    source=record["source"],
                    detail=json.loads(record["detail"]),
                ),
                record["hash"].hex(),
            )
            for number, record in enumerate(records, start=1)
        ]
        why = broken_at(lines, head=head["hash"], count=head["lines"])
        broken += [] if why is None else [f"{session_id}: {why}"]
    return broken
