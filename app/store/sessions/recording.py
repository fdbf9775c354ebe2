"""Records new payment sessions, any number in one statement."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from app.domain.session.attention import stamped
from app.domain.session.machine import Change
from app.domain.session.states.journal import JournalHead
from app.domain.units.frozen import frozen, replace
from app.domain.units.ids import SessionId
from app.store.db.connection import Connection
from app.store.db.database import DUE_CHANNEL
from app.store.db.statements import by_column, given_row, given_rows
from app.store.sessions.codec import identity_row, to_row
from app.store.sessions.journal import JOURNAL_COLUMNS, JournalRow, chained
from app.store.tables import holds, journal, payment_sessions


@frozen(kw_only=True)
class NewPayment:
    """A new session with its journal lines and call keys. The keys are what its terminal's call is known by."""

    change: Change
    request_hash: bytes
    idempotency_key: str | None


async def record(connection: Connection, payments: Sequence[NewPayment]) -> frozenset[SessionId]:
    """Records sessions, due at once; returns those that were. The others' reference, Idempotency-Key or charge point
    was taken.

    One statement, so that nothing is left of it when it fails. Raises UniqueViolationError where the reference is
    that of a top-up.
    """
    # In one order everywhere, so that processes wait for each other and do not deadlock.
    ordered = sorted(payments, key=lambda p: (p.change.session.operator_id, p.change.session.charge_point_id))
    rows, lines = [], []
    for payment in ordered:
        row, its_lines = _row(payment)
        rows.append(row)
        lines += [{f"line_{name}": value for name, value in line.items()} for line in its_lines]
    if len(rows) == len(lines) == 1:
        made = await connection.execute(_RECORD_ONE, rows[0] | lines[0])
    else:
        given = by_column(rows, _COLUMNS) | by_column(lines, tuple(_LINE))
        made = await connection.execute(_RECORD, given)
    return frozenset(SessionId(row.id) for row in made)


def _row(payment: NewPayment) -> tuple[dict[str, Any], list[JournalRow]]:
    """The session's row, and its first journal lines."""
    session = payment.change.session
    if session.attention:
        session = replace(session, attention=stamped(session.attention, session.created_at))
    head, lines = chained(session, JournalHead(), payment.change.lines, session.created_at)
    row = (
        identity_row(session)
        | to_row(session, head)
        | {
            "request_hash": payment.request_hash,
            "idempotency_key": payment.idempotency_key,
            "due_at": session.created_at,
            "hold_minor": session.authorization.amount_minor,
        }
    )
    return row, lines


S, H, J = payment_sessions, holds, journal
_SESSION_COLUMNS = (
    *("id", "operator_id", "terminal_id", "charge_point_id", "reference", "idempotency_key", "request_hash"),
    *("display_reference", "card_last4", "card_fingerprint", "card_account_reference", "authorized_minor"),
    *("currency", "status", "version", "charge_id", "occupies_charge_point", "needs_attention"),
    *("personal", "created_at", "updated_at", "body", "tariff", "due_at"),
)
_COLUMNS = (*_SESSION_COLUMNS, "hold_minor")
_LINE = {f"line_{name}": J.c[name] for name in JOURNAL_COLUMNS}


_NAMED = {name: S.c[name] for name in _SESSION_COLUMNS} | {"hold_minor": H.c.amount_minor}


def _statement(rows: Any, lines: Any) -> Any:
    """Builds the insert of sessions, holds and journal lines. Sessions of free keys first, then the holds and journal
    lines of those that were made. `rows` has the columns of _NAMED, `lines` those of _LINE."""
    given = select(rows).cte("given")
    made = (
        insert(S)
        .from_select(_SESSION_COLUMNS, select(*(given.c[name] for name in _SESSION_COLUMNS)))
        .on_conflict_do_nothing()
        .returning(S.c.id)
        .cte("made")
    )
    is_made = given.c.id.in_(select(made.c.id))
    taken = insert(H).from_select(
        ("operator_id", "terminal_id", "reference", "session_id", "amount_minor", "recorded_at"),
        select(
            given.c.operator_id,
            given.c.terminal_id,
            given.c.reference,
            given.c.id,
            given.c.hold_minor,
            given.c.created_at,
        ).where(is_made),
    )
    written = insert(J).from_select(
        JOURNAL_COLUMNS,
        select(*(lines.c[name] for name in _LINE)).where(lines.c.line_session_id.in_(select(made.c.id))),
    )
    wakes = func.pg_notify(DUE_CHANNEL, "")
    return select(made.c.id, wakes).add_cte(taken.cte("taken"), written.cte("written"))


_RECORD = _statement(given_rows(_NAMED), given_rows(_LINE))
_RECORD_ONE = _statement(given_row(_NAMED), given_row(_LINE))
"""Of arrays of one value each, both client and server would spend more than on the insert."""
