"""Reads terminals and charge points with their latest sessions, for people."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select

from app.domain.session.payment_session import Status
from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargePointId, OperatorId, TerminalId
from app.store.db.connection import Connection
from app.store.operators.charge_points import KnownChargePoint, known_from
from app.store.tables import api_keys, charge_points, payment_sessions, terminal_charge_points, terminals

P, T, C, L, K = payment_sessions.c, terminals.c, charge_points.c, terminal_charge_points.c, api_keys.c


@frozen(kw_only=True)
class Use:
    """Sessions recorded since some time; `not_started` of them brought no charge."""

    sessions: int
    not_started: int
    last_at: datetime


@frozen(kw_only=True)
class KnownTerminal:
    id: TerminalId
    operator_id: OperatorId
    name: str
    provider: str
    charge_points: int
    keys: int
    """Keys that are not revoked."""
    heard_at: datetime | None
    """When one of its keys was used last; None: not known yet."""


@frozen(kw_only=True)
class OwnCharge:
    """A session of ours that holds a charge point."""

    session_id: str
    display_reference: str
    status: str


Place = tuple[OperatorId, ChargePointId]


async def listed_terminals(
    connection: Connection, operator_id: OperatorId | None, *, limit: int
) -> list[KnownTerminal]:
    """Up to `limit` terminals by name."""
    served = select(func.count()).where(L.terminal_id == T.id).correlate(terminals).scalar_subquery()
    of_terminal = K.terminal_id == T.id
    live = (
        select(func.count()).where(of_terminal, K.revoked_at.is_(None)).correlate(terminals).scalar_subquery()
    )
    heard = select(func.max(K.last_used_at)).where(of_terminal).correlate(terminals).scalar_subquery()
    query = (
        select(
            T.id,
            T.operator_id,
            T.name,
            T.provider,
            served.label("served"),
            live.label("keys"),
            heard.label("heard_at"),
        )
        .order_by(T.name, T.id)
        .limit(limit)
    )
    rows = await connection.execute(_of(query, operator_id, T.operator_id))
    return [
        KnownTerminal(
            id=TerminalId(r.id),
            operator_id=OperatorId(r.operator_id),
            name=r.name,
            provider=r.provider,
            charge_points=r.served,
            keys=r["keys"],
            heard_at=r.heard_at,
        )
        for r in rows
    ]


async def listed_points(
    connection: Connection, operator_id: OperatorId | None, *, limit: int
) -> list[KnownChargePoint]:
    """Up to `limit` charge points that terminals use, by name."""
    query = select(charge_points).order_by(C.name.nulls_last(), C.operator_id, C.charge_point_id).limit(limit)
    return [known_from(row) for row in await connection.execute(_of(query, operator_id, C.operator_id))]


async def use_of_terminals(
    connection: Connection, operator_id: OperatorId | None, since: datetime
) -> dict[TerminalId, Use]:
    rows = await connection.execute(_of(_use(P.terminal_id, since=since), operator_id, P.operator_id))
    return {TerminalId(r.terminal_id): _used(r) for r in rows}


async def use_of_points(
    connection: Connection, operator_id: OperatorId | None, since: datetime
) -> dict[Place, Use]:
    query = _use(P.operator_id, P.charge_point_id, since=since)
    rows = await connection.execute(_of(query, operator_id, P.operator_id))
    return {(OperatorId(r.operator_id), ChargePointId(r.charge_point_id)): _used(r) for r in rows}


async def own_charges(connection: Connection, operator_id: OperatorId | None) -> dict[Place, OwnCharge]:
    """The session that holds each charge point; there is one at most."""
    query = select(P.operator_id, P.charge_point_id, P.id, P.display_reference, P.status).where(
        P.occupies_charge_point
    )
    return {
        (OperatorId(r.operator_id), ChargePointId(r.charge_point_id)): OwnCharge(
            session_id=r.id, display_reference=r.display_reference, status=r.status
        )
        for r in await connection.execute(_of(query, operator_id, P.operator_id))
    }


def _use(*keys: Any, since: datetime) -> Select[Any]:
    return (
        select(
            *keys,
            func.count().label("sessions"),
            func.count().filter(P.status == Status.NOT_STARTED).label("not_started"),
            func.max(P.created_at).label("last_at"),
        )
        .where(P.created_at >= since)
        .group_by(*keys)
    )


def _of(query: Select[Any], operator_id: OperatorId | None, column: ColumnElement[Any]) -> Select[Any]:
    return query if operator_id is None else query.where(column == operator_id)


def _used(row: Any) -> Use:
    return Use(sessions=row.sessions, not_started=row.not_started, last_at=row.last_at)
