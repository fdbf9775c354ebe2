"""Tests of app/domain/tariff/price.

The worked examples of OCPI 2.3.0, Tariffs module, to the cent.

Tariffs and figures are those of the specification (repository ocpi/ocpi, mod_tariffs and examples/); where
2.3.0 corrected an example of 2.2.1 the later figures count. Local times are taken in Amsterdam.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from app.domain.tariff import Period, PeriodKind, Price, Tariff, parse_tariff, price
from app.domain.tariff.model import Dimension
from app.domain.tariff.price import as_price
from app.domain.tariff.rates import Rate, rated

TZ = ZoneInfo("Europe/Amsterdam")
MONDAY = datetime(2026, 11, 23, 9, 30, tzinfo=TZ)
SATURDAY = datetime(2026, 11, 28, 13, 30, tzinfo=TZ)
Json = dict[str, object]


def component(kind: str, amount: float, step: int = 1, vat: float | None = None) -> Json:
    found: Json = {"type": kind, "price": amount, "step_size": step}
    return found if vat is None else found | {"vat": vat}


def element(*components: Json, **restrictions: object) -> Json:
    found: Json = {"price_components": list(components)}
    return found | {"restrictions": restrictions} if restrictions else found


def tariff(*elements: Json, **more: object) -> Json:
    return {
        "country_code": "DE",
        "party_id": "ALL",
        "id": "1",
        "currency": "EUR",
        "elements": list(elements),
        **more,
    }


def minutes(count: float) -> int:
    return int(count * 60)


def course(start: datetime, *legs: tuple[float, int, str] | tuple[float, int, str, int]) -> list[Period]:
    """Legs of (minutes, Wh, charging or parking[, A]) one after the other."""
    found: list[Period] = []
    at = start.astimezone(ZoneInfo("UTC"))
    for leg in legs:
        current = Decimal(leg[3]) if len(leg) == 4 else None
        seconds = minutes(leg[0])
        found.append(Period(start=at, seconds=seconds, wh=leg[1], kind=PeriodKind(leg[2]), current_a=current))
        at += timedelta(seconds=seconds)
    return found


def charged(wh: int, length: float = 60) -> list[Period]:
    return course(MONDAY, (length, wh, "charging"))


@dataclass(frozen=True)
class Example:
    """A tariff, a session, and its cost before and with taxes; `file`: its name under examples/."""

    file: str
    tariff: Json
    usage: Sequence[Period]
    before_tax: str
    total: str | None = None
    case: str = ""


START_FEE = component("FLAT", 0.50, vat=20)
PER_KWH = component("ENERGY", 0.25, vat=10)
WEEKDAYS = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"]
COMPLEX = tariff(
    element(component("FLAT", 2.50, vat=15)),
    element(component("TIME", 1.00, 900, 20), max_current=32.00),
    element(component("TIME", 2.00, 600, 20), min_current=32.00, day_of_week=WEEKDAYS),
    element(component("TIME", 1.25, 600, 20), min_current=32.00, day_of_week=["SATURDAY", "SUNDAY"]),
    element(
        component("PARKING_TIME", 5.00, 300, 10), start_time="09:00", end_time="18:00", day_of_week=WEEKDAYS
    ),
    element(
        component("PARKING_TIME", 6.00, 300, 10),
        start_time="10:00",
        end_time="17:00",
        day_of_week=["SATURDAY"],
    ),
    tax_included="NO",
)
STEPS = tariff(
    element(
        component("TIME", 1.20, 1800),
        component("PARKING_TIME", 1.00, 900),
        start_time="00:00",
        end_time="17:00",
    ),
    element(
        component("TIME", 2.40, 900),
        component("PARKING_TIME", 1.00, 900),
        start_time="17:00",
        end_time="20:00",
    ),
    element(component("TIME", 2.40, 900), start_time="20:00", end_time="00:00"),
)
FIRST_HOUR = tariff(
    element(component("PARKING_TIME", 0.0, 60), min_duration=0, max_duration=3600),
    element(component("PARKING_TIME", 2.0, 60), min_duration=3600, max_duration=10800),
    element(component("PARKING_TIME", 3.0, 60), min_duration=10800),
    element(component("ENERGY", 0.0), max_kwh=1.0),
    element(component("ENERGY", 0.2), min_kwh=1.0),
)
BY_POWER = tariff(
    element(component("ENERGY", 0.20, vat=20), max_power=16.00),
    element(component("ENERGY", 0.35, vat=20), max_power=32.00),
    element(component("ENERGY", 0.50, vat=20)),
)
BY_DURATION = tariff(
    element(component("ENERGY", 0.00, vat=20), max_duration=1800),
    element(component("ENERGY", 0.25, vat=20), max_duration=3600),
    element(component("ENERGY", 0.40, vat=20)),
)
LIMITED = tariff(
    element(START_FEE, PER_KWH),
    max_price={"before_taxes": 10, "after_taxes": 11},
    end_date_time="2019-06-30T23:59:59Z",
)
AT_LEAST = tariff(element(PER_KWH), min_price={"before_taxes": 0.50, "after_taxes": 0.55})
EXAMPLES = [
    Example("tariff_8_simple_025kwh", tariff(element(PER_KWH)), charged(20_000), "5.00", "5.50"),
    Example("tariff_9_025kwh_start", tariff(element(START_FEE, PER_KWH)), charged(20_000), "5.50", "6.10"),
    Example("tariff_12_025kwh_min_price", AT_LEAST, charged(20_000), "5.00", "5.50"),
    Example("tariff_12_025kwh_min_price", AT_LEAST, charged(1_999), "0.50", "0.55", "less than 2 kWh"),
    Example(
        "tariff_10_025kwh_parking_start",
        tariff(element(START_FEE, PER_KWH, component("PARKING_TIME", 2.00, 900, 20))),
        course(MONDAY, (60, 20_000, "charging"), (40, 0, "parking")),
        "7.00",
        "7.90",
    ),
    Example("tariff_6_025kwh_start_max_price", LIMITED, charged(50_000), "10.00", "11.00", "limited"),
    Example("tariff_6_025kwh_start_max_price", LIMITED, charged(30_000), "8.00", "8.85", "below"),
    Example(
        "tariff_1_simple_2hour",
        tariff(element(component("TIME", 2.00, 60, 10))),
        charged(0, 150),
        "5.00",
        "5.50",
    ),
    Example(
        "tariff_13_simple_3hour_5parking",
        tariff(element(component("TIME", 3.00, 60, 10), component("PARKING_TIME", 5.00, 300, 20))),
        course(MONDAY, (150, 20_000, "charging"), (42, 0, "parking")),
        "11.25",
        "12.75",
    ),
    Example(
        "tariff_2_alt_text",
        tariff(
            element(component("TIME", 1.9, 300, 5.2)),
            type="AD_HOC_PAYMENT",
            tariff_alt_text=[{"language": "en", "text": "2.00 euro p/hour including VAT."}],
        ),
        charged(0, 150),
        "4.75",
        "5.00",
    ),
    Example(
        "tariff_3_alt_url",
        tariff(
            element(START_FEE, component("ENERGY", 0.25, 100, 10)),
            type="PROFILE_CHEAP",
            tariff_alt_url="https://company.com/tariffs/13",
        ),
        charged(20_450),
        "5.63",
        "6.24",
        "announced prices",
    ),
    Example(
        "tariff_3_alt_url",
        tariff(element(START_FEE, component("ENERGY", 0.22, 100, 10))),
        charged(20_450),
        "5.01",
        "5.56",
        "price of the moment",
    ),
    Example(
        "tariff_4_complex",
        COMPLEX,
        course(MONDAY, (165, 8_000, "charging", 16), (42, 0, "parking")),
        "9.00",
        "10.30",
        "Monday",
    ),
    # The text prints 12.28 and 13.861, having taken 114 minutes at 1.20 an hour; the tariff says 1.25.
    Example(
        "tariff_4_complex",
        COMPLEX,
        course(SATURDAY, (114, 40_000, "charging", 43), (71, 0, "parking")),
        "12.38",
        "13.98",
        "Saturday",
    ),
    Example(
        "tariff_5_free_of_charge",
        tariff(element(component("FLAT", 0.00, 0))),
        charged(20_000),
        "0.00",
        "0.00",
    ),
    # The example counts parking from its own start, the field from the session's: so no time charging here.
    Example(
        "tariff_7_first_hour_kwh_free",
        FIRST_HOUR,
        course(MONDAY, (0, 20_000, "charging"), (165, 0, "parking")),
        "7.30",
    ),
    Example(
        "tariff_14_step_size",
        STEPS,
        course(MONDAY.replace(hour=16, minute=55), (10, 0, "charging"), (2, 0, "parking")),
        "0.55",
        case="switching #1",
    ),
    Example(
        "tariff_14_step_size",
        STEPS,
        course(MONDAY.replace(hour=16, minute=35), (35, 0, "charging")),
        "1.30",
        case="switching #2",
    ),
    # 12 minutes at 2.40 and 15 at 1.00 an hour; one printing of the text adds up other prices.
    Example(
        "tariff_14_step_size",
        STEPS,
        course(MONDAY.replace(hour=19, minute=40), (12, 0, "charging"), (20, 0, "parking")),
        "0.73",
        case="switching to free",
    ),
    Example(
        "tariffrestriction_example_max_power",
        BY_POWER,
        course(MONDAY, (10, 1_000, "charging"), (50, 40_000, "charging"), (7.5, 500, "charging")),
        "20.30",
    ),
    Example(
        "tariffrestriction_example_max_duration",
        BY_DURATION,
        course(MONDAY, (30, 5_000, "charging"), (10, 1_200, "charging")),
        "0.30",
    ),
    Example(
        "tariff_19_simple_north_american_exclusive",
        tariff(element(component("TIME", 2.00)), tax_included="NO", currency="CAD"),
        charged(0, 150),
        "5.00",
    ),
    Example(
        "tariff_20_simple_north_american_inclusive",
        tariff(element(component("TIME", 2.10)), tax_included="YES", currency="CAD"),
        charged(0, 150),
        "5.25",
        "5.25",
    ),
    Example(
        "tariff_11_not_possible_alt_text",
        tariff(element(component("FLAT", 0.4, vat=25), component("TIME", 1.9, 300, 5.2))),
        charged(0, 150),
        "5.15",
        "5.50",
    ),
]


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), "ROUND_HALF_UP")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: f"{each.file} {each.case}".strip())
def test_a_worked_example_comes_out_to_the_cent(example: Example) -> None:
    found = price(parse_tariff(example.tariff), example.usage, TZ)
    assert cents(found.before_tax) == Decimal(example.before_tax)
    if example.total is not None:
        assert cents(found.total) == Decimal(example.total)
    assert abs(found.before_tax + found.tax - found.total) < Decimal("1e-20")


RESERVED = [START_FEE, PER_KWH]


@dataclass(frozen=True)
class Reserved:
    """A reservation used, or expired, after these minutes; with 20 kWh charged when it was used."""

    file: str
    elements: tuple[Json, ...]
    after: int
    before_tax: str
    total: str
    expired: bool = False


def held(kind: str, *components: Json) -> Json:
    return element(*components, reservation=kind)


BY_HOUR = (held("RESERVATION", component("TIME", 5, 60, 20)),)
WITH_FEE = (held("RESERVATION", component("FLAT", 2, vat=20), component("TIME", 5, 300, 20)),)
EXPIRE_FEE = (
    held("RESERVATION_EXPIRES", component("FLAT", 4, vat=20)),
    held("RESERVATION", component("TIME", 2, 600, 20)),
)
EXPIRE_TIME = (
    held("RESERVATION_EXPIRES", component("TIME", 6, 600, 20)),
    held("RESERVATION", component("TIME", 3, 600, 20)),
)
RESERVATIONS = [
    Reserved("tariff_15_reservation_5_euro_per_hour", BY_HOUR, 15, "6.75", "7.60"),
    Reserved("tariff_16_reservation_2_euro_fee_5_euro_per_hour", WITH_FEE, 13, "8.75", "10.00"),
    Reserved("tariff_17_reservation_with_expire_fee", EXPIRE_FEE, 22, "6.50", "7.30"),
    Reserved("tariff_17_reservation_with_expire_fee", EXPIRE_FEE, 60, "6.00", "7.20", expired=True),
    Reserved("tariff_18_reservation_with_expire_time", EXPIRE_TIME, 22, "7.00", "7.90"),
    Reserved("tariff_18_reservation_with_expire_time", EXPIRE_TIME, 90, "9.00", "10.80", expired=True),
]


def reservation_price(tariff: Tariff, seconds: int, *, expired: bool) -> Price:
    """The cost of a reservation of `seconds`, from its making to the start of the session or to its expiry.

    Fees of both kinds fall due when it expired; its time is then priced as expired where that has a price.
    """
    kinds = ("RESERVATION_EXPIRES", "RESERVATION") if expired else ("RESERVATION",)
    fees = [rate for kind in kinds for rate in reservation_rates(tariff, kind, Dimension.FLAT)[:1]]
    by_time = [rate for kind in kinds for rate in reservation_rates(tariff, kind, Dimension.TIME)[:1]]
    lines = [*((rate, 1) for rate in fees), *((r, -(-seconds // r.step) * r.step) for r in by_time[:1])]
    before = sum((rate.net * amount for rate, amount in lines), Fraction(0))
    return as_price(before, sum((rate.gross * amount for rate, amount in lines), Fraction(0)))


def reservation_rates(tariff: Tariff, kind: str, dimension: Dimension) -> list[Rate]:
    elements = [each for each in tariff.elements if each.restrictions.reservation == kind]
    rates = [rated(each, tariff.tax_included).rates for each in elements]
    return [found[dimension] for found in rates if dimension in found]


@pytest.mark.parametrize("example", RESERVATIONS, ids=lambda each: f"{each.file} {each.after} minutes")
def test_a_worked_example_with_a_reservation_comes_out_to_the_cent(example: Reserved) -> None:
    read = parse_tariff(tariff(*example.elements, element(*RESERVED)))
    held_for = reservation_price(read, minutes(example.after), expired=example.expired)
    session = price(read, [] if example.expired else charged(20_000), TZ)
    assert cents(held_for.before_tax + session.before_tax) == Decimal(example.before_tax)
    assert cents(held_for.total + session.total) == Decimal(example.total)


def test_elements_for_reservations_never_price_a_session() -> None:
    read = parse_tariff(tariff(*EXPIRE_TIME, element(*RESERVED)))
    assert price(read, charged(20_000), TZ).total == Decimal("6.10")


@pytest.mark.parametrize(("step", "wh", "cost"), [(1, 116, "0.029"), (25, 116, "0.031"), (500, 1, "0.125")])
def test_the_step_size_note_bills_whole_steps_of_energy(step: int, wh: int, cost: str) -> None:
    found = price(parse_tariff(tariff(element(component("ENERGY", 0.25, step)))), charged(wh), TZ)
    assert found.before_tax.quantize(Decimal("0.001")) == Decimal(cost)


def test_the_step_size_of_energy_rounds_the_session_once_at_the_last_price() -> None:
    """CDRs module, step_size: 4.3 kWh before 17:00 and 1.1 kWh after are 5.5 kWh, not 6.0."""
    read = parse_tariff(
        tariff(
            element(component("ENERGY", 0.20, 500), end_time="17:00"), element(component("ENERGY", 0.27, 500))
        )
    )
    usage = course(MONDAY.replace(hour=16, minute=0), (60, 4_300, "charging"), (60, 1_100, "charging"))
    assert price(read, usage, TZ).before_tax == Decimal("1.184")


def test_charging_time_is_not_rounded_when_parking_follows() -> None:
    """CDRs module, step_size: 21 minutes charging and 7 parked in blocks of 5 are billed as 21 and 10."""
    read = parse_tariff(tariff(element(component("TIME", 6, 300), component("PARKING_TIME", 12, 300))))
    usage = course(MONDAY, (21, 5_000, "charging"), (7, 0, "parking"))
    assert price(read, usage, TZ).before_tax == Decimal("4.1")
