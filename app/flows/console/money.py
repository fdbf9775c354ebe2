"""Finds holds that expire soon, captures that failed, and captures that are overdue."""

from datetime import datetime, timedelta

from app.domain.session.holds import hold_deadline
from app.domain.session.payment_session import PaymentSession
from app.domain.session.settlement import SettlementStatus
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId
from app.flows.context import Context
from app.store.operators.names import Names, names_of
from app.store.sessions import payment_sessions, settlements
from app.store.sessions.session_filter import SessionFilter

SOON = timedelta(hours=24)
MOST_SHOWN = 100
MOST_RUNNING = 2000
"""Unsettled sessions that are looked through, the newest ones."""


@frozen(kw_only=True)
class OpenHold:
    """A hold with its expiry, neither captured nor released. As far as is known."""

    session: PaymentSession
    valid_until: datetime
    overdue_since: datetime | None

    @property
    def has_failed(self) -> bool:
        """Whether the PSP's reports say that its capture failed."""
        settled = self.session.settlement
        return settled is not None and settled.status is SettlementStatus.FAILED


@frozen(kw_only=True)
class OpenMoney:
    """MOST_SHOWN of each at most, the most urgent first."""

    expiring: list[OpenHold]
    """Valid for less than SOON, settled or not."""
    overdue: list[OpenHold]
    """Settled, flagged, and still without a report."""
    failed: list[OpenHold]
    """Settled, and the PSP refused the capture or did something else."""
    names: Names


async def open_money(context: Context, operator_id: OperatorId | None) -> OpenMoney:
    """Looks at one operator's holds, or (None) at all."""
    now = context.clock.now()
    async with context.database.read() as connection:
        running = await payment_sessions.find(
            connection, SessionFilter(operator_id=operator_id, active=True), limit=MOST_RUNNING
        )
        unreported = await settlements.unreported(connection, operator_id, now + SOON, limit=MOST_SHOWN)
        found = await payment_sessions.find(
            connection, SessionFilter(operator_id=operator_id, ids=unreported), limit=3 * MOST_SHOWN
        )
        held = [_open(session, hold_deadline(session, context.policy)) for session in running]
        held += [_open(s, s.settlement.deadline) for s in found if s.settlement is not None]
        shown = [h for h in held if h.valid_until <= now + SOON or h.overdue_since or h.has_failed]
        names = await names_of(
            connection,
            {h.session.terminal_id for h in shown},
            {(h.session.operator_id, h.session.charge_point_id) for h in shown},
        )
    shown.sort(key=lambda hold: (hold.valid_until, hold.session.id))
    return OpenMoney(
        expiring=[h for h in shown if not h.overdue_since and not h.has_failed][:MOST_SHOWN],
        overdue=[h for h in shown if h.overdue_since and not h.has_failed][:MOST_SHOWN],
        failed=[h for h in shown if h.has_failed][:MOST_SHOWN],
        names=names,
    )


def _open(session: PaymentSession, valid_until: datetime) -> OpenHold:
    settled = session.settlement
    return OpenHold(
        session=session, valid_until=valid_until, overdue_since=settled.overdue_since if settled else None
    )
