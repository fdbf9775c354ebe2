"""What it costs to have reserved a charge point; sessions themselves never count these elements."""

from fractions import Fraction

from app.domain.tariff.model import Dimension, Tariff
from app.domain.tariff.price import Price, as_price
from app.domain.tariff.rates import Rate, rated

USED, EXPIRED = "RESERVATION", "RESERVATION_EXPIRES"


def reservation_price(tariff: Tariff, seconds: int, *, expired: bool) -> Price:
    """The cost of a reservation of `seconds`, from its making to the start of the session or to its expiry.

    Fees of both kinds fall due when it expired; its time is then priced as expired where that has a price.
    Other restrictions of these elements are not looked at.
    """
    kinds = (EXPIRED, USED) if expired else (USED,)
    fees = [rate for kind in kinds if (rate := _first(tariff, kind, Dimension.FLAT)) is not None]
    by_time = [rate for kind in kinds if (rate := _first(tariff, kind, Dimension.TIME)) is not None]
    lines = [(rate, 1) for rate in fees] + [
        (rate, -(-seconds // rate.step) * rate.step) for rate in by_time[:1]
    ]
    before = sum((rate.net * amount for rate, amount in lines), Fraction(0))
    return as_price(before, sum((rate.gross * amount for rate, amount in lines), Fraction(0)))


def _first(tariff: Tariff, kind: str, dimension: Dimension) -> Rate | None:
    for element in tariff.elements:
        rates = rated(element, tariff.tax_included).rates
        if element.restrictions.reservation == kind and dimension in rates:
            return rates[dimension]
    return None
