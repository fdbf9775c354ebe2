"""Operators: one Monta credential and one webhook endpoint each; their secrets leave decrypted, never logged."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.ids import OperatorId
from app.store import duties
from app.store.duties import Duty
from app.store.secret_box import SecretBox
from app.store.tables import operators

O = operators  # noqa: E741

CLIENT_SECRET = "client_secret"  # noqa: S105 - the name of a column
WEBHOOK_SECRET = "webhook_secret"  # noqa: S105 - the name of a column


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator's account at Monta; `paying_team_id` is the team that its charges are booked to."""

    id: OperatorId
    name: str
    monta_url: str
    client_id: str
    client_secret: str = field(repr=False)
    paying_team_id: str
    price_unit: str = "major"
    time_zone: str = "UTC"
    top_up_max_minor: int | None = None
    """The most that top-ups may raise a reservation to; None: as far as Monta's limit of the start goes."""
    webhook_endpoint_id: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    webhook_problem: str | None = None
    webhook_mended_at: datetime | None = None
    upkeep_problem: str | None = None
    reconciled_at: datetime | None = None
    reconcile_problem: str | None = None
    access_problem: str | None = None
    """Monta refuses the credential: no new sessions until it takes it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """How far Monta's list was compared with ours. `wanted_at`: nothing starts until it was compared since then."""

    wanted_at: datetime | None
    reconciled_at: datetime
    deep_at: datetime | None
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """`problem`: Monta refuses the credential lastingly; `doubted_at`: since when it is known to be refused."""

    doubted_at: datetime | None
    problem: str | None


RECONCILE_FIRST = timedelta(hours=1)
"""A new operator has no charges of ours to compare."""


class Operators:
    """Reads and writes operators; holds the box that their secrets are sealed in."""

    def __init__(self, box: SecretBox) -> None:
        self._box = box

    async def add(self, connection: AsyncConnection, operator: Operator, now: datetime) -> None:
        def seal(secret: str, purpose: str) -> bytes:
            return self._box.seal(secret, owner=operator.id, purpose=purpose)

        await connection.execute(
            insert(operators).values(
                id=operator.id,
                name=operator.name,
                monta_url=operator.monta_url,
                client_id=operator.client_id,
                client_secret=seal(operator.client_secret, CLIENT_SECRET),
                paying_team_id=operator.paying_team_id,
                price_unit=operator.price_unit,
                time_zone=operator.time_zone,
                webhook_endpoint_id=operator.webhook_endpoint_id,
                webhook_secret=seal(operator.webhook_secret, WEBHOOK_SECRET),
                created_at=now,
                reconciled_at=now,
                reconciled_deep_at=now,
                reconcile_due_at=now + RECONCILE_FIRST,
            )
        )
        first_due = {
            Duty.UPKEEP: now,
            Duty.RECONCILE: now + RECONCILE_FIRST,
            Duty.SWEEP: None,
            Duty.PROBE: None,
        }
        await duties.add(connection, operator.id, first_due)

    async def get(self, connection: AsyncConnection, operator_id: OperatorId) -> Operator | None:
        row = await connection.execute(select(operators).where(operators.c.id == operator_id))
        return self._one(row.mappings().one_or_none())

    async def by_endpoint(self, connection: AsyncConnection, endpoint_id: str) -> Operator | None:
        row = await connection.execute(
            select(operators).where(operators.c.webhook_endpoint_id == endpoint_id)
        )
        return self._one(row.mappings().one_or_none())

    async def all(self, connection: AsyncConnection) -> list[Operator]:
        rows = await connection.execute(select(operators).order_by(operators.c.created_at, operators.c.id))
        return [self._from(row) for row in rows.mappings()]

    def _one(self, row: RowMapping | None) -> Operator | None:
        return None if row is None else self._from(row)

    def _from(self, row: RowMapping) -> Operator:
        def opened(purpose: str) -> str:
            return self._box.open(row[purpose], owner=row["id"], purpose=purpose)

        plain: dict[str, Any] = {
            name: row[name]
            for name in (
                "name",
                "monta_url",
                "client_id",
                "paying_team_id",
                "price_unit",
                "time_zone",
                "top_up_max_minor",
                "webhook_endpoint_id",
                "webhook_problem",
                "webhook_mended_at",
                "upkeep_problem",
                "reconciled_at",
                "reconcile_problem",
                "access_problem",
            )
        }
        return Operator(
            id=OperatorId(row["id"]),
            client_secret=opened(CLIENT_SECRET),
            webhook_secret=opened(WEBHOOK_SECRET),
            **plain,
        )


async def note_upkeep(
    connection: AsyncConnection,
    operator_id: OperatorId,
    *,
    webhook_problem: str | None,
    upkeep_problem: str | None,
) -> None:
    """Keep what went wrong at the last upkeep, for operations; None: all is well."""
    await connection.execute(
        update(operators)
        .where(operators.c.id == operator_id)
        .values(webhook_problem=webhook_problem, upkeep_problem=upkeep_problem)
    )


async def standing(connection: AsyncConnection, operator_id: OperatorId) -> Standing:
    query = select(O.c.access_doubted_at, O.c.access_problem).where(O.c.id == operator_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return Standing(doubted_at=None, problem=None)
    return Standing(doubted_at=row.access_doubted_at, problem=row.access_problem)


async def note_standing(connection: AsyncConnection, operator_id: OperatorId, known: Standing) -> None:
    values = {"access_doubted_at": known.doubted_at, "access_problem": known.problem}
    await connection.execute(update(O).where(O.c.id == operator_id).values(values))


async def want_reconciliation(
    connection: AsyncConnection, now: datetime, *, patience: timedelta
) -> list[OperatorId]:
    """Ask it of every operator, and hold back starts until it is done, `patience` at most. A wish that is still open
    stands as it is, so that a process that dies again and again does not hold back starts for ever."""
    await connection.execute(
        update(O)
        .where(
            or_(
                O.c.reconcile_wanted_at.is_(None),
                O.c.reconciled_at >= O.c.reconcile_wanted_at,
                O.c.reconcile_wanted_at <= now - patience,
            )
        )
        .values(reconcile_wanted_at=now)
    )
    return [OperatorId(row.id) for row in await connection.execute(select(O.c.id).order_by(O.c.id))]


async def starts_held_since(connection: AsyncConnection, operator_id: OperatorId) -> datetime | None:
    """When a reconciliation was asked for that has not been made yet; None: nothing holds back starts."""
    query = select(O.c.reconcile_wanted_at).where(
        O.c.id == operator_id,
        or_(O.c.reconciled_at.is_(None), O.c.reconciled_at < O.c.reconcile_wanted_at),
    )
    found: datetime | None = (await connection.execute(query)).scalar_one_or_none()
    return found


async def reconciliation(connection: AsyncConnection, operator_id: OperatorId) -> Reconciliation | None:
    columns = (
        O.c.reconcile_wanted_at,
        O.c.reconciled_at,
        O.c.reconciled_deep_at,
        O.c.reconcile_due_at,
        O.c.created_at,
    )
    row = (await connection.execute(select(*columns).where(O.c.id == operator_id))).one_or_none()
    if row is None:
        return None
    return Reconciliation(
        wanted_at=row.reconcile_wanted_at,
        reconciled_at=row.reconciled_at or row.created_at,
        deep_at=row.reconciled_deep_at,
        due_at=row.reconcile_due_at or row.created_at,
    )


async def note_reconciled(
    connection: AsyncConnection,
    operator_id: OperatorId,
    began: datetime,
    *,
    deep: bool,
    next_at: datetime,
    problem: str | None,
) -> None:
    """The comparison that began then is done."""
    values: dict[str, object] = {
        "reconciled_at": began,
        "reconcile_due_at": next_at,
        "reconcile_problem": problem,
    }
    await connection.execute(
        update(O)
        .where(O.c.id == operator_id)
        .values(values | ({"reconciled_deep_at": began} if deep else {}))
    )


async def note_reconcile_problem(
    connection: AsyncConnection, operator_id: OperatorId, problem: str, *, next_at: datetime
) -> None:
    values = {"reconcile_problem": problem, "reconcile_due_at": next_at}
    await connection.execute(update(O).where(O.c.id == operator_id).values(values))


async def set_top_up_max(
    connection: AsyncConnection, operator_id: OperatorId, amount_minor: int | None
) -> None:
    """For sessions from now on; running ones keep what was told to Monta."""
    await connection.execute(
        update(operators).where(operators.c.id == operator_id).values(top_up_max_minor=amount_minor)
    )


async def exists(connection: AsyncConnection, operator_id: OperatorId) -> bool:
    query = select(operators.c.id).where(operators.c.id == operator_id)
    return (await connection.execute(query)).one_or_none() is not None


def webhook_path(endpoint_id: str) -> str:
    """Where Monta delivers an operator's events."""
    return f"/v1/webhooks/monta/{endpoint_id}"
