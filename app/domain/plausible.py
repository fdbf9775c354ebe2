"""Whether Monta's final record can be believed, and what can be believed when it cannot."""

from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from app.domain.charge import Charge, ChargeReport
from app.domain.currency import other_currency
from app.domain.money import Rounding, to_major, to_minor
from app.domain.payment_session import PaymentSession
from app.domain.policy import Policy
from app.domain.settlement import SettlementBasis
from app.domain.tariff import Reading, Tariff, upper_bound
from app.domain.tariff.lower import lower_bound

ABOVE_BOUND = 10
ABOVE_BOUND_MINOR = 500
"""A final price above the tariff's highest by more than this factor and amount is no price of this tariff. Below that
Monta's price counts, up to the reservation, and the difference is told: idle fees are often missing in a tariff."""
UNIT_FACTOR = 20
"""A mix-up of units is a factor of 100 (or 1,000 for three decimals); fees and rounding never come near this."""
RESERVATION_FACTOR = 10
"""Without a tariff: our stop and Monta's limit would both have had to fail by this factor."""
ENERGY_FACTOR = 3
IMPOSSIBLE_WH = 1_000_000
"""More than the charge point's rating allows by this factor, and more than any vehicle takes: Wh read as kWh. The
rating and the times alone may be wrong, and the driver has the energy."""
SLACK_WH = 2000
"""Below these amounts rounding alone may look like a factor."""
SLACK_MINOR = 50
METER_ROUNDING_WH = 5


def unbillable(session: PaymentSession, charge: Charge, policy: Policy) -> str | None:
    """Why a final record is not settled as it is but held for a person, in words; None: it can be billed."""
    final = charge.latest
    if final.price is None:
        return "the completed charge has no price"
    if final.price < 0:
        return f"the completed charge has a negative price, {final.price}"
    other = other_currency(session, charge)
    if other is not None:
        return f"the completed charge is priced in {other}, the hold is in {session.authorization.currency}"
    why = too_much_energy(session, charge) or _odd_price(session, charge, final.price, policy)
    return None if why is None else f"the final price is held for a person: {why}"


def too_much_energy(session: PaymentSession, charge: Charge) -> str | None:
    """More than the charge point can have given in this time."""
    rated, final_wh = session.power_bound_w, final_energy_wh(charge)
    if rated is None or final_wh <= IMPOSSIBLE_WH:
        return None
    reading = _reading(session, charge)
    hours = Decimal((reading.at - reading.since) / timedelta(hours=1))
    most_wh = int(rated * hours) * ENERGY_FACTOR + SLACK_WH
    if final_wh > most_wh:
        return f"{final_wh} Wh is far more than a charge point of {rated} W can give in {hours:.2f} h"
    return None


def impossible_reading(session: PaymentSession, report: ChargeReport, policy: Policy) -> bool:
    """Whether no charge point can have given this much since we asked for the charge: a unit was mixed up."""
    if report.energy_wh is None:
        return False
    power_w = max(session.power_bound_w or policy.unknown_power_w, session.seen_power_w)
    began = session.start.intent_at or session.created_at
    hours = max(Decimal(0), Decimal((report.seen_at - began) / timedelta(hours=1)))
    return report.energy_wh > int(power_w * hours) * ENERGY_FACTOR + SLACK_WH


def price_above_tariff(session: PaymentSession, charge: Charge, policy: Policy) -> str | None:
    """A final price above what the tariff allows, though not absurd: billed, but somebody should mend the tariff."""
    tariff, price = _tariff(session), charge.latest.price
    if tariff is None or price is None:
        return None
    most = _most(session, charge, tariff, policy)
    if price <= most * Decimal("1.02") + to_major(2, tariff.currency):
        return None
    return f"Monta's final price {price} is above the most that the tariff allows, {most:.2f}"


def last_believed(
    session: PaymentSession, charge: Charge, policy: Policy
) -> tuple[int | None, SettlementBasis]:
    """The amount in minor units to settle by when the final record does not come, or cannot be believed, and no time
    is left: never more than is plausible."""
    if too_much_energy(session, charge) is not None:
        return None, SettlementBasis.NOTHING_KNOWN
    price = charge.latest.price
    if price and unbillable(session, charge, policy) is None:
        return to_minor(price, session.authorization.currency, Rounding.HALF_UP), SettlementBasis.LAST_PRICE
    tariff = _tariff(session)
    if tariff is None or not final_energy_wh(charge):
        return None, SettlementBasis.NOTHING_KNOWN
    least = lower_bound(tariff, _reading(session, charge), ZoneInfo(session.time_zone))
    return to_minor(least, tariff.currency, Rounding.DOWN), SettlementBasis.TARIFF_MINIMUM


def final_energy_wh(charge: Charge) -> int:
    """What the record itself says; the highest reading while it says nothing."""
    final = charge.latest.energy_wh
    return charge.energy_wh if final is None else final


def _odd_price(session: PaymentSession, charge: Charge, price: Decimal, policy: Policy) -> str | None:
    if not price:
        return None
    slack = to_major(SLACK_MINOR, session.authorization.currency)
    tariff, average = _tariff(session), charge.latest.price_per_kwh
    wh = final_energy_wh(charge)
    if average is not None and wh >= SLACK_WH and average > 0:
        usual = average * wh / 1000
        if not usual / UNIT_FACTOR <= price <= usual * UNIT_FACTOR + slack:
            return f"{price} does not fit {wh} Wh at Monta's own average of {average} a kWh"
    if tariff is None:
        reserved = to_major(session.reserved_minor, session.authorization.currency)
        most = reserved * RESERVATION_FACTOR
        return None if price <= most else f"{price} is far above the reservation of {reserved}"
    most = _most(session, charge, tariff, policy)
    far = most * ABOVE_BOUND + to_major(ABOVE_BOUND_MINOR, tariff.currency)
    if price > min(far, most * UNIT_FACTOR + slack):
        return f"{price} is above every bound of the tariff, which allows {most:.2f} at most"
    least = lower_bound(tariff, _reading(session, charge), ZoneInfo(session.time_zone))
    if least > slack and price < least / UNIT_FACTOR:
        return f"{price} is far below the least that the tariff makes of {wh} Wh, {least:.2f}"
    return None


def _most(session: PaymentSession, charge: Charge, tariff: Tariff, policy: Policy) -> Decimal:
    """The tariff's highest total for this energy and time, at any power and however long the cable was in."""
    reading = _reading(session, charge)
    power_w = max(session.power_bound_w or policy.unknown_power_w, session.seen_power_w)
    return upper_bound(tariff, reading, reading.at, power_w, ZoneInfo(session.time_zone))


def _reading(session: PaymentSession, charge: Charge) -> Reading:
    """The end of the charge as the record shows it; time runs on until the cable was released."""
    latest = charge.latest
    started_at = latest.started_at or latest.created_at or session.start.intent_at or session.created_at
    ended_at = latest.completed_at or max(charge.seen_at, latest.stopped_at or charge.seen_at)
    return Reading(
        started_at=min(started_at, ended_at),
        at=ended_at,
        energy_wh=final_energy_wh(charge),
        meter_error_wh=METER_ROUNDING_WH,
    )


def _tariff(session: PaymentSession) -> Tariff | None:
    tariff = session.tariff
    return tariff if tariff is not None and tariff.currency == session.authorization.currency else None
