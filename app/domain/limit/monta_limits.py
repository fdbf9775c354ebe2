"""Computes Monta's own limits for an authorization: worst case, rounded down."""

from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from app.domain.limit.policy import SmallAuthorizations
from app.domain.tariff import Tariff, energy_for_amount
from app.domain.tariff.energy_for_amount import counts_everything, one_energy_price
from app.domain.tariff.model import Dimension
from app.domain.tariff.rates import rates_of
from app.domain.units.frozen import frozen
from app.domain.units.money import exponent, to_major, wh_to_kwh

MONTA_LEAST_KWH, MONTA_MOST_WH = Decimal(1), 500_000
MONTA_LEAST_PRICE = Decimal(1)
"""Monta's reference, Start charge: kwhLimit from 1 to 500, priceLimit from 1."""


class LimitProblem(StrEnum):
    """Why a limit cannot be sent: it is below Monta's least."""

    KWH_LIMIT_TOO_SMALL = "kwh_limit_too_small"
    PRICE_LIMIT_TOO_SMALL = "price_limit_too_small"


@frozen(kw_only=True)
class MontaLimits:
    """Limits for Monta's start call; None: no limit. kWh from 1 to 500 with two decimals, price from 1 in major units.

    `problems`: limits left out because they are too small. `kwh_covers_price`: the kWh limit alone keeps the
    price within the authorization, since the tariff is known and no minute costs anything.
    """

    kwh_limit: Decimal | None
    price_limit: Decimal | None
    problems: tuple[LimitProblem, ...] = ()
    kwh_covers_price: bool = False
    authorized_minor: int = 0
    """The authorization that these limits keep within."""
    idle_fee_reserve_minor: int = 0
    """The part of the authorization for fees after the stop."""

    def confirmed_by(self, kwh_limit: Decimal | None, price_limit: Decimal | None) -> bool:
        """Whether limits shown by Monta keep the price within the authorization."""
        if price_limit is not None and self.price_limit is not None and price_limit <= self.price_limit:
            return True
        if kwh_limit is None or self.kwh_limit is None or not self.kwh_covers_price:
            return False
        return kwh_limit <= self.kwh_limit


def monta_limits_for(
    tariff: Tariff | None,
    authorized_minor: int,
    currency: str,
    energy_limit_wh: int | None = None,
    *,
    least_power_w: int | None = None,
    idle_fee_reserve_minor: int = 0,
    reaction_wh: int = 0,
    reaction_s: float = 0,
    trial_wh: int = 0,
    tariff_lasts: bool = True,
) -> MontaLimits:
    """Computes Monta's kwhLimit and priceLimit for an authorization. By the worst case, rounded down.

    A tariff in another currency counts as none. `least_power_w`: see `energy_for_amount`. Below the authorization by
    `idle_fee_reserve_minor` (fees after the stop) and by what `reaction_wh` and `reaction_s` cost (what flows, and
    passes, until Monta's limit acts), but for the latter never below the least that Monta takes, and not for less than
    half a minor unit, since bills are rounded. `trial_wh`: the lower one of the two limits is reduced by this energy.
    Where the price of energy changes with time, power or energy no kWh limit is sent, since it would waste part of the
    amount: only the price limit. `tariff_lasts` False: the tariff may end before the charge does, so the kWh limit does
    not cover the price.
    """
    known = same_currency(tariff, currency)
    usable_minor = max(0, authorized_minor - idle_fee_reserve_minor)
    priced = known if known is not None and one_energy_price(known) else None
    energy_wh = affordable_wh(priced, usable_minor, energy_limit_wh, least_power_w=least_power_w)
    covers = tariff_lasts and energy_wh is not None and known is not None and counts_everything(known)
    price_wh = max(reaction_wh, 0 if covers else trial_wh)
    price_limit = _price_limit(known, usable_minor, currency, price_wh, reaction_s)
    worthless = known is not None and price_limit == to_major(usable_minor, currency)
    lower_wh = max(0 if worthless else reaction_wh, trial_wh if covers else 0)
    kwh_limit = None if energy_wh is None else _kwh_limit(energy_wh, lower_wh)
    problems = []
    if kwh_limit is not None and kwh_limit < MONTA_LEAST_KWH:
        kwh_limit = None
        problems.append(LimitProblem.KWH_LIMIT_TOO_SMALL)
    if price_limit < MONTA_LEAST_PRICE:
        problems.append(LimitProblem.PRICE_LIMIT_TOO_SMALL)
    return MontaLimits(
        kwh_limit=kwh_limit,
        price_limit=price_limit if price_limit >= MONTA_LEAST_PRICE else None,
        problems=tuple(problems),
        kwh_covers_price=kwh_limit is not None and covers,
        authorized_minor=authorized_minor,
        idle_fee_reserve_minor=idle_fee_reserve_minor,
    )


def admitted(limits: MontaLimits, *, tariff_known: bool, small: SmallAuthorizations) -> bool:
    """Whether a session may start with these limits. Below Monta's least only with our watcher alone, where a tariff
    gives the price and the policy allows it."""
    if limits.price_limit is not None and not (tariff_known and limits.problems):
        return True
    return tariff_known and small is SmallAuthorizations.WATCH


def idle_fee_reserve_minor(
    tariff: Tariff | None, authorized_minor: int, currency: str, *, parked_s: int, most_share: Fraction
) -> int:
    """Computes the reserve for fees while parked for `parked_s` after the stop. Limited to a share of the
    authorization, and such that the rest is not below the least limit that Monta takes."""
    known = same_currency(tariff, currency)
    if known is None:
        return 0
    rates = [
        each.rates[Dimension.PARKING_TIME]
        for each in rates_of(known).elements
        if Dimension.PARKING_TIME in each.rates
    ]
    dearest = max(
        (rate.gross * (-(-parked_s // rate.step) * rate.step) for rate in rates), default=Fraction(0)
    )
    most = authorized_minor * most_share
    least_minor = int(MONTA_LEAST_PRICE * 10 ** exponent(currency))
    if authorized_minor >= least_minor:
        most = min(most, Fraction(authorized_minor - least_minor))
    return int(min(-(-dearest * 10 ** exponent(currency) // 1), most // 1))


def _kwh_limit(energy_wh: int, reaction_wh: int) -> Decimal:
    least_wh = int(MONTA_LEAST_KWH * 1000)
    lowered = max(energy_wh - reaction_wh, min(energy_wh, least_wh))
    return wh_to_kwh(min(lowered, MONTA_MOST_WH) // 10 * 10)


def _price_limit(
    known: Tariff | None, usable_minor: int, currency: str, reaction_wh: int, reaction_s: float
) -> Decimal:
    """Reduces the amount by what flows until Monta's limit acts. At the dearest price. Less than half a minor unit of
    it counts as none, since bills are rounded."""
    full = to_major(usable_minor, currency)
    if known is None or not reaction_wh:
        return full
    cost = _dearest(known, Dimension.ENERGY) * reaction_wh
    cost += max(_dearest(known, Dimension.TIME), _dearest(known, Dimension.PARKING_TIME)) * Fraction(
        reaction_s
    )
    cost_minor = max(0, int(-((Fraction(1, 2) - cost * 10 ** exponent(currency)) // 1)))
    return max(to_major(max(0, usable_minor - cost_minor), currency), min(full, MONTA_LEAST_PRICE))


def _dearest(tariff: Tariff, dimension: Dimension) -> Fraction:
    """The highest price of one Wh or second."""
    rated = (each.rates for each in rates_of(tariff).elements)
    return max((rates[dimension].gross for rates in rated if dimension in rates), default=Fraction(0))


def affordable_wh(
    tariff: Tariff | None,
    authorized_minor: int,
    energy_limit_wh: int | None = None,
    *,
    least_power_w: int | None = None,
) -> int | None:
    """Computes the energy limit to show. What the authorization buys at worst, or the driver's own limit if less.

    None: neither is known, or energy costs nothing. The tariff's currency is that of the authorization.
    """
    bought = (
        None if tariff is None else energy_for_amount(tariff, authorized_minor, least_power_w=least_power_w)
    )
    return min((each for each in (bought, energy_limit_wh) if each is not None), default=None)


def same_currency(tariff: Tariff | None, currency: str) -> Tariff | None:
    return tariff if tariff is not None and tariff.currency == currency else None
