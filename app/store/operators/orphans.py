"""Stores orphans: charges of ours at Monta without a payment session. They have our reference."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import ColumnElement, Integer, and_, bindparam, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from app.domain.charging.charge import ENDED, ChargeReport, ChargeState
from app.domain.charging.orphan import ListedCharge
from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargeId, OperatorId
from app.store.db.connection import Connection, Row
from app.store.db.statements import is_any
from app.store.tables import orphans, payment_sessions

X = orphans


@frozen(kw_only=True)
class Orphan:
    """`ours`: proved to be of our start, so it is stopped. Any other is only reported. Price in major units."""

    operator_id: OperatorId
    charge_id: ChargeId
    session_reference: str
    ours: bool
    charge_point_id: str | None
    display_reference: str | None
    card_last4: str | None
    state: ChargeState
    energy_wh: int | None
    price: Decimal | None
    currency: str | None
    created_at: datetime | None
    found_at: datetime
    seen_at: datetime
    stops: int
    problem: str | None
    closed_at: datetime | None
    closed_because: str | None
    closed_by: str | None


class SeveralOrphans(Exception):
    """Two operators' Montas use the same charge id. So the operator must be named."""

    def __init__(self, charge_id: ChargeId, operator_ids: Sequence[OperatorId]) -> None:
        super().__init__(f"several operators have an orphan charge {charge_id}: {', '.join(operator_ids)}")


async def keep(
    connection: Connection, operator_id: OperatorId, charge: ListedCharge, *, objection: str | None
) -> bool:
    """Saves an orphan or its newer state; returns whether it is new."""
    report, origin = charge.report, charge.origin
    row = _shown(report) | {
        "operator_id": operator_id,
        "charge_id": report.id,
        "session_reference": report.partner_external_id,
        "charge_point_id": report.charge_point_id,
        "display_reference": origin.display_reference,
        "card_last4": origin.card_last4,
        "created_at": report.created_at,
        "found_at": report.seen_at,
        "ours": objection is None,
        "problem": objection,
    }
    made = await connection.execute(insert(X).values(row).on_conflict_do_nothing().returning(X.c.charge_id))
    if made.one_or_none() is not None:
        return True
    proof = {"ours": objection is None} | ({"problem": objection} if objection is not None else {})
    await connection.execute(update(X).where(*_is(operator_id, report.id)).values(_shown(report) | proof))
    return False


async def see(
    connection: Connection, operator_id: OperatorId, report: ChargeReport, *, stopped: bool
) -> None:
    """Saves what Monta answered about an orphan."""
    more = {"problem": None} | ({"stops": X.c.stops + 1} if stopped else {})
    await connection.execute(update(X).where(*_is(operator_id, report.id)).values(_shown(report) | more))


async def note_problem(
    connection: Connection, operator_id: OperatorId, charge_id: ChargeId, problem: str
) -> None:
    await connection.execute(update(X).where(*_is(operator_id, charge_id)).values(problem=problem))


async def unfinished(
    connection: Connection, operator_id: OperatorId, limit: int, *, found_since: datetime
) -> list[Orphan]:
    """Returns orphans of ours that Monta has not completed. Running ones first, oldest first."""
    given = {"operator": operator_id, "found_since": found_since, "most": limit}
    return [_from(row) for row in await connection.execute(_UNFINISHED, given)]


_UNFINISHED = (
    select(X)
    .where(
        X.c.operator_id == bindparam("operator"),
        X.c.ours,
        X.c.state != ChargeState.COMPLETED,
        X.c.closed_at.is_(None),
        X.c.found_at >= bindparam("found_since"),
    )
    .order_by(is_any(X.c.state, sorted(ENDED)), X.c.found_at, X.c.charge_id)
    .limit(bindparam("most", type_=Integer()))
)


async def listed(
    connection: Connection, operator_id: OperatorId | None, *, closed: bool, limit: int
) -> list[Orphan]:
    """Orphans of one operator or of all, newest first. Closed ones only on request."""
    query = select(X) if operator_id is None else select(X).where(X.c.operator_id == operator_id)
    if not closed:
        query = query.where(X.c.closed_at.is_(None))
    rows = await connection.execute(query.order_by(X.c.found_at.desc(), X.c.charge_id).limit(limit))
    return [_from(row) for row in rows]


async def named(
    connection: Connection, operator_id: OperatorId | None, name: str, *, limit: int
) -> list[Orphan]:
    """Orphans with this charge id, session reference or display reference, newest first."""
    wanted = or_(
        X.c.charge_id == name,
        X.c.session_reference == name,
        is_any(X.c.display_reference, sorted({name, name.upper()})),
    )
    query = (
        select(X).where(wanted)
        if operator_id is None
        else select(X).where(wanted, X.c.operator_id == operator_id)
    )
    rows = await connection.execute(query.order_by(X.c.found_at.desc(), X.c.charge_id).limit(limit))
    return [_from(row) for row in rows]


async def count_open(connection: Connection) -> dict[OperatorId, int]:
    query = select(X.c.operator_id, func.count().label("open")).where(X.c.closed_at.is_(None))
    return {
        OperatorId(row.operator_id): row.open
        for row in await connection.execute(query.group_by(X.c.operator_id))
    }


async def close(
    connection: Connection,
    operator_id: OperatorId | None,
    charge_id: ChargeId,
    *,
    because: str,
    by: str,
    now: datetime,
) -> Orphan | None:
    """Closes an orphan for operations; repeatable. None: unknown, or not the caller's.

    Raises SeveralOrphans: without an operator, where more than one has it.
    """
    mine = X.c.charge_id == charge_id
    if operator_id is not None:
        mine = and_(mine, X.c.operator_id == operator_id)
    having = (
        await connection.execute(select(X.c.operator_id).where(mine).order_by(X.c.operator_id))
    ).scalars()
    if len(operators := [OperatorId(each) for each in having]) > 1:
        raise SeveralOrphans(charge_id, operators)
    done = {"closed_at": now, "closed_because": because, "closed_by": by}
    await connection.execute(update(X).where(mine, X.c.closed_at.is_(None)).values(done))
    row = (await connection.execute(select(X).where(mine))).one_or_none()
    return _from(row) if row else None


async def is_known(connection: Connection, charge_id: ChargeId) -> bool:
    """Whether any operator has an orphan charge with this id."""
    query = select(X.c.charge_id).where(X.c.charge_id == charge_id).limit(1)
    return (await connection.execute(query)).one_or_none() is not None


async def forget_adopted(connection: Connection, operator_id: OperatorId) -> None:
    """Deletes orphans that a session has adopted (a second restore). The session handles them again."""
    await connection.execute(_FORGET_ADOPTED, {"operator": operator_id})


_FORGET_ADOPTED = delete(X).where(
    X.c.operator_id == bindparam("operator"),
    exists().where(payment_sessions.c.id == X.c.session_reference),
)


def _is(operator_id: OperatorId, charge_id: ChargeId) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return X.c.operator_id == operator_id, X.c.charge_id == charge_id


def _shown(report: ChargeReport) -> dict[str, object]:
    return {
        "state": report.state,
        "energy_wh": report.energy_wh,
        "price": report.price,
        "currency": report.currency,
        "seen_at": report.seen_at,
    }


def _from(row: Row) -> Orphan:
    return Orphan(**{**row, "state": ChargeState(row["state"])})


async def forget_cards(connection: Connection, operator_id: OperatorId, before: datetime) -> None:
    """Clears the cards of closed orphans that were found before a time."""
    await connection.execute(_FORGET_CARDS, {"operator": operator_id, "before": before})


_FORGET_CARDS = (
    update(X)
    .where(X.c.operator_id == bindparam("operator"), X.c.found_at < bindparam("before"))
    .where(X.c.closed_at.is_not(None), X.c.card_last4.is_not(None))
    .values(card_last4=None)
)
