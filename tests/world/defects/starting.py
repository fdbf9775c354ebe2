"""Defects in starting, and in giving up a start."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from app import monta_access
from app.domain.limit.policy import Policy
from app.domain.session import monta_calls
from app.domain.session.machine import Change, GiveUp, SearchCharges, SendStart, Step, StopDuplicate, Wait
from app.domain.session.payment_session import NotStartedReason, PaymentSession, StartOutcome
from app.monta.errors import Outcome, outcome_of
from app.monta.ports import Purpose
from app.monta_access import SharedBudget
from app.store.operators import operator_state, orphans
from app.store.operators.orphans import Orphan
from tests.world.defects.planting import Defect, deciding, sorting, substitute
from tests.world.faults import monta, service, site
from tests.world.loop import WorldClock


def _unknown_is_not_done(change: Change, why: str, policy: Policy) -> Change:
    intent_at = change.session.start.intent_at or change.session.created_at
    return monta_calls.start_not_done(change, why, retry_at=intent_at + timedelta(seconds=2))


_START_INTENDED = monta_calls.start_intended


def _no_intent(change: Change, now: datetime, policy: Policy) -> Change:
    """The POST is not noted before it leaves."""
    return change.to(
        replace(
            change.session,
            start=replace(
                _START_INTENDED(change, now, policy).session.start,
                outcome=StartOutcome.NOT_DONE,
                posts=1,
                intent_at=now,
            ),
        )
    )


def _gateway_errors_are_refusals(what: int | Exception) -> Outcome:
    return Outcome.REFUSED if isinstance(what, int) and what >= 500 else outcome_of(what)


def _broken_lines_are_not_sent(what: int | Exception) -> Outcome:
    return Outcome.NOT_SENT if isinstance(what, Exception) else outcome_of(what)


def _gives_up_in_doubt(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    unknown = session.start.outcome is StartOutcome.UNKNOWN and session.charge is None
    return GiveUp(NotStartedReason.START_TIMEOUT) if unknown and isinstance(step, SearchCharges) else step


def _never_gives_up(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    return Wait(now + timedelta(minutes=5)) if isinstance(step, GiveUp) else step


def _cancels_at_once(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    return (
        GiveUp(NotStartedReason.CANCELED) if session.stop_request is not None and not session.ended else step
    )


def _starts_again(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    """A charge that has not begun after a minute is started once more."""
    slow = session.charge is None and session.start.posts and now > session.created_at + timedelta(minutes=1)
    return SendStart() if slow and isinstance(step, SearchCharges) else step


NEVER_S = 1e8


def _leaves_extras(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    return Wait(now + timedelta(minutes=5)) if isinstance(step, StopDuplicate) else step


async def _not_held(*_: object) -> None:
    """Skips the wait for the comparison with Monta's list."""


async def _no_orphans(*_: object) -> list[Orphan]:
    return []


async def _always(*_: object) -> None:
    """Grants every request."""


DEFECTS: tuple[Defect, ...] = (
    Defect(name="no send guard", policy=Policy(send_guard_s=NEVER_S), under=(service.stalls,), noticed_in=8),
    Defect(
        name="the send guard looks at the wall clock",
        plant=substitute(WorldClock, "monotonic", lambda clock: clock.now().timestamp()),
        under=(service.short_stalls,),
        noticed_in=19,
    ),
    Defect(
        name="blind second start",
        plant=substitute(monta_calls, "start_unknown", _unknown_is_not_done),
        under=(service.lost_lines, monta.start_trouble),
        noticed_in=2,
    ),
    Defect(
        name="no intent before the start",
        plant=substitute(monta_calls, "start_intended", _no_intent),
        under=(monta.unanswered_start,),
    ),
    Defect(name="no quiet window", policy=Policy(quiet_window_s=0), under=(monta.late_start,)),
    Defect(
        name="any number of starts",
        policy=Policy(max_ambiguous_posts=99, start_deadline_s=3600),
        under=(monta.lost_starts,),
    ),
    Defect(
        name="a gateway's error means not done",
        plant=sorting(_gateway_errors_are_refusals),
        under=(
            monta.garbled_start,
            monta.mute_webhooks,
        ),
    ),
    Defect(
        name="a broken line means not sent",
        plant=sorting(_broken_lines_are_not_sent),
        under=(service.lost_lines, monta.start_trouble),
        noticed_in=7,
    ),
    Defect(
        name="release without search",
        plant=deciding(_gives_up_in_doubt),
        under=(
            monta.slow_start,
            monta.mute_webhooks,
        ),
    ),
    Defect(name="cancel releases at once", plant=deciding(_cancels_at_once), under=(site.change_of_mind,)),
    Defect(name="never gives up", plant=deciding(_never_gives_up), under=(monta.refused_start,)),
    Defect(name="starts again after a minute", plant=deciding(_starts_again), under=(monta.lost_starts,)),
    Defect(
        name="duplicate charges are not looked for",
        policy=Policy(duplicate_watch_s=0),
        under=(
            monta.very_late_start,
            monta.mute_webhooks,
        ),
        noticed_in=14,
    ),
    Defect(
        name="duplicate charges go on",
        plant=deciding(_leaves_extras),
        under=(monta.late_start,),
        noticed_in=9,
    ),
    # after a restore
    Defect(
        name="starts do not wait for the comparison",
        plant=substitute(operator_state, "starts_held_since", _not_held),
        under=(service.backup_of_a_beginning,),
    ),
    Defect(
        name="charges of lost sessions go on",
        plant=substitute(orphans, "unfinished", _no_orphans),
        under=(service.restored_backup, site.long_charge),
        noticed_in=3,
    ),
    # quota
    Defect(
        name="requests are not counted",
        plant=substitute(SharedBudget, "take", _always),
        under=(monta.scarce_quota, monta.late_start, monta.mute_webhooks),
        noticed_in=6,
    ),
    Defect(
        name="nothing of the quota is kept for stops",
        plant=substitute(monta_access, "RESERVE", dict.fromkeys(Purpose, Decimal(0))),
        under=(monta.scarce_quota, monta.late_start, monta.mute_webhooks),
        noticed_in=4,
    ),
)
