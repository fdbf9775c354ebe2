"""Records an authorized payment once, however often the terminal reports it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache, partial

import structlog

from app.domain.evidence.bundle import request_of
from app.domain.limit.monta_limits import admitted, monta_limits_for
from app.domain.limit.policy import Policy, SmallAuthorizations, power_bound_w
from app.domain.session.holds import TermProblem, amount_problem, most_minor, time_problem
from app.domain.session.limit_checks import contradiction
from app.domain.session.machine import Change, Source
from app.domain.session.payment_session import Authorization, PaymentAuthorized, PaymentSession, Start
from app.domain.session.plausibility import why_unlikely
from app.domain.session.states.journal import JournalKind
from app.domain.tariff import Tariff
from app.domain.tariff.time_windows import in_force, out_of_force
from app.domain.units.canonical import digest
from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargePointId, SessionId
from app.flows.context import Context
from app.flows.payments import PaymentCall
from app.store.db.connection import Connection
from app.store.db.database import retry_on_serialization_failure, wait_for_standby
from app.store.db.documents import as_stored
from app.store.operators.charge_points import PRICE_GROUP, TariffFound
from app.store.operators.terminals import Terminal
from app.store.sessions import holds, payment_facts, payment_sessions, recording
from app.store.sessions.payment_facts import PaymentFacts, PaymentKeys
from app.store.sessions.recording import NewPayment
from app.store.sessions.session_filter import SessionFilter

log = structlog.get_logger("authorize")


@frozen
class Recorded:
    session: PaymentSession
    replayed: bool


class AuthorizeRefused(Exception):
    """Nothing was recorded; the terminal releases the hold, or corrects its call.

    `session_id`: the conflicting session of the same terminal, if any.
    """

    def __init__(self, why: str, session_id: SessionId | None = None) -> None:
        super().__init__(why)
        self.session_id = session_id


class ChargePointUnknown(AuthorizeRefused):
    """The charge point is not assigned to this terminal."""


class ChargePointBusy(AuthorizeRefused):
    """The charge point has an active session of ours."""


class ReferenceConflict(AuthorizeRefused):
    """The same reference came with other contents."""


class IdempotencyKeyReused(AuthorizeRefused):
    """The same Idempotency-Key came with another authorization."""


class CurrencyMismatch(AuthorizeRefused):
    """The hold and the price are in different currencies."""

    def __init__(self, known: str | None = None) -> None:
        """`known`: what we know of the charge point, never what was sent."""
        price = (
            "the tariff that came with it"
            if known is None
            else f"this charge point, which charges in {known}"
        )
        super().__init__(f"the authorization is in another currency than {price}")


class HoldNotTaken(AuthorizeRefused):
    """The hold's times or amount do not allow a charge. `field` of the authorization."""

    def __init__(self, problem: TermProblem) -> None:
        super().__init__(problem.message)
        self.field = f"authorization.{problem.field}"


class MontaRefusesOperator(AuthorizeRefused):
    """Monta refuses the operator's credential. Nothing could be started, so no hold is kept for it."""


class OperatorDisabled(AuthorizeRefused):
    """Operations take no new payments of the operator."""


NOT_POSSIBLE = "charging is not possible at the moment; release the hold, or ask again later"


class AmountTooSmall(AuthorizeRefused):
    """The authorization buys less than Monta's least limit. The policy does not run without that limit."""

    def __init__(self) -> None:
        super().__init__(
            "the amount is too small: Monta limits a charge to 1 kWh and to one major unit of the currency at least,"
            " and the authorization must pay for that; reserve more"
        )


class _KeyTaken(Exception):
    """A row that this transaction cannot see has the key."""


MAX_TRIES = 3
MOST_AMOUNTS = 1_000
"""Amounts with their tariff that were judged lately and are remembered: terminals hold the same amounts again and
again."""


async def authorize(context: Context, terminal: Terminal, payment: PaymentAuthorized) -> Recorded:
    """Records a session, or finds the same call's earlier one. Raises AuthorizeRefused."""
    for _ in range(MAX_TRIES):
        call = PaymentCall(terminal, payment, context.tracing.traceparent())
        await context.payments.group(terminal.operator_id, partial(_record, context)).put(call)
        if call.refusal is not None:
            raise call.refusal
        if call.session is not None:
            return Recorded(call.session, replayed=False)
        try:
            return await _recorded_before(context, call)
        except _KeyTaken:
            continue
    raise ChargePointBusy("the charge point has an active payment session")


@retry_on_serialization_failure
async def _record(context: Context, calls: Sequence[PaymentCall]) -> None:
    """Records an operator's calls in one statement. Whole or not at all. Leaves calls with a key in use as they are.

    Of calls that exclude each other the first one is recorded; the others find its session when they are tried again.
    """
    now = context.clock.now()
    async with context.database.single() as connection:
        known = await payment_facts.load(connection, [_keys(call) for call in calls], now)
        new: dict[PaymentCall, NewPayment] = {}
        taken: set[tuple[str, ...]] = set()
        for call, facts in zip(calls, known, strict=True):
            call.refusal = None
            if facts.is_known:
                continue
            payment = _judged(context, call, facts, now)
            if payment is not None and taken.isdisjoint(names := call.names()):
                taken |= names
                new[call] = payment
        made = await recording.record(connection, list(new.values())) if new else frozenset()
    for call, payment in new.items():
        if payment.change.session.id in made:
            call.session = payment.change.session


def _judged(context: Context, call: PaymentCall, facts: PaymentFacts, now: datetime) -> NewPayment | None:
    """Makes a call's session. None: it is refused."""
    terminal, payment = call.terminal, call.payment
    try:
        session = _new_session(context, call, facts, now)
    except AuthorizeRefused as refusal:
        call.refusal = refusal
        return None
    change = Change(session, by=terminal.key).note(
        JournalKind.PAYMENT_AUTHORIZED,
        Source.TERMINAL,
        reference=session.authorization.reference,
        amount_minor=session.authorization.amount_minor,
        currency=session.authorization.currency,
        tariff=session.tariff_source,
        request=digest(request_of(session, as_stored(session.tariff.source) if session.tariff else None)),
    )
    return NewPayment(
        change=change, request_hash=payment.fingerprint(), idempotency_key=payment.idempotency_key
    )


def _keys(call: PaymentCall) -> PaymentKeys:
    terminal, payment = call.terminal, call.payment
    return PaymentKeys(
        operator_id=terminal.operator_id,
        terminal_id=terminal.id,
        charge_point_id=payment.charge_point_id,
        reference=payment.authorization.reference,
        idempotency_key=payment.idempotency_key,
        card_brand=payment.authorization.card.brand,
    )


@retry_on_serialization_failure
async def _recorded_before(context: Context, call: PaymentCall) -> Recorded:
    """Returns the session that this very call recorded before. That took its keys. Raises AuthorizeRefused and
    _KeyTaken."""
    async with context.database.transaction() as connection:
        earlier = await _earlier(connection, call.terminal, call.payment)
        if earlier is not None:
            return earlier
        await _refuse_if_busy(connection, call.terminal, call.payment.charge_point_id)
    raise _KeyTaken


async def _earlier(connection: Connection, terminal: Terminal, payment: PaymentAuthorized) -> Recorded | None:
    """The session that this very call recorded before. Raises when its keys were used for something else."""
    reference = payment.authorization.reference
    found = await payment_sessions.find_recorded(
        connection, terminal.id, reference=reference, idempotency_key=payment.idempotency_key
    )
    if found is None:
        await _taken_meanwhile(connection, terminal, reference)
        return None
    if found.request_hash == payment.fingerprint():
        await wait_for_standby(connection)
        return Recorded(found.session, replayed=True)
    if found.session.authorization.reference == reference:
        raise ReferenceConflict("this authorization reference was used with other contents", found.session.id)
    raise IdempotencyKeyReused("this Idempotency-Key was used for another authorization", found.session.id)


async def _taken_meanwhile(connection: Connection, terminal: Terminal, reference: str) -> None:
    """Checks that the reference is free. Raises _KeyTaken when a session took it a moment ago, and ReferenceConflict
    when it is that of a top-up."""
    known = await holds.find(connection, terminal.id, reference)
    if known is None:
        return
    session = await payment_sessions.get(connection, known.session_id)
    if session is not None and session.authorization.reference == reference:
        raise _KeyTaken
    raise ReferenceConflict("this authorization reference was used for a top-up", known.session_id)


async def _refuse_if_busy(connection: Connection, terminal: Terminal, charge_point_id: ChargePointId) -> None:
    """Raises ChargePointBusy; names the conflicting session only to its own terminal."""
    there = SessionFilter(operator_id=terminal.operator_id, charge_point_id=charge_point_id, occupying=True)
    busy = await payment_sessions.find(connection, there, limit=1)
    if busy:
        own = busy[0].id if busy[0].terminal_id == terminal.id else None
        raise ChargePointBusy("the charge point has an active payment session", own)


def _new_session(context: Context, call: PaymentCall, known: PaymentFacts, now: datetime) -> PaymentSession:
    """The session of a payment. Raises AuthorizeRefused."""
    terminal, payment = call.terminal, call.payment
    if known.credential_problem is not None:
        raise MontaRefusesOperator(NOT_POSSIBLE)
    if known.is_disabled:
        raise OperatorDisabled(NOT_POSSIBLE)
    if not known.is_assigned:
        raise ChargePointUnknown("this charge point is not assigned to the terminal")
    held, policy = payment.authorization, context.policy
    most = most_minor(held.currency, policy, known.hold_max_eur)
    _check_terms(held, now, known.hold_days, most, policy)
    _check_currency(payment, known)
    priced, learned_price, why_unpriced = _priced(payment, known, now)
    _check_affordable(payment, priced, policy)
    return PaymentSession(
        id=context.ids.session_id(),
        operator_id=terminal.operator_id,
        terminal_id=terminal.id,
        charge_point_id=payment.charge_point_id,
        display_reference=payment.display_reference or context.ids.display_reference(),
        authorization=payment.authorization,
        created_at=now,
        updated_at=now,
        start=Start(deadline=now + timedelta(seconds=policy.start_deadline_s)),
        power_bound_w=power_bound_w(known.max_power_w, known.current_type, policy) if known.is_seen else None,
        energy_limit_wh=payment.energy_limit_wh,
        soc_limit=payment.soc_limit,
        tariff=priced.tariff if priced else None,
        tariff_source=priced.source if priced else None,
        tariff_gaps=(*_shown_in_vain(payment, now), *(priced.gaps if priced else why_unpriced)),
        learned_kwh_price=None if priced else learned_price,
        top_up_max_minor=known.top_up_max_minor,
        least_capture_minor=known.least_capture_minor,
        least_energy_wh=known.least_energy_wh,
        hold_max_minor=most,
        hold_days=known.hold_days,
        time_zone=known.time_zone,
        metadata=payment.metadata,
        traceparent=call.traceparent,
    )


def _check_terms(
    held: Authorization, now: datetime, hold_days: int | None, most: int, policy: Policy
) -> None:
    """Checks the hold's times and amount, at the first call only. A repeat finds its session, however late. Raises
    HoldNotTaken."""
    days = timedelta(days=policy.hold_days if hold_days is None else hold_days)
    problem = time_problem(held, now, days) or amount_problem(held.amount_minor, most, held.currency)
    if problem is not None:
        raise HoldNotTaken(problem)


def _priced(
    payment: PaymentAuthorized, known: PaymentFacts, now: datetime
) -> tuple[TariffFound | None, Decimal | None, tuple[str, ...]]:
    """Returns tariff, learned price, and why a tariff was dropped. A kWh's learned price, where no tariff is sure."""
    found, held = known.tariff, payment.authorization
    if payment.tariff is not None and in_force(payment.tariff, now):
        found = TariffFound(tariff=payment.tariff, source="payment")
    if found is not None and not _is_a_guess(found):
        return found, None, ()
    learned_price = known.learned_kwh_price if known.learned_currency == held.currency else None
    if found is None:
        return None, learned_price, ()
    why = why_unlikely(found.tariff, held.amount_minor, learned_price)
    return (found, learned_price, ()) if why is None else (None, learned_price, (why,))


def _shown_in_vain(payment: PaymentAuthorized, now: datetime) -> tuple[str, ...]:
    """Why the tariff in the payment is ignored, for the terminal's operator."""
    why = None if payment.tariff is None else out_of_force(payment.tariff, now)
    if why is None:
        return ()
    log.warning("tariff_of_a_payment_prices_nothing", charge_point=payment.charge_point_id, why=why)
    return (f"the tariff that came with the payment prices nothing now: {why}",)


def _check_currency(payment: PaymentAuthorized, known: PaymentFacts) -> None:
    """Checks the hold's currency against the charge point's. In the charge point's Monta reads the limit. Raises
    CurrencyMismatch."""
    held = payment.authorization.currency
    if payment.tariff is not None and payment.tariff.currency != held:
        raise CurrencyMismatch
    other = contradiction(held, known.currencies)
    if other is not None:
        raise CurrencyMismatch(other)


def _is_a_guess(found: TariffFound) -> bool:
    """Whether the tariff was converted from Monta's price group, and not configured."""
    return found.source == PRICE_GROUP


def _check_affordable(payment: PaymentAuthorized, priced: TariffFound | None, policy: Policy) -> None:
    """Checks the amount against Monta's least limits. A converted tariff refuses no payment for its price."""
    held, known = payment.authorization, None if priced is None or _is_a_guess(priced) else priced.tariff
    small = policy.small_authorizations
    if not _is_affordable(known, held.amount_minor, held.currency, priced is not None, small):
        raise AmountTooSmall


@lru_cache(MOST_AMOUNTS)
def _is_affordable(
    tariff: Tariff | None, amount_minor: int, currency: str, tariff_known: bool, small: SmallAuthorizations
) -> bool:
    limits = monta_limits_for(tariff, amount_minor, currency)
    return admitted(limits, tariff_known=tariff_known, small=small)
