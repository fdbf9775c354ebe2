"""Planted defects: each takes one safeguard away by substitution, for as long as a block lasts."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain import attempts, conclusion, decision, progress
from app.domain.change import Change, Source
from app.domain.charge import Charge, ChargeReport, merge
from app.domain.ids import SessionId
from app.domain.limit_watch import start_limits
from app.domain.payment_session import (
    NotStartedReason,
    PaymentSession,
    StartOutcome,
    Status,
    StopReason,
)
from app.domain.policy import Policy
from app.domain.settlement import Settlement, settle
from app.domain.steps import GiveUp, LookUp, ReadCharge, SendStart, SendStop, Settle, Step, StopExtra, Wait
from app.flows import authorize, enforce, start, tools, track, turn
from app.flows import top_up as top_up_flow
from app.flows.authorize import Recorded
from app.flows.tools import Tools
from app.monta import exchange, judge
from app.monta.errors import Outcome, outcome_of
from app.store import leases, payment_sessions
from app.store.leases import Lease
from app.store.tables import payment_sessions as table
from app.store.tables import settlements
from tests.world.plan import (
    Befall,
    bad_webhooks,
    change_of_mind,
    crashes,
    forger,
    garbled_start,
    impatience,
    late_start,
    limits_ignored,
    long_freezes,
    lost_commits,
    lost_lines,
    lost_starts,
    meter_falls,
    mute_webhooks,
    refused_start,
    restart_by_others,
    start_trouble,
    stops_ignored,
    top_up,
    two_operators,
    unanswered_start,
)

Plant = Callable[[ExitStack], None]
Decide = Callable[[PaymentSession, Policy, datetime], Step]
NEVER_S = 1e8


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """What is broken, and within how many seeds some rule must notice it."""

    name: str
    plant: Plant = lambda _: None
    policy: Policy | None = None
    """Instead of the plan's own."""
    schema: tuple[str, ...] = ()
    """Constraints that the database is without."""
    under: tuple[Befall, ...] = ()
    """Troubles that every seed has besides its own: those that the safeguard is there for."""
    seeds: int = 25


def substitute(where: Any, name: str, new: Any) -> Plant:
    """A plant that replaces one attribute and puts it back."""

    def plant(stack: ExitStack) -> None:
        old = getattr(where, name)
        setattr(where, name, new)
        stack.callback(setattr, where, name, old)

    return plant


def all_of(*plants: Plant) -> Plant:
    def plant(stack: ExitStack) -> None:
        for each in plants:
            each(stack)

    return plant


@contextmanager
def planted(defect: Defect) -> Iterator[None]:
    with ExitStack() as stack:
        defect.plant(stack)
        yield


def deciding(new: Callable[[Step, PaymentSession, Policy, datetime], Step]) -> Plant:
    """Every decision is passed through `new`."""

    def decide(session: PaymentSession, policy: Policy, now: datetime) -> Step:
        return new(decision.decide(session, policy, now), session, policy, now)

    return substitute(turn, "decide", decide)


def sorting(new: Callable[[int | Exception], Outcome]) -> Plant:
    """Answers and failures of Monta are sorted by `new`."""
    return all_of(substitute(exchange, "outcome_of", new), substitute(judge, "outcome_of", new))


# Keys and rows

NO_UNIQUE_KEYS = (
    "ALTER TABLE payment_sessions DROP CONSTRAINT uq_payment_sessions_terminal_id_reference",
    "ALTER TABLE payment_sessions DROP CONSTRAINT uq_payment_sessions_terminal_id_idempotency_key",
    "DROP INDEX uq_payment_sessions_active_charge_point",
    "ALTER TABLE holds DROP CONSTRAINT pk_holds",
)


async def _never_seen_before(*_: object) -> None:
    return None


async def _lock_whoever(
    connection: AsyncConnection, session_id: SessionId, *, lease_token: int | None = None
) -> PaymentSession | None:
    await connection.execute(select(table.c.id).where(table.c.id == session_id).with_for_update())
    return await payment_sessions.get(connection, session_id)


async def _read_without_lock(
    connection: AsyncConnection, session_id: SessionId, *, lease_token: int | None = None
) -> PaymentSession | None:
    return await payment_sessions.get(connection, session_id)


async def _claim_for_ever(connection: AsyncConnection, *, now: datetime, **how: Any) -> list[Lease]:
    """A lease never runs out."""
    return await _CLAIM(connection, **how | {"now": now, "until": now + timedelta(days=365)})


_CLAIM = leases.claim


async def _give_back_for_ever(connection: AsyncConnection, lease: Lease, due_at: datetime | None) -> None:
    """Whoever gives a session back forgets to say when it is due."""
    await connection.execute(
        update(table)
        .where(table.c.id == lease.session_id)
        .values(due_at=None, lease_owner=None, lease_until=None)
    )


_AUTHORIZE = authorize.authorize


async def _acknowledge_anyway(tools: Tools, terminal: Any, payment: Any) -> Recorded:
    """The commit failed, but surely it will be all right."""
    kept: list[PaymentSession] = []
    made = authorize._new_session

    async def noted(*args: Any) -> PaymentSession:
        kept.append(await made(*args))
        return kept[-1]

    with ExitStack() as stack:
        substitute(authorize, "_new_session", noted)(stack)
        try:
            return await _AUTHORIZE(tools, terminal, payment)
        except DBAPIError:
            if not kept:
                raise
            return Recorded(kept[-1], replayed=False)


# Starting


def _unknown_is_not_done(change: Change, why: str, policy: Policy) -> Change:
    intent_at = change.session.start.intent_at or change.session.created_at
    return attempts.start_not_done(change, why, retry_at=intent_at + timedelta(seconds=2))


_START_INTENDED = attempts.start_intended


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
    return GiveUp(NotStartedReason.START_TIMEOUT) if unknown and isinstance(step, LookUp) else step


def _never_gives_up(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    return Wait(now + timedelta(minutes=5)) if isinstance(step, GiveUp) else step


def _cancels_at_once(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    return GiveUp(NotStartedReason.CANCELED) if session.wish is not None and not session.ended else step


def _starts_again(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    """A charge that has not begun after a minute is started once more."""
    slow = session.charge is None and session.start.posts and now > session.created_at + timedelta(minutes=1)
    return SendStart() if slow and isinstance(step, LookUp) else step


def _no_limits(session: PaymentSession, policy: Policy) -> Any:
    found = start_limits(session, policy)
    return replace(found, price_limit=None, kwh_limit=None)


# Following


def _last_write_wins(known: Charge | None, report: ChargeReport, *, by_rest: bool) -> Charge:
    return merge(None, report, by_rest=by_rest)


def _meter_may_fall(known: Charge | None, report: ChargeReport, *, by_rest: bool) -> Charge:
    merged = merge(known, report, by_rest=by_rest)
    return replace(merged, energy_wh=merged.latest.energy_wh or 0)


def _never_reads(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    return Wait(None) if isinstance(step, ReadCharge) else step


def _any_signature(secret: str, body: bytes, header: str | None) -> bool:
    return True


# Stopping


def _stops_once(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    again = isinstance(step, SendStop) and session.stop is not None
    return Wait(now + timedelta(minutes=5)) if again else step


def _never_stops(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    limit = isinstance(step, SendStop) and step.reason is StopReason.LIMIT_REACHED
    return Wait(now + timedelta(minutes=5)) if limit else step


def _leaves_extras(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    return Wait(now + timedelta(minutes=5)) if isinstance(step, StopExtra) else step


_MONTA_OF = tools.monta_of


async def _somebody_elses_monta(tools: Tools, operator_id: Any) -> Any:
    """The clients of the operators are mixed up."""
    async with tools.database.transaction() as connection:
        found = (await connection.execute(select(table.c.operator_id))).scalars().all()
    others = sorted(set(found) - {operator_id})
    return await _MONTA_OF(tools, others[0] if others else operator_id)


# Settling


def _captures_all(authorized_minor: int, price_minor: int, **rest: Any) -> Settlement:
    settled = settle(authorized_minor, price_minor, **rest)
    return replace(
        settled, to_capture_minor=price_minor, to_release_minor=max(0, authorized_minor - price_minor)
    )


def _rounds_down(amount: Decimal, currency: str, rounding: Any) -> int:
    return max(0, int((amount * 100).quantize(Decimal(1), ROUND_FLOOR)) - 1)


def _settles_when_stopped(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    """The last price that was seen is good enough."""
    charge = session.charge
    ready = charge is not None and charge.ended and charge.latest.price is not None and charge.energy_wh
    return Settle() if ready and isinstance(step, ReadCharge | Wait) and not session.ended else step


def _settles_while_stopping(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    charge = session.charge
    ready = session.stop is not None and charge is not None and charge.latest.price and not session.ended
    return Settle() if ready and not isinstance(step, SendStop) else step


async def _settlement_follows_the_report(
    connection: AsyncConnection, before: PaymentSession, change: Change, now: datetime
) -> PaymentSession:
    """A report of the PSP rewrites the amount."""
    session = change.session
    if (
        before.settlement is not None
        and session.settlement is not None
        and session.settlement != before.settlement
    ):
        await connection.execute(
            update(settlements)
            .where(settlements.c.session_id == session.id)
            .values(to_capture_minor=0, to_release_minor=session.reserved_minor, action="release")
        )
    return await _SAVE(connection, before, change, now)


_SAVE = payment_sessions.save


def _top_up_always(session: PaymentSession, more: Any) -> None:
    """A top-up is taken whatever has been decided."""


def _steps_back(change: Change, source: Source, *, restarted: bool) -> Change:
    """A restarted charge brings the session back to `charging`."""
    followed = _FOLLOW(change, source, restarted=restarted)
    back = restarted and not followed.session.ended
    return followed.to(replace(followed.session, status=Status.CHARGING)) if back else followed


_FOLLOW = progress._follow


DEFECTS: tuple[Defect, ...] = (
    # keys, rows and leases
    Defect(name="no unique keys", schema=NO_UNIQUE_KEYS, under=(impatience,)),
    Defect(
        name="no look for an earlier call, and no unique keys",
        plant=substitute(authorize, "_earlier", _never_seen_before),
        schema=NO_UNIQUE_KEYS,
        under=(impatience,),
    ),
    Defect(
        name="acknowledged though not committed",
        plant=substitute(authorize, "authorize", _acknowledge_anyway),
        under=(lost_commits,),
    ),
    Defect(
        name="no fencing",
        plant=substitute(payment_sessions, "lock", _lock_whoever),
        under=(long_freezes,),
    ),
    Defect(
        name="sessions are not locked",
        plant=substitute(payment_sessions, "lock", _read_without_lock),
        under=(change_of_mind,),
    ),
    Defect(name="leases never run out", plant=substitute(leases, "claim", _claim_for_ever), under=(crashes,)),
    Defect(name="no due time", plant=substitute(leases, "give_back", _give_back_for_ever)),
    # starting
    Defect(name="no send guard", policy=Policy(send_guard_s=NEVER_S), under=(long_freezes,)),
    Defect(
        name="blind second start",
        plant=substitute(attempts, "start_unknown", _unknown_is_not_done),
        under=(lost_lines, start_trouble),
    ),
    Defect(
        name="no intent before the start",
        plant=substitute(attempts, "start_intended", _no_intent),
        under=(unanswered_start,),
    ),
    Defect(name="no quiet window", policy=Policy(quiet_window_s=0), under=(late_start,)),
    Defect(
        name="any number of starts",
        policy=Policy(max_ambiguous_posts=99, start_deadline_s=3600),
        under=(lost_starts,),
    ),
    Defect(
        name="a gateway's error means not done",
        plant=sorting(_gateway_errors_are_refusals),
        under=(garbled_start,),
    ),
    Defect(
        name="a broken line means not sent",
        plant=sorting(_broken_lines_are_not_sent),
        under=(lost_lines, start_trouble),
    ),
    Defect(name="release without look-up", plant=deciding(_gives_up_in_doubt), under=(lost_lines,)),
    Defect(name="cancel releases at once", plant=deciding(_cancels_at_once), under=(change_of_mind,)),
    Defect(name="never gives up", plant=deciding(_never_gives_up), under=(refused_start,)),
    Defect(name="starts again after a minute", plant=deciding(_starts_again), under=(lost_starts,)),
    Defect(
        name="strays are not looked for", policy=Policy(stray_watch_s=0), under=(late_start, mute_webhooks)
    ),
    Defect(name="extra charges go on", plant=deciding(_leaves_extras), under=(late_start,)),
    # following
    Defect(
        name="last write wins", plant=substitute(progress, "merge", _last_write_wins), under=(bad_webhooks,)
    ),
    Defect(
        name="the meter may fall", plant=substitute(progress, "merge", _meter_may_fall), under=(meter_falls,)
    ),
    Defect(name="no polling", plant=deciding(_never_reads)),
    Defect(
        name="any signature will do",
        plant=substitute(track, "signature_is_valid", _any_signature),
        under=(forger,),
    ),
    Defect(
        name="status goes back",
        plant=substitute(progress, "_follow", _steps_back),
        under=(restart_by_others,),
    ),
    Defect(
        name="operators mixed up",
        plant=all_of(
            *(substitute(flow, "monta_of", _somebody_elses_monta) for flow in (start, track, enforce))
        ),
        under=(two_operators,),
    ),
    # stopping
    Defect(
        name="no limits at Monta, and no stop",
        plant=all_of(substitute(attempts, "start_limits", _no_limits), deciding(_never_stops)),
    ),
    Defect(name="stop sent once", plant=deciding(_stops_once), under=(stops_ignored, limits_ignored)),
    # settling
    Defect(
        name="captures above the reservation",
        plant=substitute(conclusion, "settle", _captures_all),
        under=(limits_ignored, stops_ignored),
    ),
    Defect(name="rounds down", plant=substitute(conclusion, "to_minor", _rounds_down)),
    Defect(name="settles by the last price seen", plant=deciding(_settles_when_stopped)),
    Defect(name="settles while the charge runs", plant=deciding(_settles_while_stopping)),
    Defect(
        name="the settlement is rewritten",
        plant=substitute(payment_sessions, "save", _settlement_follows_the_report),
    ),
    Defect(
        name="top-ups after the end", plant=substitute(top_up_flow, "_check", _top_up_always), under=(top_up,)
    ),
)
