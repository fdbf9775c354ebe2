"""Stores reports from list reads until their sessions have applied them."""

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import ARRAY, ColumnElement, Text, any_, bindparam, delete, or_, select
from sqlalchemy.dialects.postgresql import insert

from app.domain.charging.charge import ChargeReport
from app.domain.units.ids import OperatorId, SessionId
from app.store.db.connection import Connection
from app.store.db.documents import as_text, to_document
from app.store.sessions import leases
from app.store.tables import payment_sessions, polled_reports

P = payment_sessions
S = polled_reports

_REPORT = msgspec.json.Decoder(ChargeReport)
_OF_SESSION = (
    select(as_text(S.c.report))
    .where(S.c.session_id == bindparam("session"))
    .order_by(S.c.seen_at, S.c.charge_id)
)
"""Built once: every claim of every session executes it."""


async def keep(
    connection: Connection,
    operator_id: OperatorId,
    reports: Sequence[ChargeReport],
    now: datetime,
    *,
    stops: Collection[SessionId] = (),
) -> int:
    """Saves each charge's newest report, and makes its session due. Of charges that belong to a session; `stops` before
    all others. Returns the count of sessions. Some hundreds at once at most.

    Locks sessions first, in the order of their ids, as advancing a session does, so that there is no deadlock.
    """
    by_id = {report.id: report for report in reports}
    by_reference = {r.partner_external_id: r for r in reports if r.partner_external_id}
    found = await connection.execute(
        select(P.c.id, P.c.charge_id)
        .where(P.c.operator_id == operator_id, _means(list(by_id), list(by_reference)))
        .order_by(P.c.id)
        .with_for_update()
    )
    rows: dict[str, dict[str, object]] = {}
    sessions = found.all()
    for session in sessions:
        for report in (by_id.get(session.charge_id), by_reference.get(session.id)):
            if report is not None:
                rows[report.id] = _row(operator_id, SessionId(session.id), report)
    if not rows:
        return 0
    statement = insert(S)
    newer = {name: statement.excluded[name] for name in ("session_id", "seen_at", "report")}
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=[S.c.operator_id, S.c.charge_id],
            set_=newer,
            where=S.c.seen_at <= statement.excluded.seen_at,
        ),
        list(rows.values()),
    )
    await leases.wake(connection, [s.id for s in sessions if s.id in stops], now, for_stop=True)
    await leases.wake(connection, [s.id for s in sessions if s.id not in stops], now)
    return len(sessions)


async def of_session(connection: Connection, session_id: SessionId) -> list[ChargeReport]:
    """Returns reports of a locked session that are not applied yet. Of its charges, oldest first."""
    rows = await connection.execute(_OF_SESSION, {"session": session_id})
    return [_REPORT.decode(row.report) for row in rows]


async def clear(connection: Connection, session_id: SessionId) -> None:
    """Deletes applied reports. The session is locked, so nothing newer can have come since the read."""
    await connection.execute(delete(S).where(S.c.session_id == session_id))


def _means(charge_ids: list[str], references: list[str]) -> ColumnElement[bool]:
    return or_(
        P.c.charge_id == any_(bindparam("charge_ids", charge_ids, type_=ARRAY(Text))),
        P.c.id == any_(bindparam("references", references, type_=ARRAY(Text))),
    )


def _row(operator_id: OperatorId, session_id: SessionId, report: ChargeReport) -> dict[str, object]:
    return {
        "operator_id": operator_id,
        "charge_id": report.id,
        "session_id": session_id,
        "seen_at": report.seen_at,
        "report": to_document(report),
    }
