"""Stores Monta's token pairs and rate budgets, one row an operator. Shared by all replicas."""

from collections.abc import Sequence
from dataclasses import field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import structlog
from sqlalchemy import (
    ColumnElement,
    Integer,
    Numeric,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId
from app.store.db.connection import Connection, Row
from app.store.db.secret_box import SecretBox, SecretUnreadable
from app.store.operators.secret_keys import sealing_key
from app.store.tables import monta_budgets, monta_tokens

log = structlog.get_logger("store")

T = monta_tokens
B = monta_budgets

SAME_WINDOW = timedelta(seconds=5)
"""Two window ends closer than this are of the same window, seen through different delays."""


@frozen
class TokenPair:
    version: int
    access: str = field(repr=False)
    access_expires_at: datetime
    refresh: str = field(repr=False)
    refresh_expires_at: datetime


_TOKENS = select(T).where(T.c.operator_id == bindparam("operator"), T.c.version > 0)


async def load_tokens(connection: Connection, operator_id: OperatorId, box: SecretBox) -> TokenPair | None:
    """The shared pair. An unreadable one is over: the credential brings another."""
    row = (await connection.execute(_TOKENS, {"operator": operator_id})).one_or_none()
    return None if row is None else _opened(row, operator_id, box)


async def reseal_tokens(connection: Connection, operator_id: OperatorId, box: SecretBox, key_id: str) -> None:
    """Encrypts an operator's tokens anew with the key of this id. Their version stays."""
    row = (await connection.execute(_TOKENS.with_for_update(), {"operator": operator_id})).one_or_none()
    if row is not None:
        pair = _opened(row, operator_id, box)
        await connection.execute(
            update(T).where(T.c.operator_id == operator_id).values(_sealed(operator_id, pair, box, key_id))
        )


async def forget_tokens(connection: Connection, operator_id: OperatorId) -> None:
    """Ends the shared pair, which belongs to another account or address."""
    over = {"access_expires_at": _OVER, "refresh_expires_at": _OVER, "version": T.c.version + 1}
    await connection.execute(update(T).where(T.c.operator_id == operator_id, T.c.version > 0).values(over))


_OVER = datetime(2000, 1, 1, tzinfo=UTC)
"""When a pair ended that must not be used again."""


def _opened(row: Row, operator_id: OperatorId, box: SecretBox) -> TokenPair:
    try:
        access, refresh = (
            box.open(row[name], owner=operator_id, purpose=name) for name in ("access", "refresh")
        )
    except SecretUnreadable as error:
        log.error("tokens_unreadable", operator_id=operator_id, why=str(error))
        return TokenPair(row.version, "", _OVER, "", _OVER)
    return TokenPair(row.version, access, row.access_expires_at, refresh, row.refresh_expires_at)


def _sealed(operator_id: OperatorId, pair: TokenPair, box: SecretBox, key_id: str) -> dict[str, Any]:
    return {
        "access": box.seal(pair.access, owner=operator_id, purpose="access", key_id=key_id),
        "refresh": box.seal(pair.refresh, owner=operator_id, purpose="refresh", key_id=key_id),
        "access_expires_at": pair.access_expires_at,
        "refresh_expires_at": pair.refresh_expires_at,
    }


async def lease_renewal(
    connection: Connection, operator_id: OperatorId, version: int, *, until: datetime, now: datetime
) -> bool:
    """Leases the renewal of the token pair of this version until `until`. False: it is taken."""
    await connection.execute(_NO_TOKENS, {"operator_id": operator_id})
    given = {"operator": operator_id, "of_version": version, "now": now, "renewal_lease_until": until}
    return (await connection.execute(_LEASE, given)).one_or_none() is not None


_NO_TOKENS = insert(T).on_conflict_do_nothing()
_LEASE = (
    update(T)
    .where(T.c.operator_id == bindparam("operator"), T.c.version == bindparam("of_version"))
    .where(or_(T.c.renewal_lease_until.is_(None), T.c.renewal_lease_until <= bindparam("now")))
    .returning(T.c.version)
)


async def save_tokens(
    connection: Connection, operator_id: OperatorId, pair: TokenPair, box: SecretBox
) -> int:
    """Saves a new pair and ends the renewal lease. Returns its version, one above the row's. Raises WrongSecretKey."""
    sealed = _sealed(operator_id, pair, box, await sealing_key(connection, box))
    row = {"operator_id": operator_id, "version": 1} | sealed
    version: int = (await connection.execute(_save_row(tuple(sealed)), row)).scalar_one()
    return version


@cache
def _save_row(names: Sequence[str]) -> ReturningInsert[Any]:
    """The statement that saves a pair in these columns. Built once, so that it is compiled once."""
    statement = insert(T)
    fresh: dict[str, Any] = {name: statement.excluded[name] for name in names}
    fresh |= {"version": T.c.version + 1, "renewal_lease_until": None}
    return statement.on_conflict_do_update(index_elements=[T.c.operator_id], set_=fresh).returning(
        T.c.version
    )


@frozen(kw_only=True)
class Quota:
    """Monta's own figures, as the headers of one answer show them."""

    total: int
    window_s: int
    remaining: int
    ends_at: datetime


def strictest(seen: Sequence[Quota]) -> Quota:
    """The figures with the least left of the last window that answers show."""
    last = max(seen, key=lambda quota: quota.ends_at)
    same = [q for q in seen if q.total == last.total and last.ends_at - q.ends_at <= SAME_WINDOW]
    return min(same, key=lambda quota: quota.remaining)


@frozen
class Count:
    """The quota left until the window ends, after this request."""

    quota: int
    remaining: int
    window_ends_at: datetime

    def covers(self, seen: Quota) -> bool:
        """Whether Monta's figures for the same window would change nothing."""
        same = self.quota == seen.total and abs(self.window_ends_at - seen.ends_at) <= SAME_WINDOW
        return same and self.remaining <= seen.remaining


async def take_requests(
    connection: Connection,
    operator_id: OperatorId,
    *,
    count: int = 1,
    reserve: Decimal,
    urgent: bool,
    now: datetime,
) -> "Count | datetime":
    """Deducts requests from the budget, all of them or none. None when fewer than `reserve` (a share of the quota)
    would be left before the last.

    One UPDATE of one row, so the count is exact over all replicas. `urgent`: only a block of stops holds it back.

    Returns the count when granted, else when to retry.
    """
    given = {"operator": operator_id, "now": now, "count": count} | ({} if urgent else {"reserve": reserve})
    for _ in range(2):
        counted = (await connection.execute(_TAKE_URGENT if urgent else _TAKE, given)).one_or_none()
        if counted is not None:
            return Count(counted.quota, counted.remaining, counted.window_ends_at)
        row = (await connection.execute(select(B).where(B.c.operator_id == operator_id))).one()
        blocked_until = row.stops_blocked_until if urgent else row.blocked_until
        used_up = not urgent and row.window_ends_at > now and row.remaining <= row.quota * reserve
        causes: list[datetime | None] = [
            blocked_until if blocked_until and blocked_until > now else None,
            row.window_ends_at if used_up else None,
        ]
        if times := [t for t in causes if t is not None]:
            return max(times)
        # Refused by a row version that was replaced meanwhile (F114): once more with the present one.
    return now + timedelta(seconds=1)


async def open_budget(
    connection: Connection, operator_id: OperatorId, *, quota: int, window_s: int, now: datetime
) -> None:
    """Opens a budget with an assumed quota. Monta's own figures replace it as soon as they are seen."""
    row = {
        "quota": quota,
        "window_s": window_s,
        "remaining": quota,
        "window_ends_at": now + timedelta(seconds=window_s),
    }
    await connection.execute(insert(B).values(operator_id=operator_id, **row).on_conflict_do_nothing())


async def agree_quota(
    connection: Connection, operator_id: OperatorId, *, quota: int, window_s: int
) -> Count | None:
    """Changes the quota to the agreed one; what the window has used of it stays used. None: it is that one already."""
    given = {"operator": operator_id, "total": quota, "window": window_s}
    row = (await connection.execute(_AGREE, given)).one_or_none()
    return None if row is None else Count(row.quota, row.remaining, row.window_ends_at)


async def correct_budget(connection: Connection, operator_id: OperatorId, seen: Quota) -> Count | None:
    """Corrects the budget by Monta's headers. Within one window the smaller count wins, since calls may be under way.

    A count of another quota (ours was assumed, or the agreement was changed) is ignored. None: there is no budget yet.
    """
    given = {
        "operator": operator_id,
        "total": seen.total,
        "window": seen.window_s,
        "left": seen.remaining,
        "ends_at": seen.ends_at,
    }
    row = (await connection.execute(_CORRECT, given)).one_or_none()
    return None if row is None else Count(row.quota, row.remaining, row.window_ends_at)


async def block_requests(
    connection: Connection, operator_id: OperatorId, until: datetime, *, stops_too: bool
) -> None:
    """Blocks requests until `until`, stops only when `stops_too`; a longer block stands."""
    longer: dict[str, object] = {"blocked_until": func.greatest(B.c.blocked_until, until)}
    if stops_too:
        longer["stops_blocked_until"] = func.greatest(B.c.stops_blocked_until, until)
    await connection.execute(update(B).where(B.c.operator_id == operator_id).values(longer))


async def budget_left(connection: Connection) -> dict[OperatorId, tuple[int, int]]:
    """(remaining, quota) of each operator as of the last request."""
    rows = await connection.execute(select(B.c.operator_id, B.c.remaining, B.c.quota))
    return {OperatorId(r.operator_id): (r.remaining, r.quota) for r in rows}


def _window() -> ColumnElement[timedelta]:
    return func.make_interval(0, 0, 0, 0, 0, 0, B.c.window_s)


def _take(*, urgent: bool) -> ReturningUpdate[tuple[int, int, datetime]]:
    now = bindparam("now", type_=B.c.window_ends_at.type)
    block = B.c.stops_blocked_until if urgent else B.c.blocked_until
    fresh = B.c.window_ends_at <= now
    remaining = case((fresh, B.c.quota), else_=B.c.remaining)
    count = bindparam("count", type_=Integer())
    enough = true() if urgent else remaining - (count - 1) > B.c.quota * bindparam("reserve", type_=Numeric())
    return (
        update(B)
        .where(B.c.operator_id == bindparam("operator"), or_(block.is_(None), block <= now), enough)
        .values(
            remaining=func.greatest(remaining - count, 0),
            window_ends_at=case((fresh, now + _window()), else_=B.c.window_ends_at),
        )
        .returning(B.c.quota, B.c.remaining, B.c.window_ends_at)
    )


def _correct() -> ReturningUpdate[tuple[int, int, datetime]]:
    ends_at = bindparam("ends_at", type_=B.c.window_ends_at.type)
    left, total = bindparam("left", type_=Integer()), bindparam("total", type_=Integer())
    apart_s = func.abs(func.extract("epoch", B.c.window_ends_at - ends_at))
    same = and_(apart_s <= SAME_WINDOW.total_seconds(), B.c.quota == total)
    return (
        update(B)
        .where(B.c.operator_id == bindparam("operator"))
        .values(
            quota=total,
            window_s=bindparam("window", type_=Integer()),
            remaining=case((same, func.least(B.c.remaining, left)), else_=left),
            window_ends_at=ends_at,
        )
        .returning(B.c.quota, B.c.remaining, B.c.window_ends_at)
    )


def _agree() -> ReturningUpdate[tuple[int, int, datetime]]:
    total, window_s = bindparam("total", type_=Integer()), bindparam("window", type_=Integer())
    return (
        update(B)
        .where(B.c.operator_id == bindparam("operator"), or_(B.c.quota != total, B.c.window_s != window_s))
        .values(quota=total, window_s=window_s, remaining=func.greatest(B.c.remaining + total - B.c.quota, 0))
        .returning(B.c.quota, B.c.remaining, B.c.window_ends_at)
    )


_AGREE = _agree()
_CORRECT = _correct()
_TAKE, _TAKE_URGENT = _take(urgent=False), _take(urgent=True)
"""Built once: every request to Monta executes one of them."""
