"""Stores statements on charge points' currencies. From tariffs, price groups and charges."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import and_, bindparam, or_, select, update

from app.domain.charging.charge import ChargeReport
from app.domain.session.limit_checks import CurrencyStatement, StatementSource
from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargePointId, OperatorId
from app.store.db.connection import Connection, Row
from app.store.operators import charge_points
from app.store.operators.charge_points import TariffFound
from app.store.operators.price_groups import STALE
from app.store.tables import charge_points as points
from app.store.tables import price_groups as groups

C = points.c
G = groups.c


_STATEMENTS = (
    select(
        G.currency.label("group_currency"), G.read_at.label("group_read_at"), C.charged_currency, C.charged_at
    )
    .select_from(
        points.outerjoin(groups, and_(G.operator_id == C.operator_id, G.price_group_id == C.price_group_id))
    )
    .where(C.operator_id == bindparam("operator"), C.charge_point_id == bindparam("point"))
)


async def statements(
    connection: Connection, operator_id: OperatorId, charge_point_id: ChargePointId, now: datetime
) -> list[CurrencyStatement]:
    """Returns every statement on a charge point's currency. Its tariff in force, price group and last charge."""
    set_here = await charge_points.tariff_set(connection, operator_id, charge_point_id, now)
    given = {"operator": operator_id, "point": charge_point_id}
    row = (await connection.execute(_STATEMENTS, given)).one_or_none()
    return of_row(row, set_here, now)


def of_row(row: Row | None, set_here: TariffFound | None, now: datetime) -> list[CurrencyStatement]:
    """Returns the statements that a charge point's row makes. With its price group, and the configured tariff in
    force."""
    found = []
    if set_here is not None:
        found.append(CurrencyStatement(code=set_here.tariff.currency, source=StatementSource.STATED, at=now))
    if row is None:
        return found
    if row.group_currency is not None and row.group_read_at is not None:
        lately = StatementSource.STATED if row.group_read_at > now - STALE else StatementSource.SEEN
        found.append(CurrencyStatement(code=row.group_currency, source=lately, at=row.group_read_at))
    if row.charged_currency is not None:
        found.append(
            CurrencyStatement(code=row.charged_currency, source=StatementSource.SEEN, at=row.charged_at)
        )
    return found


@frozen
class Charged:
    """A charge ran at this charge point in this currency. As of `at`."""

    charge_point_id: ChargePointId
    currency: str
    at: datetime


def charged(report: ChargeReport, charge_point_id: ChargePointId | None = None) -> Charged | None:
    """The currency that a report shows. As of the charge's start by Monta's clock, never later than it was seen by
    ours."""
    point = charge_point_id or report.charge_point_id
    if report.currency is None or point is None:
        return None
    return Charged(point, report.currency, min(report.created_at or report.seen_at, report.seen_at))


_NOTE = (
    update(points)
    .where(
        C.operator_id == bindparam("operator"),
        C.charge_point_id == bindparam("point"),
        or_(C.charged_at.is_(None), C.charged_at < bindparam("began_at", type_=C.charged_at.type)),
    )
    .values(charged_currency=bindparam("code"), charged_at=bindparam("began_at", type_=C.charged_at.type))
)


async def note(connection: Connection, operator_id: OperatorId, seen: Iterable[Charged]) -> None:
    """Keeps the newest currency of each charge point. Ignores those that no terminal uses."""
    newest: dict[ChargePointId, Charged] = {}
    for each in seen:
        known = newest.get(each.charge_point_id)
        if known is None or known.at < each.at:
            newest[each.charge_point_id] = each
    rows = [
        {"operator": operator_id, "point": each.charge_point_id, "code": each.currency, "began_at": each.at}
        for each in sorted(newest.values(), key=lambda c: c.charge_point_id)
    ]
    if rows:
        await connection.execute(_NOTE, rows)
