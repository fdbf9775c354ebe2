"""Tests of app/store/tables.

Rules held by constraints whatever the code does: each is broken on purpose.
"""

from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from sqlalchemy import insert, text

from app.domain.session.machine import Change
from app.domain.session.payment_session import PaymentSession, Status
from app.store.db.database import Database
from app.store.operators import keys, terminals
from app.store.sessions import payment_sessions
from app.store.sessions.codec import identity_row, to_row
from app.store.tables import captures, inbox, settlements
from app.store.tables import payment_sessions as table
from tests.store.rows import (
    NOW,
    OP_ONE,
    OP_OTHER,
    SEALER,
    TRM_ONE,
    TRM_OTHER,
    a_session,
    change,
    provisioned,
    record,
    settled,
    with_charge,
)

pytestmark = pytest.mark.anyio


def broken_rule(error: asyncpg.PostgresError) -> str:
    found: str = error.constraint_name
    return found


async def put(database: Database, session: PaymentSession, **columns: Any) -> None:
    row = identity_row(session) | to_row(session) | {"request_hash": b"same"} | columns
    async with database.transaction() as connection:
        await connection.execute(insert(table).values(row))


async def refusal(database: Database, statement: Any) -> str:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
        async with database.transaction() as connection:
            await connection.execute(statement)
    return broken_rule(refused.value)


FIRST = a_session("first")
SECOND_ROWS = {
    "uq_payment_sessions_reference_terminal_id_operator_id": (
        a_session("b", charge_point="102", reference="A-first"),
        {},
    ),
    "uq_payment_sessions_terminal_id_idempotency_key_operator_id": (
        a_session("b", charge_point="102"),
        {"idempotency_key": "K"},
    ),
    "uq_payment_sessions_charge_id_operator_id": (a_session("b", charge_point="102"), {"charge_id": "77"}),
    "uq_payment_sessions_active_charge_point": (a_session("b"), {}),
    "pk_payment_sessions": (a_session("first", charge_point="102", reference="other"), {}),
    "ck_payment_sessions_authorized_is_positive": (
        a_session("b", charge_point="102", amount_minor=0),
        {},
    ),
    "fk_payment_sessions_terminal_id_operator_id": (
        a_session("b", terminal=TRM_ONE, operator_id=OP_OTHER),
        {},
    ),
}


@pytest.mark.parametrize("rule", SECOND_ROWS)
async def test_a_second_session_that_breaks_a_rule_is_refused_by_its_constraint(
    database_url: str, rule: str
) -> None:
    second, columns = SECOND_ROWS[rule]
    async with provisioned(database_url) as database:
        await put(database, FIRST, idempotency_key="K", charge_id="77")
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
            await put(database, second, **columns)
    assert broken_rule(refused.value) == rule


async def test_keys_are_each_terminals_own_and_charge_ids_each_operators(database_url: str) -> None:
    mine = a_session("a", reference="same")
    theirs = a_session("b", reference="same", terminal=TRM_OTHER, operator_id=OP_OTHER)
    async with provisioned(database_url) as database:
        await put(database, mine, idempotency_key="K", charge_id="77")
        await put(database, theirs, idempotency_key="K", charge_id="77")
        async with database.transaction() as connection:
            kept = [await payment_sessions.get(connection, each.id) for each in (mine, theirs)]
    assert None not in kept


@pytest.mark.parametrize("end", [Status.COMPLETED, Status.NOT_STARTED])
async def test_an_ended_session_frees_its_charge_point(database_url: str, end: Status) -> None:
    async with provisioned(database_url) as database:
        await put(database, replace(FIRST, status=end))
        assert await record(database, a_session("b"))


@pytest.mark.parametrize("status", [s for s in Status if s not in (Status.COMPLETED, Status.NOT_STARTED)])
async def test_every_other_status_keeps_it(database_url: str, status: Status) -> None:
    async with provisioned(database_url) as database:
        await put(database, replace(FIRST, status=status))
        assert not await record(database, a_session("b"))


async def test_F106_a_session_of_which_no_charge_can_run_any_more_frees_its_charge_point(
    database_url: str,
) -> None:
    async with provisioned(database_url) as database:
        held = replace(FIRST, status=Status.FINISHING)
        await put(database, held)
        assert not await record(database, a_session("b"))
        await change(database, held, replace(held, point_free_at=NOW))
        assert await record(database, a_session("c"))
        assert not await record(database, a_session("d"))


SETTLEMENT = {
    "session_id": FIRST.id,
    "operator_id": FIRST.operator_id,
    "action": "capture",
    "authorized_minor": 2000,
    "to_capture_minor": 1500,
    "to_release_minor": 500,
    "shortfall_minor": 0,
    "energy_wh": 1,
    "decided_at": NOW,
    "deadline": NOW,
    "session_date": NOW,
    "report_due_at": NOW,
    "status": "due",
}
WRONG_SETTLEMENTS = [
    ("ck_settlements_adds_up", {"to_release_minor": 499}),
    ("ck_settlements_adds_up", {"to_capture_minor": 2001}),
    ("ck_settlements_not_negative", {"to_capture_minor": 2001, "to_release_minor": -1}),
    ("ck_settlements_not_negative", {"shortfall_minor": -1}),
    ("ck_settlements_action_fits", {"action": "release"}),
    ("ck_settlements_action_fits", {"to_capture_minor": 0, "to_release_minor": 2000}),
    ("fk_settlements_session_id_operator_id", {"session_id": "ps_nobody"}),
    ("fk_settlements_session_id_operator_id", {"operator_id": "op_another"}),
]


@pytest.mark.parametrize(("rule", "wrong"), WRONG_SETTLEMENTS)
async def test_a_settlement_that_does_not_add_up_cannot_be_written(
    database_url: str, rule: str, wrong: dict[str, Any]
) -> None:
    async with provisioned(database_url) as database:
        await put(database, FIRST)
        assert await refusal(database, insert(settlements).values(SETTLEMENT | wrong)) == rule


async def test_a_session_is_settled_once(database_url: str) -> None:  # F76
    async with provisioned(database_url) as database:
        await put(database, FIRST)
        await change(database, FIRST, settled(FIRST, 1500))
        again = insert(settlements).values(SETTLEMENT)
        assert await refusal(database, again) == "pk_settlements"


async def test_who_decides_with_an_old_picture_of_an_unsettled_session_cannot_settle_again(
    database_url: str,
) -> None:  # F76
    async with provisioned(database_url) as database:
        await put(database, FIRST)
        await change(database, FIRST, settled(FIRST, 1500))
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
            async with database.transaction() as connection:
                await payment_sessions.save(connection, FIRST, Change(settled(FIRST, 900)), NOW, SEALER)
        assert broken_rule(refused.value) == "pk_settlements"
        async with database.transaction() as connection:
            kept = await payment_sessions.get(connection, FIRST.id)
    assert kept is not None
    assert kept.settlement is not None
    assert kept.settlement.to_capture_minor == 1500


async def test_a_report_of_the_psp_and_an_inbox_entry_are_kept_once(database_url: str) -> None:
    report = {
        "session_id": FIRST.id,
        "operator_id": FIRST.operator_id,
        "outcome": "captured",
        "amount_minor": 5,
        "reference": "r",
        "reported_at": NOW,
    }
    entry = {"operator_id": OP_ONE, "dedupe_key": "k", "received_at": NOW, "raw": {}}
    async with provisioned(database_url) as database:
        await put(database, FIRST)
        async with database.transaction() as connection:
            await connection.execute(insert(captures).values(report))
            await connection.execute(insert(inbox).values(entry))
        assert await refusal(database, insert(captures).values(report)) == (
            "uq_captures_session_id_outcome_reference"
        )
        assert await refusal(database, insert(inbox).values(entry)) == "uq_inbox_operator_id_dedupe_key"


async def test_a_terminal_cannot_be_given_another_operators_charge_point(database_url: str) -> None:  # F80
    crossed = text(
        "INSERT INTO terminal_charge_points (terminal_id, operator_id, charge_point_id)"
        " VALUES ('trm_one', 'op_other', '201')"
    )
    elsewhere = text("INSERT INTO charge_points (operator_id, charge_point_id) VALUES ('op_other', '201')")
    async with provisioned(database_url) as database:
        async with database.transaction() as connection:
            await connection.execute(elsewhere)
        assert await refusal(database, crossed) == "fk_terminal_charge_points_terminal_id_operator_id"
        async with database.transaction() as connection:
            assert await terminals.charge_points_of(connection, TRM_OTHER)
            assert await keys.presented(connection, keys.key_hash("key of trm_one")) is not None


async def test_a_charge_that_another_session_has_cannot_be_adopted(database_url: str) -> None:  # F63
    one, two = a_session("a"), a_session("b", charge_point="102")
    async with provisioned(database_url) as database:
        await record(database, one)
        await record(database, two)
        await change(database, one, with_charge(one, "77"))
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
            await change(database, two, with_charge(two, "77"))
    assert broken_rule(refused.value) == "uq_payment_sessions_charge_id_operator_id"
