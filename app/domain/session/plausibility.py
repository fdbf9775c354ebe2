"""Checks whether Monta's prices and energies are plausible. Finds the plausible part of others."""

from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from app.domain.charging.charge import ENDED, Charge, ChargeReport, ChargeState
from app.domain.limit.monta_limits import MONTA_LEAST_KWH, affordable_wh
from app.domain.limit.policy import Policy
from app.domain.session.holds import units_per_eur
from app.domain.session.limit_checks import other_currency
from app.domain.session.payment_session import PaymentSession
from app.domain.session.settlement import SettlementBasis
from app.domain.tariff import Reading, Tariff, upper_bound
from app.domain.tariff.lower_bound import lower_bound
from app.domain.tariff.model import Dimension
from app.domain.tariff.rates import rates_of
from app.domain.units.frozen import replace
from app.domain.units.money import Rounding, to_major, to_minor

BELIEVED_FACTOR = 3
"""Factor above the rating's energy, or the tariff's price, from which a value is not believed. Ratings are wrong by as
much where one phase was entered for three; idle fees are often missing in a tariff."""
SHOWN_FACTOR = 10
"""Factor of the observed power that may have flowed at most since the last reading."""
SLACK_WH = 1000
"""One step of the coarsest meters, which may come early by rounding."""


def began_at(session: PaymentSession) -> datetime:
    """The earliest moment at which our charge can have begun. By our own clock: no date of Monta's counts."""
    start = session.start
    return start.intent_at if start.posts == 1 and start.intent_at is not None else session.created_at


def most_power_w(session: PaymentSession, policy: Policy) -> int:
    """The highest power that is believed at all."""
    rated_w = session.power_bound_w if session.power_bound_w is not None else policy.unknown_power_w
    return min(BELIEVED_FACTOR * rated_w, policy.highest_power_w)


def most_energy_wh(session: PaymentSession, until: datetime, policy: Policy) -> int:
    """Returns the highest plausible energy at `until`, in Wh. By our clock.

    A last reading counts from when it was first shown, of a paused charge from when it last was, and may be as old as a
    silent meter is believed to be.
    """
    power_w = most_power_w(session, policy)
    most_wh = _flowed_wh(power_w, until - began_at(session))
    if session.meter_history.points:
        last = session.meter_history.points[-1]
        estimated_max_w = min(power_w, SHOWN_FACTOR * session.meter_history.peak_w or power_w)
        charge, last_at = session.charge, last.at
        if charge is not None and charge.state is ChargeState.PAUSED and charge.metered_at is not None:
            last_at = max(last_at, charge.metered_at)
        unseen = until - last_at + timedelta(seconds=policy.meter_silence_s)
        most_wh = min(most_wh, last.energy_wh + _flowed_wh(estimated_max_w, unseen))
    return most_wh + SLACK_WH


def energy_until(session: PaymentSession, report: ChargeReport) -> datetime:
    """Returns until when energy can have flowed, by our clock. For a report that is its arrival; of an ended charge not
    later than its first known end, however often its record is read."""
    arrived_at, ended_at = report.arrived_at or report.seen_at, session.charge_ended_at
    return arrived_at if ended_at is None or report.state not in ENDED else min(arrived_at, ended_at)


def started_at(session: PaymentSession, report: ChargeReport, policy: Policy) -> datetime:
    """When the charge began to count time: Monta's date where it is possible, else our own."""
    began, skew = began_at(session), timedelta(seconds=policy.clock_skew_s)
    for date in (report.started_at, report.created_at):
        if date is not None and began - skew <= date <= report.seen_at + skew:
            return date
    return began


def _flowed_wh(power_w: int, length: timedelta) -> int:
    return power_w * max(0, length // timedelta(seconds=1) + 1) // 3600


ABOVE_BOUND_MINOR = 500
"""A price above the tariff's highest by more than BELIEVED_FACTOR and this amount is not believed. Below that Monta's
price counts, up to the authorization, and the difference is reported."""
UNIT_FACTOR = 20
"""A mix-up of units is a factor of 100 (or 1,000 for three decimals). Fees and rounding never come near this."""
AUTHORIZATION_FACTOR = 10
"""Without a tariff: our stop and Monta's limit would both have had to fail by this factor."""
HIGHEST_KWH_PRICE_EUR = 3
"""Highest price a kWh anywhere. A final price above what this and the two that follow allow together is held for
operations. Other currencies alike, by their ordinary amounts."""
HIGHEST_HOUR_PRICE_EUR = 60
"""Fees for a cable that is left in: 1 EUR a minute."""
HIGHEST_FEE_EUR = 10
"""For the session."""
AVERAGED_WH = 2000
SLACK_MINOR = 50
"""Below these amounts rounding alone may look like a factor."""
METER_ROUNDING_WH = 5


def without_impossible(session: PaymentSession, report: ChargeReport, policy: Policy) -> ChargeReport:
    """Sets aside an impossible energy or price of a report. It is kept beside, with the reason in words.

    An impossible energy also sets aside the price of the same report; an ended charge's price of 0 or below stays, for
    it is a release.
    """
    why = _too_much_energy(session, report, policy)
    if why is not None:
        report = replace(report, claimed_wh=report.energy_wh, energy_wh=None, set_aside_why=why)
        price_too = report.price is not None and (report.price > 0 or report.state not in ENDED)
        return _without_price(report) if price_too else report
    why = _odd_price(session, report, policy)
    return report if why is None else replace(_without_price(report), set_aside_why=why)


def unbillable(session: PaymentSession, charge: Charge, policy: Policy) -> str | None:
    """Returns in words why a final record is held; None: it is billable.

    A negative price is possible: nothing is captured then, so there is nothing to decide.
    """
    final = charge.latest
    if final.price is not None and final.price < 0:
        return None
    other = other_currency(session, charge)
    if other is not None:
        return f"the completed charge is priced in {other}, the hold is in {session.authorization.currency}"
    if final.price == 0:
        return None
    if final.set_aside_why is not None:
        return f"the final record is held for operations: {final.set_aside_why}"
    return "the completed charge has no price" if final.price is None else None


def price_above_tariff(session: PaymentSession, charge: Charge, policy: Policy) -> str | None:
    """Returns why a price above the tariff is reported, though billed. The tariff needs a correction."""
    tariff, price = _tariff_throughout(session, charge.latest), charge.latest.price
    if tariff is None or price is None:
        return None
    most = _most(session, charge.latest, final_energy_wh(charge), tariff, policy)
    if price <= most * Decimal("1.02") + to_major(2, tariff.currency):
        return None
    currency = session.authorization.currency
    return f"Monta's final price {price} {currency} is above the most that the tariff allows, {most:.2f} {currency}"


def negative_price_unexpected(session: PaymentSession, charge: Charge, policy: Policy) -> bool:
    """Whether a negative final price contradicts the tariff, which charges drivers."""
    price = charge.latest.price
    return price is not None and price < 0 and bool(_least_minor(session, charge, policy))


def last_believed(
    session: PaymentSession, charge: Charge, policy: Policy
) -> tuple[int | None, SettlementBasis]:
    """The amount to settle by without a final record, in minor units. The record is missing or not believed, and no
    time is left. Never more than is plausible."""
    currency, price = session.authorization.currency, charge.latest.price
    if price is not None and price < 0:
        return 0, SettlementBasis.LAST_PRICE
    if price and unbillable(session, charge, policy) is None:
        return to_minor(price, currency, Rounding.HALF_UP), SettlementBasis.LAST_PRICE
    least_minor = _least_minor(session, charge, policy)
    if least_minor is not None:
        return least_minor, SettlementBasis.TARIFF_MINIMUM
    earlier = charge.last_priced
    shown = earlier is not None and other_currency(session, charge) is None
    if shown and earlier is not None and earlier.price and _tariff(session) is None:
        return max(0, to_minor(earlier.price, currency, Rounding.HALF_UP)), SettlementBasis.LAST_PRICE
    return None, SettlementBasis.NOTHING_KNOWN


def final_energy_wh(charge: Charge) -> int:
    """Returns the record's energy if possible, else the highest possible reading."""
    final = charge.latest.energy_wh
    return charge.energy_wh if final is None else final


def _without_price(report: ChargeReport) -> ChargeReport:
    return replace(report, claimed_price=report.price, price=None)


def _too_much_energy(session: PaymentSession, report: ChargeReport, policy: Policy) -> str | None:
    """Returns why the energy is impossible in this time; None: it is possible."""
    if report.energy_wh is None:
        return None
    ended = session.charge.latest if session.charge is not None and session.charge.ended else None
    if ended is not None and ended.claimed_wh == report.energy_wh and report.state in ENDED:
        return ended.set_aside_why  # no reading becomes possible by being repeated
    most_wh = most_energy_wh(session, energy_until(session, report), policy)
    if report.energy_wh <= most_wh:
        return None
    return f"{report.energy_wh} Wh is more than the charge point can have given so far, {most_wh} Wh at the very most"


def _odd_price(session: PaymentSession, report: ChargeReport, policy: Policy) -> str | None:
    price, currency = report.price, session.authorization.currency
    if not price or price < 0 or report.currency not in (None, currency):
        return None
    wh = _energy_of(session, report)
    tariff = _tariff_throughout(session, report)
    why = _off_average(report, price, wh, currency)
    if why is not None:
        return why
    if tariff is None:
        return _odd_without_tariff(session, report, price, wh, policy)
    slack = to_major(SLACK_MINOR, currency)
    most = _most(session, report, wh, tariff, policy)
    far = most * BELIEVED_FACTOR + to_major(ABOVE_BOUND_MINOR, currency)
    if price > min(far, most * UNIT_FACTOR + slack):
        return f"{price} {currency} is above every bound of the tariff, which allows {most:.2f} {currency} at most"
    if report.state is not ChargeState.COMPLETED:
        return None
    least = lower_bound(tariff, _reading(session, report, wh, policy), ZoneInfo(session.time_zone))
    if least > slack and price < least / UNIT_FACTOR:
        return f"{price} {currency} is far below the least that the tariff makes of {wh} Wh, {least:.2f} {currency}"
    return None


def _energy_of(session: PaymentSession, report: ChargeReport) -> int:
    """Returns the energy that a price is for. Of a completed charge the record's. Before that the meter never falls."""
    if report.energy_wh is not None and report.state is ChargeState.COMPLETED:
        return report.energy_wh
    return max(report.energy_wh or 0, session.energy_wh)


def _off_average(report: ChargeReport, price: Decimal, wh: int, currency: str) -> str | None:
    """Whether price and average differ by a mix-up of units. The average is Monta's, a kWh."""
    average = report.price_per_kwh
    if average is None or average <= 0 or wh < AVERAGED_WH:
        return None
    usual, slack = average * wh / 1000, to_major(SLACK_MINOR, currency)
    if usual / UNIT_FACTOR <= price <= usual * UNIT_FACTOR + slack:
        return None
    return f"{price} {currency} does not fit {wh} Wh at Monta's own average of {average} {currency} a kWh"


def _odd_without_tariff(
    session: PaymentSession, report: ChargeReport, price: Decimal, wh: int, policy: Policy
) -> str | None:
    """Checks that a price is plausible. By the authorization, this charge's and recent prices a kWh, and the highest
    anywhere."""
    currency = session.authorization.currency
    authorized = to_major(session.authorized_minor, currency)
    if price > authorized * AUTHORIZATION_FACTOR:
        return f"{price} {currency} is far above the authorization of {authorized} {currency}"
    most = _most_anywhere(session, report, wh, policy)
    if report.state in ENDED and price > most:
        return (
            f"{price} {currency} is more than {wh} Wh in that time cost anywhere,"
            f" {most:.2f} {currency} at the very most"
        )
    per_kwh = _usual_kwh_price(session)
    if per_kwh is None:
        return None
    usual = per_kwh * wh / 1000
    if price <= usual * UNIT_FACTOR + to_major(ABOVE_BOUND_MINOR, currency):
        return None
    return f"{price} {currency} is far above {usual:.2f} {currency}, which {wh} Wh came to at the prices shown before"


def _most_anywhere(session: PaymentSession, report: ChargeReport, wh: int, policy: Policy) -> Decimal:
    """The highest possible cost of this energy and time, in major units. Without a known energy, of the most that can
    have flowed. Only for an ended charge: while it runs, too high a price stops it, which is safe."""
    reported = report.energy_wh is not None or wh > 0
    until = _time_until(session, report)
    most_wh = wh if reported else most_energy_wh(session, energy_until(session, report), policy)
    seconds = max(0, int((until - min(until, started_at(session, report, policy))).total_seconds()))
    eur = Decimal(HIGHEST_FEE_EUR) + Decimal(HIGHEST_KWH_PRICE_EUR * most_wh) / 1000
    eur += Decimal(HIGHEST_HOUR_PRICE_EUR * seconds) / 3600
    return eur * units_per_eur(session.authorization.currency)


def _usual_kwh_price(session: PaymentSession) -> Decimal | None:
    shown = session.charge.priced if session.charge is not None else None
    if shown is not None and shown.state is not ChargeState.COMPLETED:
        in_our_money = shown.currency in (None, session.authorization.currency)
        if in_our_money and shown.price and shown.price > 0 and shown.energy_wh:
            return shown.price * 1000 / shown.energy_wh
    return session.learned_kwh_price


def _least_minor(session: PaymentSession, charge: Charge, policy: Policy) -> int | None:
    """The tariff's lower bound for the believed energy. None: no tariff, or no energy."""
    tariff, wh = _tariff(session), final_energy_wh(charge)
    if tariff is None or not wh:
        return None
    least = lower_bound(tariff, _reading(session, charge.latest, wh, policy), ZoneInfo(session.time_zone))
    return to_minor(least, tariff.currency, Rounding.DOWN)


def _most(session: PaymentSession, report: ChargeReport, wh: int, tariff: Tariff, policy: Policy) -> Decimal:
    """Returns the tariff's highest total for this energy and time. At any power and however long the cable was in."""
    reading = _reading(session, report, wh, policy)
    return upper_bound(
        tariff, reading, reading.at, most_power_w(session, policy), ZoneInfo(session.time_zone)
    )


def _reading(session: PaymentSession, report: ChargeReport, wh: int, policy: Policy) -> Reading:
    """The charge as a report shows it. Time runs on until the cable was released. Monta's dates count where they lie
    within our own."""
    began, until = started_at(session, report, policy), _time_until(session, report)
    return Reading(started_at=min(began, until), at=until, energy_wh=wh, meter_error_wh=METER_ROUNDING_WH)


def _time_until(session: PaymentSession, report: ChargeReport) -> datetime:
    """When time stopped to count. Monta's date, where it is not before the last reading; else until it was seen."""
    seen_at, completed_at = report.arrived_at or report.seen_at, report.completed_at
    earliest = session.meter_history.points[-1].at if session.meter_history.points else session.created_at
    return seen_at if completed_at is None or completed_at < earliest else min(completed_at, seen_at)


def _tariff(session: PaymentSession) -> Tariff | None:
    tariff = session.tariff
    return tariff if tariff is not None and tariff.currency == session.authorization.currency else None


def _tariff_throughout(session: PaymentSession, report: ChargeReport) -> Tariff | None:
    """The tariff, if it was valid for the report's whole time. None: it was not."""
    tariff = _tariff(session)
    ends_at = None if tariff is None else tariff.end_date_time
    return tariff if ends_at is None or _time_until(session, report) <= ends_at else None


def why_unlikely(tariff: Tariff, authorized_minor: int, learned_kwh_price: Decimal | None) -> str | None:
    """Why a converted tariff is dropped, in words. Its price a kWh differs by the factor of a mix-up of units from
    the recent price here (major units), or, where that is unknown, the authorization would not buy the least that
    Monta sells. None: it is plausible."""
    prices = [
        each.rates[Dimension.ENERGY].gross * 1000
        for each in rates_of(tariff).elements
        if Dimension.ENERGY in each.rates
    ]
    if learned_kwh_price is not None and learned_kwh_price > 0 and prices:
        if (
            not learned_kwh_price / UNIT_FACTOR <= max(prices)
            or min(prices) > learned_kwh_price * UNIT_FACTOR
        ):
            return (
                f"Monta's price group is not believed: {float(max(prices)):.4f} a kWh at most, where a kWh lately cost"
                f" {learned_kwh_price}"
            )
        return None
    bought_wh = affordable_wh(tariff, authorized_minor)
    if bought_wh is not None and bought_wh < MONTA_LEAST_KWH * 1000:
        return f"Monta's price group is not believed: by it the authorization buys {bought_wh} Wh"
    return None
