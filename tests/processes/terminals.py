"""Terminals that pay at a fleet: each call is retried at any replica until it is acknowledged."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

import httpx

from tests.processes.fleet import Fleet, Json, Process

AMOUNT_MINOR = 2000
ANSWER_S = 90.0
"""Seconds after which a terminal that retries must have an answer, whatever happens."""
REPEAT_S = 0.1
UNSEEN_MINOR = 2
"""A charge that was stopped at once has cost a cent or two for energy that no meter shows: its hold is released."""


def payment(reference: str, point: str) -> Json:
    held = {"reference": reference, "amount": AMOUNT_MINOR, "currency": "EUR"}
    return {"charge_point_id": point, "authorization": held}


async def insist(
    fleet: Fleet, replicas: Sequence[Process], rng: random.Random, *call: str, body: Json | None = None
) -> Json:
    """Calls until one of `replicas` answers with a session; any answer but `not now` is a failure."""
    ends_at = time.monotonic() + ANSWER_S
    while True:
        try:
            answer = await fleet.call(rng.choice(replicas), call[0], call[1], body)
        except httpx.HTTPError:
            answer = None  # no listener, or the connection was cut: the same call again
        if answer is not None and answer.is_success:
            session: Json = answer.json()
            return session
        assert answer is None or answer.status_code == 503, f"{answer.status_code} {answer.text}"
        assert time.monotonic() < ends_at, f"no answer to {call} for {ANSWER_S} s"
        await asyncio.sleep(rng.uniform(0, 2 * REPEAT_S))


async def authorize(
    fleet: Fleet, replicas: Sequence[Process], rng: random.Random, reference: str, point: str
) -> str:
    """The id of the acknowledged session."""
    body = payment(reference, point)
    return str((await insist(fleet, replicas, rng, "POST", "/v1/payment-sessions", body=body))["id"])


async def whole_session(
    fleet: Fleet, replicas: Sequence[Process], rng: random.Random, reference: str, point: str
) -> str:
    """Authorize, let it run for a moment, stop it, wait for its settlement; the session's id."""
    session_id = await authorize(fleet, replicas, rng, reference, point)
    await asyncio.sleep(rng.uniform(0, 3))
    await finish(fleet, replicas, rng, [session_id])
    return session_id


async def finish(
    fleet: Fleet,
    replicas: Sequence[Process],
    rng: random.Random,
    ids: Sequence[str],
    within_s: float = ANSWER_S,
) -> None:
    """Stop sessions that were acknowledged and wait until each is settled."""
    for each in ids:
        await insist(fleet, replicas, rng, "POST", f"/v1/payment-sessions/{each}/stop")
    ends_at = time.monotonic() + within_s
    query = "SELECT count(*) FROM settlements WHERE session_id = ANY($1)"
    while await fleet.value(query, ids) < len(ids):
        assert time.monotonic() < ends_at, await _unsettled(fleet, ids)
        await asyncio.sleep(5 * REPEAT_S)


async def _unsettled(fleet: Fleet, ids: Sequence[str]) -> str:
    query = (
        "SELECT p.id, p.status, p.due_at, p.lease_until, array_agg(j.kind || ' ' || j.detail ORDER BY j.id)"
        " FROM payment_sessions p JOIN journal j ON j.session_id = p.id LEFT JOIN settlements s ON s.session_id = p.id"
        " WHERE p.id = ANY($1) AND s.session_id IS NULL GROUP BY p.id, p.status, p.due_at, p.lease_until LIMIT 3"
    )
    return f"not settled: {[dict(row) for row in await fleet.rows(query, ids)]}"


async def audit(fleet: Fleet, acknowledged: Sequence[str]) -> Counter[str]:
    """Compares our records with Monta's, to the cent: fails on a session lost, doubled, unsettled or wrongly settled.

    Every session in the database must be known to a terminal and end with one settlement; Monta received at most
    one POST for it and made at most one charge; what is captured is that charge's price.
    """
    assert len(set(acknowledged)) == len(acknowledged), (
        "two acknowledgements of different calls for one session"
    )
    books = await fleet.books()
    rows = await fleet.rows(
        "SELECT p.id, p.status, p.charge_id, p.authorized_minor, s.to_capture_minor, s.to_release_minor"
        " FROM payment_sessions p LEFT JOIN settlements s ON s.session_id = p.id"
    )
    assert {row["id"] for row in rows} == set(acknowledged), (
        "a session was lost, or recorded though no terminal got an answer"
    )
    charges: dict[str, list[Json]] = {}
    for charge in books["charges"]:
        charges.setdefault(charge["reference"], []).append(charge)
    assert set(charges) <= set(acknowledged), "a charge of ours that belongs to no session"
    found: Counter[str] = Counter()
    for row in rows:
        try:
            found += _audit_one(
                row["id"], dict(row), books["posts"].get(row["id"], 0), charges.get(row["id"], [])
            )
        except AssertionError as wrong:
            raise AssertionError(f"{wrong}\n{await _story(fleet, row['id'])}") from None
    return found


async def _story(fleet: Fleet, session_id: str) -> str:
    lines = await fleet.rows(
        "SELECT at, kind, source, detail FROM journal WHERE session_id = $1 ORDER BY id", session_id
    )
    return "\n".join(
        f"{line['at']:%H:%M:%S.%f} {line['kind']} {line['source']} {line['detail']}" for line in lines
    )


def _audit_one(session_id: str, row: Json, posts: int, charges: list[Json]) -> Counter[str]:
    assert row["status"] in ("completed", "not_started"), (session_id, row["status"])
    assert row["to_capture_minor"] is not None, f"{session_id} was not settled"
    assert row["to_capture_minor"] + row["to_release_minor"] == row["authorized_minor"]
    assert posts <= 1, f"{posts} POSTs for {session_id}"
    assert len(charges) <= 1, f"{len(charges)} charges for {session_id}"
    assert all(charge["ended"] for charge in charges), f"a charge of {session_id} has not ended"
    price_minor = sum((Decimal(c["price"] or 0) * 100 for c in charges), Decimal(0))
    unseen = row["status"] == "not_started" and price_minor <= UNSEEN_MINOR
    assert unseen or row["to_capture_minor"] == price_minor, (
        f"captured {row['to_capture_minor']} for {price_minor}"
    )
    return Counter({row["status"]: 1, "posts": posts, "charges": len(charges)})
