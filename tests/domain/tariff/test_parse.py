"""Parsing a tariff: what is kept, and that wrong input names its fields and never raises anything else."""

from datetime import UTC, date, datetime, time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.tariff import Dimension, InvalidTariff, TaxIncluded, parse_tariff

Json = dict[str, object]


def tariff(component: Json | None = None, restrictions: object = None, **more: object) -> Json:
    whole = {"type": "ENERGY", "price": Decimal("0.25"), "step_size": 1} | (component or {})
    element: Json = {"price_components": [whole]}
    if restrictions is not None:
        element["restrictions"] = restrictions
    return {"id": "16", "currency": "EUR", "elements": [element], **more}


def problems(obj: object) -> dict[str, str]:
    with pytest.raises(InvalidTariff) as caught:
        parse_tariff(obj)
    return {each.field: each.message for each in caught.value.problems}


def test_a_whole_tariff_is_read_field_by_field() -> None:
    source = tariff(
        {"vat": Decimal(10), "step_size": 100},
        {
            "start_time": "22:00",
            "end_time": "06:30",
            "start_date": "2026-01-01",
            "end_date": "2027-01-01",
            "min_kwh": 1,
            "max_kwh": 50,
            "min_current": 6,
            "max_current": 96,
            "min_power": Decimal("3.7"),
            "max_power": 22,
            "min_duration": 60,
            "max_duration": 7200,
            "day_of_week": ["MONDAY", "SUNDAY"],
        },
        country_code="DE",
        party_id="ALL",
        type="AD_HOC_PAYMENT",
        tax_included="YES",
        tariff_alt_text=[{"language": "en", "text": "25 cents a kWh"}],
        start_date_time="2026-01-01T00:00:00Z",
        end_date_time="2026-12-31T23:59:59",
        min_price={"before_taxes": 1, "after_taxes": Decimal("1.10")},
        max_price={"excl_vat": 50, "incl_vat": 55},
        last_updated="2026-01-01T00:00:00Z",
    )
    read = parse_tariff(source)
    component = read.elements[0].components[0]
    limits = read.elements[0].restrictions
    assert (component.dimension, component.price, component.vat, component.step_size) == (
        Dimension.ENERGY,
        Decimal("0.25"),
        Decimal(10),
        100,
    )
    assert (limits.start_time, limits.end_time) == (time(22), time(6, 30))
    assert (limits.start_date, limits.end_date) == (date(2026, 1, 1), date(2027, 1, 1))
    assert [limits.min_kwh, limits.max_kwh] == [1, 50]
    assert [limits.min_current_a, limits.max_current_a] == [6, 96]
    assert [limits.min_power_kw, limits.max_power_kw] == [Decimal("3.7"), 22]
    assert [limits.min_duration_s, limits.max_duration_s] == [60, 7200]
    assert limits.weekdays == {0, 6}
    assert read.tax_included is TaxIncluded.YES
    assert (read.country_code, read.party_id, read.id, read.type) == ("DE", "ALL", "16", "AD_HOC_PAYMENT")
    assert read.start_date_time == datetime(2026, 1, 1, tzinfo=UTC)
    assert read.end_date_time == datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert read.min_price is not None
    assert [read.min_price.before_tax, read.min_price.total] == [1, Decimal("1.10")]
    assert read.max_price is not None
    assert [read.max_price.before_tax, read.max_price.total] == [50, 55]
    assert read.source is source


def test_a_limit_may_list_its_taxes() -> None:
    listed = {
        "before_taxes": 10,
        "taxes": [{"name": "GST", "amount": Decimal("0.5")}, {"name": "QST", "amount": 1}],
    }
    read = parse_tariff(tariff(max_price=listed))
    assert read.max_price is not None
    assert read.max_price.total == Decimal("11.5")


def test_without_tax_included_prices_are_before_tax_as_in_2_2_1() -> None:
    assert parse_tariff(tariff()).tax_included is TaxIncluded.NO


def test_two_readings_of_one_object_are_equal() -> None:
    assert parse_tariff(tariff()) == parse_tariff(tariff())
    assert hash(parse_tariff(tariff())) == hash(parse_tariff(tariff()))
    assert parse_tariff(tariff()) != parse_tariff(tariff({"price": 1}))


def test_tariffs_of_the_same_name_are_distinguished_without_comparing_them_all() -> None:
    """Terminals may send every tariff under one name: a search must not go through all that were seen."""
    hashes = {hash(parse_tariff(tariff({"price": Decimal(cents) / 100}))) for cents in range(100)}
    assert len(hashes) > 90


@pytest.mark.parametrize("price", [Decimal("0.25"), "0.25", 0.25])
def test_numbers_may_come_in_any_form_and_stay_exact(price: object) -> None:
    assert parse_tariff(tariff({"price": price})).elements[0].components[0].price == Decimal("0.25")


@pytest.mark.parametrize(
    "price",
    [
        True,
        "NaN",
        "Infinity",
        float("nan"),
        float("inf"),
        Decimal("NaN"),
        Decimal("1E+400"),
        "1_0",
        "",
        [],
        {},
        "٣",
    ],
)
def test_what_is_no_number_is_a_problem_of_its_field(price: object) -> None:
    found = problems(tariff({"price": price}))
    assert found == {"elements[0].price_components[0].price": "must be a number with at most 20 decimals"}


@pytest.mark.parametrize(
    ("obj", "field"),
    [
        (tariff({"price": -1}), "elements[0].price_components[0].price"),
        (tariff({"price": 10**5000}), "elements[0].price_components[0].price"),
        (tariff({"price": None}), "elements[0].price_components[0].price"),
        (tariff({"type": "SPOT"}), "elements[0].price_components[0].type"),
        (tariff({"type": None}), "elements[0].price_components[0].type"),
        (tariff({"vat": "x"}), "elements[0].price_components[0].vat"),
        (tariff({"vat": 5000}), "elements[0].price_components[0].vat"),
        (tariff({"step_size": Decimal("1.5")}), "elements[0].price_components[0].step_size"),
        (tariff(restrictions=[]), "elements[0].restrictions"),
        (tariff(restrictions={"start_time": "24:00"}), "elements[0].restrictions.start_time"),
        (tariff(restrictions={"end_time": "7:00"}), "elements[0].restrictions.end_time"),
        (tariff(restrictions={"start_date": "2026-02-30"}), "elements[0].restrictions.start_date"),
        (tariff(restrictions={"day_of_week": "MONDAY"}), "elements[0].restrictions.day_of_week"),
        (tariff(restrictions={"day_of_week": ["MON"]}), "elements[0].restrictions.day_of_week"),
        (tariff(restrictions={"min_kwh": "0.0000000001"}), "elements[0].restrictions.min_kwh"),
        (tariff(restrictions={"reservation": "YES"}), "elements[0].restrictions.reservation"),
        (tariff(currency="EURO"), "currency"),
        (tariff(currency="XAU"), "currency"),
        (tariff(currency=None), "currency"),
        (tariff(elements=[]), "elements"),
        (tariff(elements=None), "elements"),
        (tariff(elements={}), "elements"),
        (tariff(elements=[1]), "elements[0]"),
        (tariff(elements=[{}]), "elements[0].price_components"),
        (tariff(elements=[{"price_components": [{}] * 21}]), "elements[0].price_components"),
        (tariff(tax_included="MAYBE"), "tax_included"),
        (tariff(min_price=5), "min_price"),
        (tariff(min_price={}), "min_price"),
        (tariff(max_price={"before_taxes": "much"}), "max_price.before_taxes"),
        (tariff(min_price={"excl_vat": 9}, max_price={"excl_vat": 8}), "min_price"),
        (tariff(start_date_time="yesterday"), "start_date_time"),
        (tariff(end_date_time=0), "end_date_time"),
        (tariff(id="x" * 37), "id"),
        (tariff(id=""), "id"),
        ([], "tariff"),
        (None, "tariff"),
        ("tariff", "tariff"),
    ],
)
def test_each_wrong_field_is_named(obj: object, field: str) -> None:
    assert list(problems(obj)) == [field]


def test_one_dimension_twice_in_an_element_is_a_problem() -> None:
    twice = {"type": "ENERGY", "price": 1}
    assert list(problems(tariff(elements=[{"price_components": [twice, twice]}]))) == [
        "elements[0].price_components"
    ]


def test_all_problems_are_named_at_once() -> None:
    found = problems(
        {
            "currency": "??",
            "elements": [{"price_components": [{"type": "ENERGY", "price": "x"}, {"type": "?", "price": 1}]}],
        }
    )
    assert set(found) == {
        "currency",
        "elements[0].price_components[0].price",
        "elements[0].price_components[1].type",
    }


def test_a_problem_never_repeats_what_was_sent() -> None:
    secret = "4111111111111111"
    for message in problems(
        tariff({"type": secret, "price": secret + "x", "vat": [secret]}, currency=secret)
    ).values():
        assert secret not in message


NAMES = (
    "id currency elements price_components type price vat step_size restrictions min_kwh start_time end_date"
    " day_of_week min_price before_taxes taxes tax_included"
)
names = st.sampled_from(NAMES.split())
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.text() | st.just("ENERGY"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.text(), inner, max_size=5),
    max_leaves=12,
)


def outcome(obj: object) -> str:
    """The parser's result for an object: a tariff, or problems; nothing else."""
    try:
        parse_tariff(obj)
    except InvalidTariff as invalid:
        return "problems" if invalid.problems else "nothing said"
    return "tariff"


@given(junk | st.dictionaries(names, junk))
def test_no_input_breaks_the_reader(obj: object) -> None:
    assert outcome(obj) in {"tariff", "problems"}


@given(names, junk)
def test_no_field_breaks_the_reader_either(name: str, value: object) -> None:
    for obj in (tariff() | {name: value}, tariff({name: value}), tariff(restrictions={name: value})):
        assert outcome(obj) in {"tariff", "problems"}
