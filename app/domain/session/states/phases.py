"""Phases of a payment session: what it waits for. They are finer than its status; a table has the steps that each
may lead to."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.charging.charge import Charge, ChargeState
from app.domain.limit.policy import Policy
from app.domain.session.machine import (
    AskSweep,
    CountLost,
    GiveUp,
    ReadCharge,
    SearchCharges,
    SendStart,
    SendStop,
    Settle,
    SettleUnfinished,
    Source,
    Step,
    Wait,
)
from app.domain.session.payment_session import Lost, PaymentSession, StartOutcome, Status
from app.domain.session.stuck_session import loss_of, released_at
from app.domain.units.frozen import frozen


class Phase(StrEnum):
    """What the next step depends on first. Never stored, always derived by `phase_of`."""

    READY = "ready"
    BACKOFF = "backoff"
    START_UNKNOWN = "start_unknown"
    START_EXHAUSTED = "start_exhausted"
    START_REFUSED = "start_refused"
    RELEASING = "releasing"
    RUNNING = "running"
    STOPPING = "stopping"
    RESTARTED = "restarted"
    AWAITING_FINAL = "awaiting_final"
    FINAL_UNREAD = "final_unread"
    FINAL = "final"
    LOST = "lost"
    ENDED = "ended"


@frozen(kw_only=True)
class PhaseRow:
    """One row of the table of phases. When it holds, whose fact or decision leads there, and what the watcher does
    in it."""

    statuses: tuple[Status, ...]
    """In which of them it occurs."""
    holds: str
    issuers: tuple[Source, ...]
    does: str
    steps: tuple[type[Step], ...]
    """All that its function in `next_step` may return."""
    then: "Mapping[Phase, str]"
    """The phases that may follow, and why; besides, see `GROUP_MOVES`."""


_S, _P = Status, Phase
_TERMINAL, _WEBHOOK, _API = Source.TERMINAL, Source.MONTA_WEBHOOK, Source.MONTA_API
_WATCHER, _OPERATIONS = Source.WATCHER, Source.OPERATIONS
_MONTA = (_WEBHOOK, _API)

_OVER = "a stop is requested, or the start deadline passes"
_LOSES = {_P.LOST: "Monta will not bring it to an end"}
_ENDS = {
    _P.AWAITING_FINAL: "a report shows its end",
    _P.FINAL_UNREAD: "a webhook or a list says completed",
    _P.FINAL: "the final record is read",
}
_AGAIN = {
    _P.RESTARTED: "a report shows that it runs again",
    _P.STOPPING: "it runs on after a repeated stop",
}

PHASES: Mapping[Phase, PhaseRow] = {
    _P.READY: PhaseRow(
        statuses=(_S.AUTHORIZED,),
        holds="no charge; no POST is unresolved, or a search after the quiet window found nothing and a POST is left",
        issuers=(_TERMINAL, _API, _WATCHER),
        does="Send the start. Before the hold expires: release it.",
        steps=(SendStart, GiveUp),
        then={_P.START_UNKNOWN: "the intent of a POST is committed", _P.RELEASING: _OVER},
    ),
    _P.BACKOFF: PhaseRow(
        statuses=(_S.AUTHORIZED,),
        holds="the last POST had certainly no effect (rate limit, connect error), and its retry is not due",
        issuers=(_API,),
        does="Wait for the retry or the start deadline, so that Monta is not flooded.",
        steps=(Wait, GiveUp),
        then={_P.READY: "the retry is due", _P.RELEASING: _OVER},
    ),
    _P.START_UNKNOWN: PhaseRow(
        statuses=(_S.AUTHORIZED,),
        holds="the intent of a POST is committed; neither an answer nor a search after the quiet window resolved it",
        issuers=(_WATCHER, _API),
        does="Search for our reference; never a second POST, since the first may have started a charge.",
        steps=(SearchCharges, Wait, GiveUp),
        then={
            _P.BACKOFF: "the POST certainly had no effect",
            _P.READY: "a search after the quiet window finds nothing",
            _P.START_EXHAUSTED: "as for ready, but no POST is left",
            _P.START_REFUSED: "Monta refuses the POST",
            _P.RELEASING: "as for ready, but a stop is requested, or the start deadline has passed",
        },
    ),
    _P.START_EXHAUSTED: PhaseRow(
        statuses=(_S.AUTHORIZED,),
        holds="as `ready`, but no POST is left: too many were ambiguous, or our reference was found elsewhere",
        issuers=(_API,),
        does="Wait for the start deadline: a report may still bring the charge.",
        steps=(Wait, GiveUp),
        then={_P.RELEASING: _OVER},
    ),
    _P.START_REFUSED: PhaseRow(
        statuses=(_S.AUTHORIZED,),
        holds="Monta certainly refused the last POST",
        issuers=(_API,),
        does="Release the hold; after an earlier ambiguous POST only once a search found nothing.",
        steps=(GiveUp, SearchCharges, Wait),
        then={},
    ),
    _P.RELEASING: PhaseRow(
        statuses=(_S.AUTHORIZED,),
        holds="no charge and no unresolved start; a stop was requested, or the start deadline has passed",
        issuers=(_TERMINAL, _OPERATIONS, _WATCHER),
        does="Release the hold; after an ambiguous POST only right after a search that found nothing.",
        steps=(GiveUp, SearchCharges, Wait),
        then={},
    ),
    _P.RUNNING: PhaseRow(
        statuses=(_S.STARTING, _S.CHARGING),
        holds="Monta's charge has not ended, and no stop was decided",
        issuers=_MONTA,
        does="Stop for the earliest reason that is due; read when the charge is silent or before a stop at the limit.",
        steps=(SendStop, ReadCharge, AskSweep, Wait),
        then={
            _P.STOPPING: "a stop is decided",
            **_ENDS,
            _P.RESTARTED: "reports show an end and a restart at once",
            **_LOSES,
        },
    ),
    _P.STOPPING: PhaseRow(
        statuses=(_S.STOPPING, _S.FINISHING),
        holds="a stop was decided, and Monta has not confirmed that the charge has ended",
        issuers=(_WATCHER,),
        does="Read, then repeat the stop; settle by what is known before the hold expires.",
        steps=(SendStop, ReadCharge, Wait, SettleUnfinished),
        then={**_ENDS, _P.RESTARTED: "reports show an end and a restart at once", **_LOSES},
    ),
    _P.RESTARTED: PhaseRow(
        statuses=(_S.FINISHING,),
        holds="a charge that had ended runs again",
        issuers=_MONTA,
        does="Stop it at once.",
        steps=(SendStop,),
        then={_P.STOPPING: "its stop is sent", **_ENDS, **_LOSES},
    ),
    _P.AWAITING_FINAL: PhaseRow(
        statuses=(_S.FINISHING,),
        holds="the charge has ended, but is not `completed`",
        issuers=_MONTA,
        does="Read until it is; without energy two agreeing reads release the hold. Settle before the hold expires.",
        steps=(ReadCharge, Wait, GiveUp, SettleUnfinished),
        then={**_AGAIN, _P.FINAL_UNREAD: _ENDS[_P.FINAL_UNREAD], _P.FINAL: _ENDS[_P.FINAL], **_LOSES},
    ),
    _P.FINAL_UNREAD: PhaseRow(
        statuses=(_S.FINISHING,),
        holds="a webhook or a list says `completed`; the record itself was not read since",
        issuers=_MONTA,
        does="Read the record: money is settled by nothing else. Settle before the hold expires.",
        steps=(ReadCharge, Wait, SettleUnfinished),
        then={
            **_AGAIN,
            _P.AWAITING_FINAL: "the record is not completed yet",
            _P.FINAL: _ENDS[_P.FINAL],
            **_LOSES,
        },
    ),
    _P.FINAL: PhaseRow(
        statuses=(_S.FINISHING,),
        holds="the final record was read",
        issuers=(_API,),
        does="Settle by it, release when nothing is to bill; read again while it cannot be billed.",
        steps=(Settle, GiveUp, ReadCharge, Wait, SettleUnfinished),
        then={},
    ),
    _P.LOST: PhaseRow(
        statuses=(_S.STARTING, _S.CHARGING, _S.STOPPING, _S.FINISHING),
        holds="404, refused reads or stops without effect for too long: Monta will not bring the charge to an end",
        issuers=(_API, _WATCHER),
        does="Count it as ended; settle by what is believed of it, or release when it gave nothing.",
        steps=(CountLost, SettleUnfinished, GiveUp, ReadCharge, Wait),
        then={**_ENDS, **_AGAIN, _P.RUNNING: "Monta shows it again"},
    ),
    _P.ENDED: PhaseRow(
        statuses=(_S.COMPLETED, _S.NOT_STARTED),
        holds="the session is settled",
        issuers=(_WATCHER, _OPERATIONS),
        does="Read the record again when a webhook contradicts it; nothing is captured again.",
        steps=(ReadCharge, Wait),
        then={},
    ),
}

WITHOUT_CHARGE = tuple(phase for phase, row in PHASES.items() if Status.AUTHORIZED in row.statuses)
WITH_CHARGE = tuple(phase for phase in PHASES if phase not in (*WITHOUT_CHARGE, Phase.ENDED))

GROUP_MOVES: Mapping[tuple[tuple[Phase, ...], tuple[Phase, ...]], str] = {
    (WITHOUT_CHARGE, WITH_CHARGE): "a report or a search shows a charge with our reference",
    (
        WITHOUT_CHARGE,
        (Phase.ENDED,),
    ): "released, at the latest before the hold expires, or ended by operations",
    (
        WITH_CHARGE,
        (Phase.ENDED,),
    ): "settled or released, at the latest before the hold expires, or ended by operations",
}
"""What leads from each phase of one group to each of another."""


def phase_of(session: PaymentSession, policy: Policy, now: datetime) -> Phase:
    """The phase at `now`; total: every session has exactly one."""
    if session.ended:
        return Phase.ENDED
    if session.charge is None:
        return _phase_of_start(session, policy, now)
    if _is_lost(session, session.charge, policy, now):
        return Phase.LOST
    return _phase_of_charge(session, session.charge)


def _phase_of_start(session: PaymentSession, policy: Policy, now: datetime) -> Phase:
    start = session.start
    over = session.stop_request is not None or now >= start.deadline
    if start.outcome is StartOutcome.REFUSED:
        return Phase.START_REFUSED
    if start.outcome is StartOutcome.UNKNOWN:
        if start.empty_at is None or start.empty_at < quiet_until_of(session, policy):
            return Phase.START_UNKNOWN
        if not over and (start.posts >= policy.max_ambiguous_posts or start.elsewhere):
            return Phase.START_EXHAUSTED
    if over:
        return Phase.RELEASING
    return Phase.BACKOFF if start.retry_at is not None and now < start.retry_at else Phase.READY


def _phase_of_charge(session: PaymentSession, charge: Charge) -> Phase:
    if charge.state is ChargeState.COMPLETED:
        return Phase.FINAL if charge.final_read else Phase.FINAL_UNREAD
    if charge.ended:
        return Phase.AWAITING_FINAL
    if session.stop is not None and session.stop.confirmed_at is None:
        return Phase.STOPPING
    return Phase.RESTARTED if session.status is Status.FINISHING else Phase.RUNNING


def _is_lost(session: PaymentSession, charge: Charge, policy: Policy, now: datetime) -> bool:
    """Whether the charge counts as lost by now. A stalled charge that gave energy, or may still show some, keeps its
    phase: it is stopped on while it counts as ended."""
    if session.lost is None:
        return loss_of(session, charge, policy, now) is not None
    if session.lost is Lost.STALLED and charge.gave_nothing:
        at = released_at(session, charge, policy)
        return at is not None and now >= at
    return session.lost is Lost.GONE or charge.gave_nothing


def quiet_until_of(session: PaymentSession, policy: Policy) -> datetime:
    """Until when no second POST may be sent. Counted from the last moment at which the first may have left."""
    intent_at = session.start.intent_at or session.created_at
    return intent_at + timedelta(seconds=policy.send_guard_s + policy.quiet_window_s)
