"""Reads running sessions that changed, with the figures above them. Changed since the last refresh."""

from collections.abc import Mapping
from datetime import datetime

from app.domain.charging.availability import OFFLINE_AFTER
from app.domain.session.payment_session import PaymentSession
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId, SessionId
from app.flows.context import Context
from app.store import health, outages
from app.store.operators.names import Names, names_of
from app.store.sessions import leases, payment_sessions
from app.store.sessions.running import running_versions
from app.store.sessions.session_filter import SessionFilter
from app.store.sessions.settlements import count_open

MOST_RUNNING = 2000
"""Sessions that one page shows; the newest ones where more run."""


@frozen(kw_only=True)
class LiveChanges:
    """What runs at `now`. `changed`: new sessions, those with another version, and those that have ended since."""

    now: datetime
    running: Mapping[SessionId, int]
    """Versions by id."""
    changed: list[PaymentSession]
    names: Names
    """Of the changed sessions' terminals, charge points and operators."""
    needs_attention: int
    captures_overdue: int
    out_of_service: int
    """Charge points and terminals."""
    oldest_due_at: datetime | None


async def read_changes(
    context: Context, operator_id: OperatorId | None, known: Mapping[SessionId, int]
) -> LiveChanges:
    """Reads the running sessions of one operator, or (None) of all. `known`: versions that ran before."""
    now = context.clock.now()
    async with context.database.read() as connection:
        running = await running_versions(connection, operator_id, limit=MOST_RUNNING)
        wanted = [each for each, version in running.items() if known.get(each) != version]
        wanted += [each for each in known if each not in running]
        meant = SessionFilter(operator_id=operator_id, ids=sorted(wanted))
        changed = await payment_sessions.find(connection, meant, limit=len(wanted)) if wanted else []
        return LiveChanges(
            now=now,
            running=running,
            changed=changed,
            names=await names_of(
                connection,
                {s.terminal_id for s in changed},
                {(s.operator_id, s.charge_point_id) for s in changed},
            ),
            needs_attention=await health.need_attention(connection, operator_id),
            captures_overdue=(await count_open(connection, operator_id)).overdue,
            out_of_service=sum(await outages.count_out(connection, now - OFFLINE_AFTER, operator_id)),
            oldest_due_at=await leases.oldest_due(connection, now, operator_id),
        )
