"""The limit of one running session: what the forecast is given, and what it answers."""

from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from app.domain.charge import POWERLESS, Charge, ChargeState
from app.domain.limit import StopPlan, affordable_wh, plan_stop, used_minor
from app.domain.payment_session import PaymentSession
from app.domain.policy import Policy
from app.domain.tariff import Reading

METER_ROUNDING_WH = 5
"""Monta shows kWh with two decimals where meters have three."""


def reading_of(session: PaymentSession, charge: Charge, policy: Policy) -> Reading:
    """The meter as it is known: the reading counts from when it was first seen; when Monta still shows the same one
    much later, it is believed to be at most one meter interval old, until it has been silent for too long. A charge
    that has not begun gave nothing until Monta last said so."""
    confirmed = charge.seen_at - timedelta(seconds=policy.meter_interval_s)
    if charge.state is not ChargeState.PAUSED:
        confirmed = min(confirmed, charge.energy_at + timedelta(seconds=policy.meter_silence_s))
    if charge.state in POWERLESS and not charge.energy_wh:
        confirmed = charge.seen_at
    at = max(charge.energy_at, confirmed)
    started_at = (
        charge.latest.started_at or charge.latest.created_at or session.start.intent_at or session.created_at
    )
    price, wh = (charge.priced.price, charge.priced.energy_wh) if charge.priced else (None, None)
    per_kwh = price * 1000 / wh if price is not None and price > 0 and wh else session.learned_kwh_price
    return Reading(
        started_at=min(started_at, at),
        at=at,
        energy_wh=charge.energy_wh,
        meter_error_wh=METER_ROUNDING_WH,
        price=price if price is not None and price >= 0 else None,
        price_per_kwh=per_kwh,
    )


def max_power_w(session: PaymentSession, policy: Policy) -> int:
    """What may flow at any moment: the charge point's rating, or more when more was seen."""
    rated = session.power_bound_w if session.power_bound_w is not None else policy.unknown_power_w
    return max(rated, min(session.seen_power_w, policy.highest_power_w))


def stop_plan(session: PaymentSession, charge: Charge, policy: Policy) -> StopPlan:
    """When the limit asks for a stop, and what that rests on."""
    return plan_stop(
        session.tariff,
        session.reserved_minor,
        session.authorization.currency,
        reading_of(session, charge, policy),
        max_power_w=max_power_w(session, policy),
        stop_latency_s=_whole(policy.stop_latency_s + policy.reaction_s),
        tz=ZoneInfo(session.time_zone),
        energy_limit_wh=session.energy_limit_wh,
    )


def limit_at(session: PaymentSession, charge: Charge, policy: Policy) -> datetime | None:
    """The latest time to send the stop so that the reservation is never exceeded; None: beyond the horizon."""
    return stop_plan(session, charge, policy).stop_at


def amount_used_minor(session: PaymentSession, policy: Policy) -> int:
    """What the driver has used so far, never more than the reservation; the captured amount once it is settled."""
    if session.settlement is not None:
        return session.settlement.to_capture_minor
    if session.charge is None or session.ended:
        return 0
    return used_minor(
        session.tariff,
        session.reserved_minor,
        session.authorization.currency,
        reading_of(session, session.charge, policy),
        max_power_w=max_power_w(session, policy),
        tz=ZoneInfo(session.time_zone),
    )


def energy_limit_wh(session: PaymentSession) -> int | None:
    """The energy to show as the limit; None while nothing says how much the reservation buys."""
    return affordable_wh(session.tariff, session.reserved_minor, session.energy_limit_wh)


def _whole(seconds: float) -> int:
    return int(Decimal(str(seconds)).to_integral_value(rounding="ROUND_CEILING"))
