"""Rounds and converts money and energy. Minor units of ISO 4217 currencies, and watt-hours."""

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal
from enum import StrEnum
from typing import assert_never

_CODES_BY_EXPONENT = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF"
    " CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD"
    " GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL"
    " MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR"
    " PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP"
    " TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
EXPONENTS = {code: exponent for exponent, codes in _CODES_BY_EXPONENT.items() for code in codes.split()}
"""Decimals of the minor unit of every active code. Metals, baskets and test codes have none: left out."""

EXACT = Context(prec=60)
"""Wide enough for any amount here, so that scaling by powers of ten never rounds."""


class UnknownCurrency(ValueError):
    """The code is no active ISO 4217 currency with a minor unit."""


class Rounding(StrEnum):
    """How to round. UP to the next larger number, DOWN to the next smaller, HALF_UP to the nearest."""

    UP = "up"
    DOWN = "down"
    HALF_UP = "half_up"


def round_to_int(value: Decimal, rounding: Rounding) -> int:
    """The integer at or next to `value` in the named direction."""
    match rounding:
        case Rounding.UP:
            mode = ROUND_CEILING
        case Rounding.DOWN:
            mode = ROUND_FLOOR
        case Rounding.HALF_UP:
            mode = ROUND_HALF_UP
        case _:
            assert_never(rounding)
    return int(value.to_integral_value(rounding=mode, context=EXACT))


def is_currency(code: str) -> bool:
    """Whether `code` is an active currency that can be counted. ISO 4217, upper case."""
    return code in EXPONENTS


def exponent(currency: str) -> int:
    """Decimals of the currency's minor unit: 2 for EUR, 0 for JPY, 3 for KWD. Raises UnknownCurrency."""
    try:
        return EXPONENTS[currency]
    except KeyError:
        raise UnknownCurrency(currency) from None


def to_minor(amount: Decimal, currency: str, rounding: Rounding) -> int:
    """Major units to minor units, rounded as named: 12.345 EUR is 1234 DOWN and 1235 UP."""
    return round_to_int(amount.scaleb(exponent(currency), context=EXACT), rounding)


def to_major(amount_minor: int, currency: str) -> Decimal:
    """Minor units to major units, exact: 1234 of EUR is 12.34."""
    return Decimal(amount_minor).scaleb(-exponent(currency), context=EXACT)


def format_minor(amount_minor: int, currency: str) -> str:
    """For people: 1234 of EUR is `12.34 EUR`, 1234 of JPY `1234 JPY`."""
    return f"{to_major(amount_minor, currency):f} {currency}"


def kwh_to_wh(energy_kwh: Decimal, rounding: Rounding) -> int:
    """kWh to Wh, rounded as named: 1.2345 kWh is 1234 DOWN and 1235 UP."""
    return round_to_int(energy_kwh.scaleb(3, context=EXACT), rounding)


def wh_to_kwh(energy_wh: int) -> Decimal:
    """Wh to kWh, exact: 1234 Wh is 1.234 kWh."""
    return Decimal(energy_wh).scaleb(-3, context=EXACT)
