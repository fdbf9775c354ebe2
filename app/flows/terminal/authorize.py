"""Records an authorized payment once, however often the terminal reports it."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

import structlog

from app.domain.limit.monta_limits import admitted, monta_limits_for
from app.domain.limit.policy import Policy, power_bound_w
from app.domain.session.holds import TermProblem, amount_problem, most_minor, time_problem
from app.domain.session.limit_checks import contradiction
from app.domain.session.machine import Change, Source
from app.domain.session.payment_session import Authorization, PaymentAuthorized, PaymentSession, Start
from app.domain.session.plausibility import why_unlikely
from app.domain.session.states.journal import JournalKind
from app.domain.tariff.time_windows import in_force, out_of_force
from app.domain.units.ids import ChargePointId, SessionId
from app.flows.context import Context
from app.store.db.connection import Connection
from app.store.db.database import retry_on_serialization_failure, wait_for_standby
from app.store.operators import charge_points, currencies, operator_state, price_groups, terminals
from app.store.operators.charge_points import PRICE_GROUP, KnownChargePoint, TariffFound
from app.store.operators.operators import Operator
from app.store.operators.terminals import Terminal
from app.store.sessions import holds, payment_sessions
from app.store.sessions.session_filter import SessionFilter

log = structlog.get_logger("authorize")


@dataclass(frozen=True, slots=True)
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
    """Monta refuses the operator's credential: nothing could be started, so no hold is kept for it."""


class AmountTooSmall(AuthorizeRefused):
    """The authorization buys less than Monta's least limit, and the policy does not run without that."""

    def __init__(self) -> None:
        super().__init__(
            "the amount is too small: Monta limits a charge to 1 kWh and to one major unit of the currency at least,"
            " and the authorization must pay for that; reserve more"
        )


class _KeyTaken(Exception):
    """A key is taken by a row that is not visible in this transaction."""


MAX_TRIES = 3


async def authorize(context: Context, terminal: Terminal, payment: PaymentAuthorized) -> Recorded:
    """Records a session, or finds the one that the same call recorded before. Raises AuthorizeRefused."""
    for _ in range(MAX_TRIES):
        try:
            return await _once(context, terminal, payment)
        except _KeyTaken:
            continue
    raise ChargePointBusy("the charge point has an active payment session")


@retry_on_serialization_failure
async def _once(context: Context, terminal: Terminal, payment: PaymentAuthorized) -> Recorded:
    async with context.database.transaction() as connection:
        earlier = await _earlier(connection, terminal, payment)
        if earlier is not None:
            return earlier
        if (await operator_state.credential_status(connection, terminal.operator_id)).problem is not None:
            raise MontaRefusesOperator(
                "charging is not possible at the moment; release the hold, or ask again later"
            )
        point = await _charge_point(connection, terminal, payment.charge_point_id)
        session = await _new_session(context, connection, terminal, payment, point)
        change = Change(session, by=terminal.key).note(
            JournalKind.PAYMENT_AUTHORIZED,
            Source.TERMINAL,
            reference=session.authorization.reference,
            amount_minor=session.authorization.amount_minor,
            currency=session.authorization.currency,
            tariff=session.tariff_source,
        )
        made = await payment_sessions.record(
            connection, change, request_hash=payment.fingerprint(), idempotency_key=payment.idempotency_key
        )
        if made:
            return Recorded(session, replayed=False)
        earlier = await _earlier(connection, terminal, payment)
        if earlier is not None:
            return earlier
        await _refuse_if_busy(connection, terminal, payment.charge_point_id)
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


async def _charge_point(
    connection: Connection, terminal: Terminal, charge_point_id: ChargePointId
) -> KnownChargePoint | None:
    if not await terminals.is_assigned(connection, terminal.id, charge_point_id):
        raise ChargePointUnknown("this charge point is not assigned to the terminal")
    return await charge_points.get(connection, terminal.operator_id, charge_point_id)


async def _refuse_if_busy(connection: Connection, terminal: Terminal, charge_point_id: ChargePointId) -> None:
    """Raises ChargePointBusy; names the conflicting session only to its own terminal."""
    there = SessionFilter(operator_id=terminal.operator_id, charge_point_id=charge_point_id, occupying=True)
    busy = await payment_sessions.find(connection, there, limit=1)
    if busy:
        own = busy[0].id if busy[0].terminal_id == terminal.id else None
        raise ChargePointBusy("the charge point has an active payment session", own)


async def _new_session(
    context: Context,
    connection: Connection,
    terminal: Terminal,
    payment: PaymentAuthorized,
    point: KnownChargePoint | None,
) -> PaymentSession:
    now = context.clock.now()
    held, brand = payment.authorization, payment.authorization.card.brand
    operator = await context.operators.get(connection, terminal.operator_id)
    hold_days = await holds.days_of(connection, terminal.operator_id, brand)
    most = most_minor(held.currency, context.policy, operator.hold_max_eur if operator else None)
    _check_terms(held, now, hold_days, most, context.policy)
    await _check_currency(connection, terminal, payment, now)
    priced, learned_price, why_unpriced = await _priced(connection, terminal, payment, now)
    _check_affordable(payment, priced, context.policy)
    seen = point.seen if point else None
    session = PaymentSession(
        id=context.ids.session_id(),
        operator_id=terminal.operator_id,
        terminal_id=terminal.id,
        charge_point_id=payment.charge_point_id,
        display_reference=payment.display_reference or context.ids.display_reference(),
        authorization=payment.authorization,
        created_at=now,
        updated_at=now,
        start=Start(deadline=now + timedelta(seconds=context.policy.start_deadline_s)),
        power_bound_w=power_bound_w(seen.max_power_w, seen.type, context.policy) if seen else None,
        energy_limit_wh=payment.energy_limit_wh,
        tariff=priced.tariff if priced else None,
        tariff_source=priced.source if priced else None,
        tariff_gaps=(*_shown_in_vain(payment, now), *(priced.gaps if priced else why_unpriced)),
        learned_kwh_price=None if priced else learned_price,
        hold_max_minor=most,
        hold_days=hold_days,
        metadata=payment.metadata,
    )
    return session if operator is None else _with_policies(session, operator)


def _with_policies(session: PaymentSession, operator: Operator) -> PaymentSession:
    """The operator's policies as they are now; later changes apply to later sessions."""
    return replace(
        session,
        top_up_max_minor=operator.top_up_max_minor,
        least_capture_minor=operator.least_capture_minor,
        least_energy_wh=operator.least_energy_wh,
        time_zone=operator.time_zone,
    )


def _check_terms(
    held: Authorization, now: datetime, hold_days: int | None, most: int, policy: Policy
) -> None:
    """Checks the hold's times and amount at the first call only: a repeat finds its session, however late. Raises
    HoldNotTaken."""
    days = timedelta(days=policy.hold_days if hold_days is None else hold_days)
    problem = time_problem(held, now, days) or amount_problem(held.amount_minor, most)
    if problem is not None:
        raise HoldNotTaken(problem)


async def _priced(
    connection: Connection, terminal: Terminal, payment: PaymentAuthorized, now: datetime
) -> tuple[TariffFound | None, Decimal | None, tuple[str, ...]]:
    """The tariff, the learned price a kWh, and why a tariff was dropped. Learned where no tariff is sure."""
    found = await _tariff(connection, terminal, payment, now)
    if found is not None and not _is_a_guess(found):
        return found, None, ()
    learned_price = await _learned(connection, terminal, payment)
    if found is None:
        return None, learned_price, ()
    why = why_unlikely(found.tariff, payment.authorization.amount_minor, learned_price)
    return (found, learned_price, ()) if why is None else (None, learned_price, (why,))


async def _tariff(
    connection: Connection, terminal: Terminal, payment: PaymentAuthorized, now: datetime
) -> TariffFound | None:
    """The tariff of the payment, else of the charge point, the operator, or Monta's price group."""
    if payment.tariff is not None and in_force(payment.tariff, now):
        return TariffFound(tariff=payment.tariff, source="payment")
    return await charge_points.tariff_for(connection, terminal.operator_id, payment.charge_point_id, now)


def _shown_in_vain(payment: PaymentAuthorized, now: datetime) -> tuple[str, ...]:
    """Why the tariff in the payment is ignored, for the terminal's operator."""
    why = None if payment.tariff is None else out_of_force(payment.tariff, now)
    if why is None:
        return ()
    log.warning("tariff_of_a_payment_prices_nothing", charge_point=payment.charge_point_id, why=why)
    return (f"the tariff that came with the payment prices nothing now: {why}",)


async def _check_currency(
    connection: Connection, terminal: Terminal, payment: PaymentAuthorized, now: datetime
) -> None:
    """Checks the hold's currency against the charge point's, in which Monta reads the limit. Raises
    CurrencyMismatch."""
    held = payment.authorization.currency
    if payment.tariff is not None and payment.tariff.currency != held:
        raise CurrencyMismatch
    statements = await currencies.statements(connection, terminal.operator_id, payment.charge_point_id, now)
    other = contradiction(held, statements)
    if other is not None:
        raise CurrencyMismatch(other)


def _is_a_guess(found: TariffFound) -> bool:
    """Whether the tariff was converted from Monta's price group, and not configured."""
    return found.source == PRICE_GROUP


async def _learned(connection: Connection, terminal: Terminal, payment: PaymentAuthorized) -> Decimal | None:
    """The learned price a kWh, where there is no tariff."""
    currency = payment.authorization.currency
    return await price_groups.learned_price(
        connection, terminal.operator_id, payment.charge_point_id, currency
    )


def _check_affordable(payment: PaymentAuthorized, priced: TariffFound | None, policy: Policy) -> None:
    """Checks the amount against Monta's least limits. A converted tariff refuses no payment for its price."""
    held, known = payment.authorization, None if priced is None or _is_a_guess(priced) else priced.tariff
    limits = monta_limits_for(known, held.amount_minor, held.currency)
    if not admitted(limits, tariff_known=priced is not None, small=policy.small_authorizations):
        raise AmountTooSmall
