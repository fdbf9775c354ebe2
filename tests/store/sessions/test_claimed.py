"""Tests of app/store/sessions/claimed: whose sessions are locked, and what is known of each without reading it."""

import pytest
from sqlalchemy import insert

from app.domain.charging.charge import ChargeReport, ChargeState
from app.domain.units.ids import ChargeId, SessionId
from app.store.db.database import Database
from app.store.sessions import claimed, polled_reports
from app.store.sessions.claimed import Claimed
from app.store.sessions.leases import Lease
from app.store.tables import inbox
from tests.store.rows import (
    NOW,
    OP_ONE,
    OP_OTHER,
    TRM_OTHER,
    a_session,
    change,
    provisioned,
    record,
    with_charge,
)

pytestmark = pytest.mark.anyio


async def locked(database: Database, *names: str) -> dict[str, Claimed]:
    """The first operator's sessions of these names, never claimed before."""
    claims = [Lease(SessionId(f"ps_{name}"), 0, OP_ONE) for name in names]
    async with database.transaction() as connection:
        found = await claimed.lock(connection, claims, wait=False)
    return {lease.session_id.removeprefix("ps_"): known for lease, known in found.items()}


async def test_of_claims_only_the_operators_own_sessions_are_locked(database_url: str) -> None:
    async with provisioned(database_url) as database:
        await record(database, a_session("mine"))
        await record(database, a_session("theirs", terminal=TRM_OTHER, operator_id=OP_OTHER))
        found = await locked(database, "theirs", "mine")
        assert list(found) == ["mine"]
        assert (found["mine"].session().id, found["mine"].provider) == ("ps_mine", "tapwatt")


@pytest.mark.parametrize(
    ("entry", "has_news"),
    [
        ({"session_reference": "ps_a"}, True),
        ({"charge_id": "77"}, True),
        ({"session_reference": "ps_a", "charge_id": "77"}, True),
        ({"session_reference": "ps_b", "charge_id": "78"}, False),
        ({"charge_id": "77", "applied_at": NOW}, False),
        ({"session_reference": "ps_a", "applied_at": NOW}, False),
        ({"charge_id": "77", "operator_id": OP_OTHER}, False),
        ({"session_reference": "ps_a", "operator_id": OP_OTHER}, False),
    ],
)
async def test_news_are_what_was_not_applied_yet_and_names_the_session_or_its_charge(
    database_url: str, entry: dict[str, object], has_news: bool
) -> None:
    row = {"operator_id": OP_ONE, "received_at": NOW, "dedupe_key": "one", "raw": {}} | entry
    async with provisioned(database_url) as database:
        session = a_session()
        await record(database, session)
        await change(database, session, with_charge(session, "77"))
        async with database.transaction() as connection:
            await connection.execute(insert(inbox).values(row))
        assert (await locked(database, "a"))["a"].has_news is has_news


async def test_what_a_sweep_has_read_is_known_until_the_session_has_taken_it_in(database_url: str) -> None:
    report = ChargeReport(id=ChargeId("77"), state=ChargeState.CHARGING, seen_at=NOW, updated_at=NOW)
    async with provisioned(database_url) as database:
        session = a_session()
        await record(database, session)
        await change(database, session, with_charge(session, "77"))
        assert not (await locked(database, "a"))["a"].has_polled_reports
        async with database.transaction() as connection:
            await polled_reports.keep(connection, OP_ONE, [report], NOW)
        assert (await locked(database, "a"))["a"].has_polled_reports
        async with database.transaction() as connection:
            await polled_reports.clear(connection, session.id)
        assert not (await locked(database, "a"))["a"].has_polled_reports
