"""Records what the PSP did with a settled hold."""

from collections.abc import Sequence
from datetime import datetime

from app.domain.session.machine import Caller, Change
from app.domain.session.payment_session import PaymentSession
from app.domain.session.settle import reported
from app.domain.session.settlement import (
    MAX_FAILURES,
    MAX_REPORTS,
    CaptureOutcome,
    CaptureReport,
    HoldUnknown,
    same_report,
)
from app.domain.units.frozen import replace
from app.domain.units.ids import SessionId
from app.flows.context import Context, locked_session
from app.flows.saving import save
from app.store.db.database import retry_on_serialization_failure, wait_for_standby
from app.store.sessions.session_filter import SessionFilter
from app.store.sessions.settlements import Capture, add_capture, captures_of_session


class NotSettled(Exception):
    """The session is not settled. There is nothing to capture or release yet."""


class CaptureConflict(Exception):
    """The report contradicts an earlier one. The same report came with another amount, or it contradicts one that was
    confirmed."""


@retry_on_serialization_failure
async def report_capture(
    context: Context,
    session_id: SessionId,
    owner: SessionFilter,
    report: CaptureReport,
    *,
    by: Caller | None = None,
) -> PaymentSession:
    """Records what the PSP did, in parts or as a whole. The settlement's status follows the sum. Idempotent.

    Raises SessionUnknown, NotSettled, CaptureConflict.
    """
    now = context.clock.now()
    async with context.database.transaction() as connection:
        before = await locked_session(connection, session_id, owner)
        if before.settlement is None:
            raise NotSettled("this payment session is not settled yet; wait for its settlement")
        known = [capture.report() for capture in await captures_of_session(connection, session_id)]
        earlier = next((r for r in known if same_report(r, report)), None)
        if earlier is not None:
            if earlier.amount_minor != report.amount_minor:
                raise CaptureConflict("this outcome was reported with another amount before")
            await wait_for_standby(connection)
            return before
        _check_count(before, known, report)
        try:
            dated = replace(report, reported_at=now)
            change = reported(Change(before, by=by), [*known, dated], now, context.policy)
        except HoldUnknown:
            raise CaptureConflict("this payment session has no authorization with this reference") from None
        await add_capture(connection, before, _to_keep(report, now))
        return await save(context, connection, before, change, now)


def _check_count(session: PaymentSession, known: Sequence[CaptureReport], report: CaptureReport) -> None:
    """Bounds refusals apart from what moved money. That can still be reported after many refusals."""
    failed = report.outcome is CaptureOutcome.FAILED
    most = (MAX_FAILURES if failed else MAX_REPORTS) + len(session.top_ups)
    if sum((r.outcome is CaptureOutcome.FAILED) is failed for r in known) >= most:
        raise CaptureConflict(f"{most} such outcomes of this payment session were reported already")


def _to_keep(report: CaptureReport, now: datetime) -> Capture:
    return Capture(
        outcome=report.outcome,
        amount_minor=report.amount_minor,
        reference=report.reference,
        authorization_reference=report.authorization_reference,
        retryable=report.retryable,
        reported_at=now,
    )
