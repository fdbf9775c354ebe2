"""Stores Monta's price groups as tariffs, and recent prices. Prices a kWh where there is no tariff."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache

from sqlalchemy import and_, bindparam, func, or_, select, update
from sqlalchemy.dialects.postgresql import Insert, insert

from app.domain.charging.price_group import Converted
from app.domain.tariff import Tariff
from app.domain.tariff.time_windows import out_of_force
from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargePointId, OperatorId
from app.store.db.connection import Connection
from app.store.db.documents import as_text
from app.store.db.statements import is_any_given
from app.store.parsed_tariffs import parsed_tariff
from app.store.tables import charge_points, price_groups, tariffs

G = price_groups.c
C = charge_points.c

CANNOT_BE_CONVERTED = "it cannot be converted"
STALE = timedelta(days=1)
"""A price group that could not be read for this long no longer sets a limit."""
READ_AGAIN = timedelta(minutes=1)


@frozen(kw_only=True)
class GroupTariff:
    """A price group's tariff, and in words what it lacks."""

    tariff: Tariff
    gaps: tuple[str, ...]
    read_at: datetime


_SAME_GROUP = and_(G.operator_id == C.operator_id, G.price_group_id == C.price_group_id)
_CHANGED_SINCE_READ = and_(G.changed_at > G.tried_at, G.tried_at <= bindparam("changed_and_tried_before"))
"""A group that keeps changing is read once a minute at most."""
_DUE = (
    select(C.price_group_id)
    .select_from(charge_points.outerjoin(price_groups, _SAME_GROUP))
    .where(C.operator_id == bindparam("operator"), C.price_group_id.is_not(None))
    .where(or_(G.tried_at.is_(None), G.tried_at <= bindparam("tried_before"), _CHANGED_SINCE_READ))
    .group_by(C.price_group_id, G.tried_at)
    .order_by(G.tried_at.asc().nulls_first(), C.price_group_id)
    .limit(bindparam("most"))
)


async def due(
    connection: Connection,
    operator_id: OperatorId,
    *,
    tried_before: datetime,
    now: datetime,
    limit: int,
) -> Sequence[str]:
    """Returns price groups in use that are due for a read. They were not requested since then, or reported as changed
    by a webhook. The oldest first."""
    given = {
        "operator": operator_id,
        "tried_before": tried_before,
        "changed_and_tried_before": now - READ_AGAIN,
        "most": limit,
    }
    return (await connection.execute(_DUE, given)).scalars()


_CHANGED = (
    update(price_groups)
    .where(G.operator_id == bindparam("operator"), is_any_given(G.price_group_id, "groups"))
    .values(changed_at=bindparam("now"))
)


async def note_changed(
    connection: Connection, operator_id: OperatorId, ids: Sequence[str], now: datetime
) -> None:
    """Marks groups that a webhook reported as changed. Ignores those of no charge point here."""
    if ids:
        await connection.execute(_CHANGED, {"operator": operator_id, "groups": list(ids), "now": now})


_FIRST_UNREAD = select(func.min(G.tried_at)).where(
    G.operator_id == bindparam("operator"), G.changed_at > G.tried_at
)


async def next_told(connection: Connection, operator_id: OperatorId) -> datetime | None:
    """When the first of the reported and unread groups may be read. None: there are none."""
    tried_at: datetime | None = (await connection.execute(_FIRST_UNREAD, {"operator": operator_id})).scalar()
    return None if tried_at is None else tried_at + READ_AGAIN


async def put(
    connection: Connection,
    operator_id: OperatorId,
    price_group_id: str,
    *,
    name: str | None,
    converted: Converted,
    now: datetime,
) -> None:
    """Saves a price group as Monta showed it."""
    fresh: dict[str, object] = {
        "name": name,
        "currency": converted.currency,
        "tariff": None if converted.tariff is None else dict(converted.tariff),
        "gaps": list(converted.gaps),
        "read_at": now,
        "tried_at": now,
        "problem": None,
    }
    await _upsert(connection, operator_id, price_group_id, fresh)


async def note_failure(
    connection: Connection,
    operator_id: OperatorId,
    price_group_id: str,
    *,
    problem: str,
    now: datetime,
) -> None:
    """Records a failed read. What was known stays valid until it is stale."""
    await _upsert(connection, operator_id, price_group_id, {"tried_at": now, "problem": problem})


_HERE = (C.operator_id == bindparam("operator"), C.charge_point_id == bindparam("point"))

_TARIFF = (
    select(as_text(G.tariff), G.gaps, G.read_at)
    .select_from(charge_points.join(price_groups, _SAME_GROUP))
    .where(*_HERE)
)


async def tariff_of(
    connection: Connection, operator_id: OperatorId, charge_point_id: ChargePointId, now: datetime
) -> GroupTariff | None:
    """The tariff of the charge point's public price group. None: no group, not convertible, or stale."""
    given = {"operator": operator_id, "point": charge_point_id}
    row = (await connection.execute(_TARIFF, given)).one_or_none()
    return None if row is None else group_tariff(row.tariff, row.gaps, row.read_at, now)


def group_tariff(
    text: str | None, gaps: Sequence[str] | None, read_at: datetime | None, now: datetime
) -> GroupTariff | None:
    """The same from the columns of a price group."""
    if text is None or read_at is None or read_at <= now - STALE:
        return None
    return GroupTariff(tariff=parsed_tariff(text), gaps=tuple(gaps or ()), read_at=read_at)


@frozen(kw_only=True)
class ChargePointPrice:
    """Where the price of a charge point comes from. `problem`: why its group has no tariff."""

    charge_point_id: ChargePointId
    has_tariff: bool
    """A configured tariff is in force."""
    problem: str | None
    tariff_problem: str | None
    """Why the configured tariff of the charge point, or else of the operator, prices nothing now."""


async def of_charge_points(
    connection: Connection, operator_id: OperatorId, now: datetime
) -> list[ChargePointPrice]:
    """Price sources of every charge point that the operator's terminals use. A group not requested yet has no
    problem."""
    states = {
        row.charge_point_id: out_of_force(parsed_tariff(row.tariff), now)
        for row in await connection.execute(_TARIFFS_SET, {"operator": operator_id})
    }
    found = []
    for row in await connection.execute(_PROBLEMS, {"operator": operator_id}):
        its_own = [states[key] for key in (row.charge_point_id, "") if key in states]
        found.append(
            ChargePointPrice(
                charge_point_id=ChargePointId(row.charge_point_id),
                has_tariff=None in its_own,
                problem=row.problem or (CANNOT_BE_CONVERTED if row.unfit else None),
                tariff_problem=its_own[0] if its_own else None,
            )
        )
    return found


_TARIFFS_SET = select(tariffs.c.charge_point_id, as_text(tariffs.c.tariff)).where(
    tariffs.c.operator_id == bindparam("operator")
)
_PROBLEMS = (
    select(C.charge_point_id, G.problem, and_(G.read_at.is_not(None), G.tariff.is_(None)).label("unfit"))
    .select_from(charge_points.outerjoin(price_groups, _SAME_GROUP))
    .where(C.operator_id == bindparam("operator"))
    .order_by(C.charge_point_id)
)


async def learn_price(
    connection: Connection,
    operator_id: OperatorId,
    charge_point_id: ChargePointId,
    *,
    kwh_price: Decimal,
    currency: str,
) -> None:
    """Saves the last settled charge's price a kWh, in major units."""
    here = and_(C.operator_id == operator_id, C.charge_point_id == charge_point_id)
    learned = {"learned_kwh_price": kwh_price, "learned_currency": currency}
    await connection.execute(update(charge_points).where(here).values(learned))


async def _upsert(
    connection: Connection, operator_id: OperatorId, price_group_id: str, values: dict[str, object]
) -> None:
    row = {"operator_id": operator_id, "price_group_id": price_group_id} | values
    await connection.execute(_put_row(tuple(values)), row)


@cache
def _put_row(names: Sequence[str]) -> Insert:
    """The statement that sets these columns of a new or known row. Built once, so that it is compiled once."""
    statement = insert(price_groups)
    fresh = {name: statement.excluded[name] for name in names}
    return statement.on_conflict_do_update(index_elements=[G.operator_id, G.price_group_id], set_=fresh)
