"""Stores operators' state: sync, credential status and reconciliation progress."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime, timedelta

from sqlalchemy import and_, bindparam, case, func, or_, select, update

from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId
from app.store.db.connection import Connection
from app.store.db.statements import is_any
from app.store.tables import operators, orphans
from app.store.tables.base import Moment

O = operators  # noqa: E741
X = orphans


@frozen(kw_only=True)
class OperatorFacts:
    """An operator's state without secrets. Readable also while the encryption key is missing."""

    id: OperatorId
    name: str
    monta_url: str
    webhook_problem: str | None
    webhook_mended_at: datetime | None
    sync_problem: str | None
    setup_problem: str | None
    monta_clock_ahead_s: int | None
    access_problem: str | None
    reconciled_at: datetime | None
    reconcile_problem: str | None
    disabled_at: datetime | None


@frozen(kw_only=True)
class Reconciliation:
    """How far Monta's list was compared with our sessions. `wanted_at`: no start until it was compared since then."""

    wanted_at: datetime | None
    reconciled_at: datetime
    deep_at: datetime | None
    due_at: datetime


@frozen(kw_only=True)
class CredentialStatus:
    """`problem`: Monta refuses the credential permanently; `refused_since`: when that was first known."""

    refused_since: datetime | None
    problem: str | None


@frozen
class EvidenceCheck:
    """When sessions' evidence was last examined, and how far back. `position` None: the newest are next."""

    at: datetime | None
    position: tuple[datetime, str] | None


_EVIDENCE_CHECK = select(O.c.evidence_checked_at, O.c.evidence_checked_to, O.c.evidence_checked_id).where(
    O.c.id == bindparam("operator")
)
_CHANGE = update(O).where(O.c.id == bindparam("operator"))  # sets the columns that its other parameters name


async def evidence_check(connection: Connection, operator_id: OperatorId) -> EvidenceCheck:
    row = (await connection.execute(_EVIDENCE_CHECK, {"operator": operator_id})).one()
    to, last = row.evidence_checked_to, row.evidence_checked_id
    return EvidenceCheck(row.evidence_checked_at, None if to is None else (to, last or ""))


async def note_evidence_check(connection: Connection, operator_id: OperatorId, done: EvidenceCheck) -> None:
    """Saves how far the examination has come."""
    to, last = done.position or (None, None)
    values = {"evidence_checked_at": done.at, "evidence_checked_to": to, "evidence_checked_id": last}
    await connection.execute(_CHANGE, {"operator": operator_id} | values)


async def facts(connection: Connection) -> list[OperatorFacts]:
    columns = [O.c[each.name] for each in fields(OperatorFacts)]
    rows = await connection.execute(select(*columns).order_by(O.c.created_at, O.c.id))
    return [OperatorFacts(**row) for row in rows]


async def note_sync(
    connection: Connection,
    operator_id: OperatorId,
    *,
    webhook_problem: str | None,
    sync_problem: str | None,
) -> None:
    """Saves what went wrong at the last sync, for operations; None: nothing."""
    problems = {"webhook_problem": webhook_problem, "sync_problem": sync_problem}
    await connection.execute(_CHANGE, {"operator": operator_id} | problems)


async def note_setup(connection: Connection, operator_id: OperatorId, problem: str | None) -> None:
    """Saves the differences between configuration and Monta's records; None: there are none."""
    await connection.execute(_CHANGE, {"operator": operator_id, "setup_problem": problem})


async def note_monta_clock(connection: Connection, operator_id: OperatorId, ahead_s: int | None) -> None:
    """Saves how far Monta's clock is ahead of ours (below 0: behind). None: they agree."""
    await connection.execute(update(O).where(O.c.id == operator_id).values(monta_clock_ahead_s=ahead_s))


async def note_webhook_mended(connection: Connection, operator_id: OperatorId, now: datetime) -> None:
    """Records that a webhook configuration changed by others was restored."""
    await connection.execute(update(O).where(O.c.id == operator_id).values(webhook_mended_at=now))


_CREDENTIAL = select(O.c.access_refused_since, O.c.access_problem).where(O.c.id == bindparam("operator"))


async def credential_status(connection: Connection, operator_id: OperatorId) -> CredentialStatus:
    row = (await connection.execute(_CREDENTIAL, {"operator": operator_id})).one_or_none()
    if row is None:
        return CredentialStatus(refused_since=None, problem=None)
    return CredentialStatus(refused_since=row.access_refused_since, problem=row.access_problem)


async def set_disabled(connection: Connection, operator_id: OperatorId, at: datetime | None) -> None:
    """Takes no new payments of an operator from `at` on. The first time stays. None: takes them again."""
    disabled_at = None if at is None else func.coalesce(O.c.disabled_at, at)
    await connection.execute(update(O).where(O.c.id == operator_id).values(disabled_at=disabled_at))


_SETTINGS = (
    *("client_id", "paying_team_id", "price_unit", "time_zone", "top_up_max_minor", "hold_max_eur"),
    *("least_capture_minor", "least_energy_wh", "disabled_at", "created_at"),
)


async def settings_of(connection: Connection, operator_id: OperatorId) -> dict[str, object]:
    """The settings of an operator that are no secrets, by column."""
    query = select(*(O.c[name] for name in _SETTINGS)).where(O.c.id == operator_id)
    return dict((await connection.execute(query)).one())


async def note_credential_status(
    connection: Connection, operator_id: OperatorId, known: CredentialStatus
) -> None:
    values = {"access_refused_since": known.refused_since, "access_problem": known.problem}
    await connection.execute(update(O).where(O.c.id == operator_id).values(values))


async def want_reconciliation(
    connection: Connection, now: datetime, *, patience: timedelta
) -> list[OperatorId]:
    """Requests a reconciliation of every operator, and holds starts. Until it is done, `patience` at most. An open
    request stays as it is, so that a process that crashes repeatedly does not hold starts for ever."""
    await connection.execute(
        update(O)
        .where(
            or_(
                O.c.reconcile_wanted_at.is_(None),
                O.c.reconciled_at >= O.c.reconcile_wanted_at,
                O.c.reconcile_wanted_at <= now - patience,
            )
        )
        .values(reconcile_wanted_at=now, reconcile_due_at=func.least(O.c.reconcile_due_at, now))
    )
    return [OperatorId(row.id) for row in await connection.execute(select(O.c.id).order_by(O.c.id))]


async def suspect_orphans(
    connection: Connection, operator_id: OperatorId, references: Sequence[str], *, due_at: datetime
) -> bool:
    """Schedules a reconciliation for unknown sessions that Monta names. Unless their charges are known orphans. Returns
    whether that is sooner than planned."""
    known = select(X.c.session_reference).where(
        X.c.operator_id == operator_id, is_any(X.c.session_reference, references)
    )
    if set(references) <= set((await connection.execute(known)).scalars()):
        return False
    sooner = (
        update(O)
        .where(O.c.id == operator_id, O.c.reconcile_due_at > due_at)
        .values(reconcile_due_at=due_at)
        .returning(O.c.id)
    )
    return (await connection.execute(sooner)).one_or_none() is not None


_HELD_SINCE = select(O.c.reconcile_wanted_at).where(
    O.c.id == bindparam("operator"),
    or_(O.c.reconciled_at.is_(None), O.c.reconciled_at < O.c.reconcile_wanted_at),
)


_STILL_HELD_SINCE = _HELD_SINCE.with_for_update(read=True)


async def starts_held_since(connection: Connection, operator_id: OperatorId) -> datetime | None:
    """When a reconciliation was requested that is still outstanding. None: no starts are held.

    Its end is not recorded before this transaction is over: whoever puts a start off for it is seen by
    `wake_authorized` afterwards.
    """
    given = {"operator": operator_id}
    if (await connection.execute(_HELD_SINCE, given)).first() is None:
        return None
    found: datetime | None = (await connection.execute(_STILL_HELD_SINCE, given)).scalar_one_or_none()
    return found


async def reconciliation(connection: Connection, operator_id: OperatorId) -> Reconciliation | None:
    row = (await connection.execute(_RECONCILIATION, {"operator": operator_id})).one_or_none()
    if row is None:
        return None
    return Reconciliation(
        wanted_at=row.reconcile_wanted_at,
        reconciled_at=row.reconciled_at or row.created_at,
        deep_at=row.reconciled_deep_at,
        due_at=row.reconcile_due_at or row.created_at,
    )


_RECONCILIATION = select(
    O.c.reconcile_wanted_at, O.c.reconciled_at, O.c.reconciled_deep_at, O.c.reconcile_due_at, O.c.created_at
).where(O.c.id == bindparam("operator"))


async def note_reconciled(
    connection: Connection,
    operator_id: OperatorId,
    began: datetime,
    *,
    deep: bool,
    next_at: datetime,
    problem: str | None,
) -> None:
    """Records a reconciliation that began then. The next comes sooner when it was requested meanwhile."""
    values = {"reconciled_at": began, "reconcile_problem": problem}
    given = {"operator": operator_id, "began": began, "next_at": next_at}
    await connection.execute(_RECONCILED, given | values | ({"reconciled_deep_at": began} if deep else {}))


_NEXT_AT = bindparam("next_at", type_=Moment)
_ASKED_MEANWHILE = and_(O.c.reconcile_due_at > bindparam("began"), O.c.reconcile_due_at < _NEXT_AT)
_RECONCILED = _CHANGE.values(reconcile_due_at=case((_ASKED_MEANWHILE, O.c.reconcile_due_at), else_=_NEXT_AT))


async def note_reconcile_problem(
    connection: Connection, operator_id: OperatorId, problem: str, *, next_at: datetime
) -> None:
    values = {"reconcile_problem": problem, "reconcile_due_at": next_at}
    await connection.execute(update(O).where(O.c.id == operator_id).values(values))
