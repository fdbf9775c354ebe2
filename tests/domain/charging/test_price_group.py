"""Monta's price groups as OCPI tariffs: each kind of price and fee, never cheaper than Monta, every gap named."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.charging.price_group import Addition, Money, PriceGroup, Pricing, PricingType, to_tariff
from app.domain.tariff import Period, PeriodKind, Reading, Tariff, parse_tariff, price, upper_bound
from app.domain.tariff.lower_bound import lower_bound

UTC_ZONE = ZoneInfo("UTC")
START = datetime(2026, 11, 22, 10, tzinfo=UTC)
POWER_W = 50_000


def eur(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


def kwh(amount: str = "0.49", **more: object) -> Pricing:
    return Pricing(type=PricingType.KWH, price=eur(amount), **more)  # type: ignore[arg-type]  # by name


def fee(kind: PricingType, amount: str, **more: object) -> Pricing:
    return Pricing(type=kind, price=eur(amount), **more)  # type: ignore[arg-type]  # by name


def group(master: Pricing | None, *fees: Pricing, tariffs: tuple[Pricing, ...] = ()) -> PriceGroup:
    return PriceGroup(id="21", name="Public", master=master, fees=fees, tariffs=tariffs)


def tariff_of(converted_from: PriceGroup) -> Tariff:
    source = to_tariff(converted_from).tariff
    assert source is not None
    return parse_tariff(source)


def gaps(converted_from: PriceGroup) -> str:
    return "; ".join(to_tariff(converted_from).gaps)


def cost(tariff: Tariff, *, wh: int, charging_min: int, parked_min: int = 0) -> Decimal:
    """The price of this energy, minutes of charging and then minutes of parking."""
    usage = [Period(start=START, seconds=charging_min * 60, wh=wh)]
    if parked_min:
        parked_at = START + timedelta(minutes=charging_min)
        usage.append(Period(start=parked_at, seconds=parked_min * 60, kind=PeriodKind.PARKING))
    return price(tariff, usage, UTC_ZONE).total


MINUTE_FEE = fee(PricingType.MINUTE, "0.05", ends_when_full=True)
UNTIL_UNPLUGGED = fee(PricingType.MINUTE, "0.05")


@pytest.mark.parametrize(
    ("shown", "wh", "charging_min", "parked_min", "expected"),
    [
        (group(kwh()), 10_000, 60, 30, "4.90"),
        (group(kwh("0.45"), fee(PricingType.STARTING, "0.35")), 10_000, 60, 0, "4.85"),
        (group(kwh("0.59"), MINUTE_FEE), 10_000, 30, 30, "7.40"),
        (group(kwh("0.59"), UNTIL_UNPLUGGED), 10_000, 30, 30, "8.90"),
        (group(kwh("0"), fee(PricingType.MINUTE, "0.10", after_min=20, ends_when_full=True)), 1, 30, 0, "1"),
        (group(kwh("0"), MINUTE_FEE, fee(PricingType.MINUTE, "0.10", after_min=20)), 1, 30, 0, "2.50"),
        (group(kwh("0"), fee(PricingType.CHARGING, "2", after_min=20)), 1, 19, 0, "0"),
        (group(kwh("0"), fee(PricingType.CHARGING, "2", after_min=20)), 1, 21, 0, "2"),
        (
            group(kwh("0"), fee(PricingType.STARTING, "1"), fee(PricingType.CHARGING, "2", after_min=20)),
            1,
            30,
            0,
            "3",
        ),
        (group(kwh("0"), fee(PricingType.IDLE, "0.10")), 1, 30, 15, "1.50"),
        (group(kwh("0"), fee(PricingType.IDLE, "0.10", after_min=10)), 1, 30, 15, "1.50"),
        (group(fee(PricingType.MIN, "0.20")), 10_000, 30, 10, "8"),
        (group(kwh(additions=(Addition(value=eur("0.02"), is_percentage=False),))), 10_000, 60, 0, "5.10"),
    ],
)
def test_each_kind_of_price_and_fee(
    shown: PriceGroup, wh: int, charging_min: int, parked_min: int, expected: str
) -> None:
    found = cost(tariff_of(shown), wh=wh, charging_min=charging_min, parked_min=parked_min)
    assert found == Decimal(expected)


SPOT = Pricing(type=PricingType.SPOT, price_min=eur("0.10"), price_max=eur("0.90"))


def reading(wh: int, minutes: int) -> Reading:
    return Reading(started_at=START, at=START + timedelta(minutes=minutes), energy_wh=wh)


def test_a_spot_price_is_bounded_from_both_sides_by_its_least_and_highest_price() -> None:
    tariff = tariff_of(group(SPOT))
    most = upper_bound(tariff, reading(10_000, 30), START + timedelta(minutes=30), POWER_W, UTC_ZONE)
    assert Decimal("9.00") <= most < Decimal("9.01")
    assert lower_bound(tariff, reading(10_000, 30), UTC_ZONE) == Decimal("1.00")
    assert "spot price changes" in gaps(group(SPOT))


def test_a_spot_price_with_vat_and_percentage_is_bounded_with_them() -> None:
    spot = Pricing(type=PricingType.SPOT, price_max=eur("1.00"), adds_vat=True, percentage=Decimal(110))
    assert cost(tariff_of(group(spot)), wh=1000, charging_min=1) == Decimal("1.397")


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        (group(None), "no master price"),
        (group(Pricing(type=PricingType.SPOT)), "has no bound"),
        (group(Pricing(type=PricingType.TARIFF, dynamic=True)), "has no bound"),
        (group(kwh(dynamic=True)), "has no bound"),
        (group(Pricing(type=PricingType.KWH)), "kWh is missing"),
        (group(kwh(), Pricing(type=PricingType.STARTING)), "has no price"),
        (group(kwh(), fee(PricingType.OTHER, "1")), "not known"),
        (group(fee(PricingType.OTHER, "1")), "not known"),
        (group(kwh(additions=(Addition(value=eur("10"), is_percentage=True),))), "in percent"),
        (
            group(kwh(), Pricing(type=PricingType.STARTING, price=Money(amount=Decimal(1), currency="DKK"))),
            "several currencies",
        ),
    ],
)
def test_what_has_no_bound_is_no_tariff_and_says_why(shown: PriceGroup, why: str) -> None:
    converted = to_tariff(shown)
    assert converted.tariff is None
    assert why in converted.gaps[-1]


def test_every_gap_is_said_aloud() -> None:
    idle = fee(PricingType.IDLE, "0.10", after_min=10, fee_max=eur("12"))
    said = gaps(group(kwh(), idle, tariffs=(kwh("0.60"),)))
    assert "first 10 minutes without charging" in said
    assert "idle fee ends at 12 EUR" in said
    assert "highest counts" in said
    assert "VAT" in said
    assert "VAT" in gaps(group(kwh()))


def test_several_prices_count_as_the_dearest_and_are_sure_of_the_cheapest_only() -> None:
    tariff = tariff_of(group(kwh("0.40"), tariffs=(kwh("0.60"),)))
    assert cost(tariff, wh=10_000, charging_min=60) == Decimal("6.00")
    assert lower_bound(tariff, reading(10_000, 60), UTC_ZONE) == Decimal("4.00")


cents = st.integers(0, 200).map(lambda n: str(Decimal(n) / 100))
minute_fees = st.builds(
    lambda amount, after, full: fee(PricingType.MINUTE, amount, after_min=after, ends_when_full=full),
    cents,
    st.integers(0, 90),
    st.booleans(),
)
idle_fees = st.builds(
    lambda amount, after, cap: fee(PricingType.IDLE, amount, after_min=after, fee_max=cap),
    cents,
    st.integers(0, 60),
    st.none() | cents.map(eur),
)
flat_fees = st.builds(
    lambda kind, amount, after: fee(kind, amount, after_min=after if kind is PricingType.CHARGING else 0),
    st.sampled_from([PricingType.STARTING, PricingType.CHARGING]),
    cents,
    st.integers(0, 90),
)
groups = st.builds(
    lambda master, fees: group(master, *fees),
    cents.map(kwh),
    st.lists(minute_fees | idle_fees | flat_fees, max_size=4),
)


def at_monta(shown: PriceGroup, wh: int, charging_min: int, parked_min: int) -> Decimal:
    """The price by Monta's documentation: fees on top of the kWh price, each after its own free minutes."""
    assert shown.master is not None
    assert shown.master.price is not None
    total = shown.master.price.amount * wh / 1000
    for each in shown.fees:
        assert each.price is not None
        amount = each.price.amount
        match each.type:
            case PricingType.STARTING:
                total += amount
            case PricingType.CHARGING:
                total += amount if charging_min > each.after_min else 0
            case PricingType.MINUTE:
                run = charging_min if each.ends_when_full else charging_min + parked_min
                total += amount * max(0, run - each.after_min)
            case _:
                idle = amount * max(0, parked_min - each.after_min)
                total += min(idle, each.fee_max.amount) if each.fee_max else idle
    return total


@given(groups, st.integers(1, 80_000), st.integers(1, 180), st.integers(0, 180))
def test_the_tariffs_bound_is_never_below_what_monta_charges(
    shown: PriceGroup, wh: int, charging_min: int, parked_min: int
) -> None:
    tariff = tariff_of(shown)
    end = START + timedelta(minutes=charging_min + parked_min)
    power_w = max(POWER_W, wh * 60 // charging_min + 1)
    most = upper_bound(tariff, reading(wh, charging_min + parked_min), end, power_w, UTC_ZONE)
    paid = at_monta(shown, wh, charging_min, parked_min)
    assert paid <= most
    assert paid <= cost(tariff, wh=wh, charging_min=charging_min, parked_min=parked_min)
