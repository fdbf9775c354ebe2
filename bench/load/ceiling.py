"""The ceiling: asyncpg alone with set-based statements, without HTTP, signatures or JSON."""

import asyncio
import random
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg

Job = dict[str, Any]

SCHEMA = """
CREATE TABLE IF NOT EXISTS running (
    charge_id text PRIMARY KEY, session_id text NOT NULL, operator_id text NOT NULL, energy_wh bigint NOT NULL,
    price numeric NOT NULL, state text NOT NULL, updated_at timestamptz NOT NULL, plan_wh bigint NOT NULL,
    plan_at timestamptz NOT NULL, bound_w bigint NOT NULL, due_at timestamptz NOT NULL, body bytea NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS running_due ON running (due_at);
CREATE TABLE IF NOT EXISTS deliveries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, received_at timestamptz NOT NULL, body bytea NOT NULL
);
CREATE TABLE IF NOT EXISTS sessions (
    id text PRIMARY KEY, reference text NOT NULL UNIQUE, created_at timestamptz NOT NULL, body bytea NOT NULL
);
CREATE INDEX IF NOT EXISTS sessions_created ON sessions (created_at, id);
TRUNCATE running, deliveries, sessions;
INSERT INTO running SELECT (700000000000000000 + i)::text, 'ps_' || i, 'op_1', 0, 0, 'charging', now() - interval '1 h',
    0, now() - interval '1 min', 300000, now() + interval '1 h', repeat('x', 700)::bytea FROM generate_series(0, 9999) i;
INSERT INTO sessions SELECT 'ps_' || i, 'R' || i, now(), repeat('x', 1500)::bytea FROM generate_series(0, 9999) i;
ANALYZE;
"""
ROWS = 10_000
MERGE = """
WITH kept AS (INSERT INTO deliveries (received_at, body) SELECT $1, b FROM unnest($2::bytea[]) b),
     news AS (SELECT * FROM unnest($3::text[], $4::bigint[], $5::numeric[], $6::timestamptz[])
              AS n (charge_id, energy_wh, price, updated_at))
UPDATE running r SET
    energy_wh = greatest(r.energy_wh, n.energy_wh), price = n.price, updated_at = n.updated_at,
    due_at = CASE WHEN n.energy_wh <= r.plan_wh + r.bound_w * extract(epoch FROM n.updated_at - r.plan_at) / 3600
                  THEN r.due_at ELSE least(r.due_at, $1) END
FROM news n WHERE r.charge_id = n.charge_id AND n.updated_at > r.updated_at
"""
INSERT = "INSERT INTO sessions (id, reference, created_at, body) VALUES ($1, $1, now(), $2)"
ONE = "SELECT * FROM sessions WHERE id = $1"
PAGE = "SELECT * FROM sessions ORDER BY created_at DESC, id DESC LIMIT 50"
LANES = 2
"""Connections of the merge: what arrives together is one statement."""


async def run(job: Job) -> Job:
    """Runs one kind (`setup`, `webhook`, `authorize`, `get`, `list`) for `seconds`; returns `units` and `seconds`."""
    kind = job["ceiling"]
    count = 1 if kind == "setup" else min(job["connections"], LANES if kind == "webhook" else 20)
    connections = [await asyncpg.connect(job["url"]) for _ in range(count)]
    try:
        if kind == "setup":
            await connections[0].execute(SCHEMA)
            return {}
        began = time.monotonic()
        ends_at = began + job["seconds"]
        worker = _merges if kind == "webhook" else _calls
        units = await asyncio.gather(*(worker(each, job, n, ends_at) for n, each in enumerate(connections)))
        return {"units": sum(units), "seconds": time.monotonic() - began}
    finally:
        for each in connections:
            await each.close()


async def _merges(connection: Any, job: Job, lane: int, ends_at: float) -> int:
    statement = await connection.prepare(MERGE)
    deliveries = max(1, job["connections"] // LANES)
    size = min(deliveries * job["batch"], ROWS // LANES)
    bodies = [b"x" * 120 * job["batch"]] * deliveries
    done = 0
    while time.monotonic() < ends_at:
        now = datetime.now(UTC)
        first = random.randrange(0, ROWS // LANES - size + 1) + lane * (ROWS // LANES)
        keys = [str(700000000000000000 + n) for n in range(first, first + size)]
        await statement.fetch(now, bodies, keys, [done] * size, [Decimal("1.23")] * size, [now] * size)
        done += size
    return done


async def _calls(connection: Any, job: Job, lane: int, ends_at: float) -> int:
    kind, done, rng = job["ceiling"], 0, random.Random(lane)
    stem = f"{time.monotonic_ns()}-{lane}-"
    while time.monotonic() < ends_at:
        if kind == "authorize":
            await connection.execute(INSERT, stem + str(done), b"x" * 1500)
        elif kind == "get":
            await connection.fetchrow(ONE, f"ps_{rng.randrange(ROWS)}")
        else:
            await connection.fetch(PAGE)
        done += 1
    return done
