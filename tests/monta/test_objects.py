"""Monta's objects are read leniently and without a float; the start of a charge is written exactly."""

import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.charging.charge import ChargeReport, ChargeState, PriceUnit
from app.domain.charging.charge_point import ChargePoint, ChargePointState, CurrentType
from app.domain.units.ids import ChargeId, ChargePointId
from app.monta.fields import date_of, id_of
from app.monta.objects import StartCharge, UnreadableCharge, read_charge, read_charge_point, unwrapped
from app.strict_json import JsonIn, dump_json, load_json, storable
from tests.monta.random_runs import patient

SEEN = datetime(2026, 11, 22, 10, 5, tzinfo=UTC)

CHARGE = """{
  "id": 689100419745380035, "humanReadableId": "0K41-D5S2", "state": "charging", "rawState": "new field",
  "chargePointId": "101", "createdAt": "2026-11-22T10:00:00Z", "updatedAt": "2026-11-22T10:04:59.059724728Z",
  "startedAt": "2026-11-22T10:00:01.5Z", "stoppedAt": null, "consumedKwh": 12.3456, "kwhLimit": 20.5,
  "price": 7.41, "priceLimit": 50.0, "cost": 40.2, "currency": {"identifier": "dkk", "decimals": 2},
  "partnerExternalId": "ps_01jd", "failureReason": null, "kwhPerHour": [{"time": "x", "value": 1}]
}"""


def load(text: str) -> JsonIn:
    return load_json(text, max_bytes=10**6)


def charge_with(**changes: JsonIn) -> JsonIn:
    whole = load(CHARGE)
    assert isinstance(whole, dict)
    return {**whole, **changes}


def report_of(value: JsonIn, unit: PriceUnit = PriceUnit.MAJOR) -> ChargeReport:
    return read_charge(value, SEEN, price_unit=unit).report


def test_a_charge_is_read_whole() -> None:
    read = read_charge(load(CHARGE), SEEN)
    assert read.problems == ()
    assert read.report == ChargeReport(
        id=ChargeId("689100419745380035"),
        state=ChargeState.CHARGING,
        seen_at=SEEN,
        updated_at=datetime(2026, 11, 22, 10, 4, 59, 59724, tzinfo=UTC),
        created_at=datetime(2026, 11, 22, 10, 0, tzinfo=UTC),
        charge_point_id=ChargePointId("101"),
        partner_external_id="ps_01jd",
        energy_wh=12346,
        price=Decimal("7.41"),
        price_limit=Decimal("50.0"),
        kwh_limit=Decimal("20.5"),
        currency="DKK",
        started_at=datetime(2026, 11, 22, 10, 0, 1, 500000, tzinfo=UTC),
        said=read.report.said,
    )
    assert read.report.said == report_of(charge_with(consumedKwh=20, price=9, state="paused")).said
    assert read.report.said != report_of(charge_with(kwhLimit=21)).said


def test_nearly_nothing_is_required() -> None:
    read = read_charge({"id": "7", "state": "reserved"}, SEEN)
    assert read.problems == ()
    assert read.report == ChargeReport(
        id=ChargeId("7"),
        state=ChargeState.RESERVED,
        seen_at=SEEN,
        updated_at=None,
        said=read.report.said,
    )


@pytest.mark.parametrize(
    "value", [None, [], "charge", 7, {}, {"id": None}, {"id": "x1"}, {"id": -1}, {"id": True}]
)
def test_what_is_no_charge_is_said_to_be_none(value: JsonIn) -> None:
    with pytest.raises(UnreadableCharge):
        read_charge(value, SEEN)


def test_both_answer_shapes_are_taken() -> None:
    bare = load(CHARGE)
    assert unwrapped({"charge": bare}, "charge") == bare
    assert unwrapped(bare, "charge") == bare
    assert unwrapped([1], "charge") == [1]


@pytest.mark.parametrize(
    ("kwh", "wh"),
    [
        ("0", 0),
        ("0.0004", 0),
        ("0.0005", 1),
        ("2.0005", 2001),
        ("43.789", 43789),
        ("2.6750", 2675),
        ('"1.5"', 1500),
    ],
)
def test_energy_is_exact_and_half_a_watt_hour_goes_up(kwh: str, wh: int) -> None:
    assert report_of(load(f'{{"id": 1, "consumedKwh": {kwh}}}')).energy_wh == wh


@patient
@given(st.integers(0, 10**8))
def test_whole_watt_hours_survive_any_way_through_json_and_storage(wh: int) -> None:
    value = load(f'{{"id": 1, "consumedKwh": {Decimal(wh).scaleb(-3):f}}}')
    assert report_of(value).energy_wh == wh
    assert report_of(load(json.dumps(storable(value)))).energy_wh == wh


@pytest.mark.parametrize(
    ("field", "spelling"),
    [
        ("consumedKwh", "-1"),
        ("consumedKwh", "NaN"),
        ("consumedKwh", "1e9"),
        ("consumedKwh", '"a lot"'),
        ("consumedKwh", "true"),
        ("price", "-1000000001"),
        ("price", "Infinity"),
        ("price", "1" * 5000),
        ("kwhLimit", "[]"),
        ("updatedAt", '"2026-11-22T10:00:00"'),
        ("updatedAt", '"2026-11-24T10:00:00Z"'),
        ("updatedAt", "1763805600000"),
        ("createdAt", '"yesterday"'),
        ("chargePointId", "1.5"),
        ("partnerExternalId", "12"),
        ("failureReason", "{}"),
    ],
)
def test_a_field_without_sense_is_left_out_and_named_and_harms_no_other_f48(
    field: str, spelling: str
) -> None:
    read = read_charge(charge_with(**{field: load(spelling)}), SEEN)
    assert read.problems == (field,)
    whole = report_of(load(CHARGE))
    differing = [
        each.name
        for each in fields(ChargeReport)
        if each.name != "said" and getattr(read.report, each.name) != getattr(whole, each.name)
    ]
    assert len(differing) <= 1
    assert all(getattr(read.report, name) is None for name in differing)


@pytest.mark.parametrize(
    ("name", "state"), [("Completed", ChargeState.COMPLETED), ("suspended_ev", ChargeState.OTHER)]
)
def test_states_are_known_in_any_case_and_unknown_ones_are_other_f87(name: str, state: ChargeState) -> None:
    assert report_of(charge_with(state=name)).state is state


@pytest.mark.parametrize(
    ("currency", "code"),
    [({"identifier": "eur"}, "EUR"), ("Eur", "EUR"), ({"identifier": "euro"}, None), (5, None), (None, None)],
)
def test_currencies_are_normalised(currency: JsonIn, code: str | None) -> None:
    assert report_of(charge_with(currency=currency)).currency == code


@pytest.mark.parametrize(
    ("decimals", "price"), [(2, "7.41"), (0, "741"), (3, "0.741"), (None, "7.41"), ("x", "7.41")]
)
def test_a_price_in_minor_units_is_shifted_by_the_currency_s_decimals(decimals: JsonIn, price: str) -> None:
    value = charge_with(price=741, currency={"identifier": "eur", "decimals": decimals})
    report = report_of(value, PriceUnit.MINOR)
    assert report.price == Decimal(price)
    assert report.price_limit == Decimal("50.0")


def test_text_that_postgresql_refuses_is_cleaned_f45() -> None:
    value = load('{"id": 1, "failureReason": "a\\u0000b\\ud800"}')
    assert report_of(value).failure_reason == "a\ufffdb\ufffd"


@pytest.mark.parametrize(
    ("value", "digits"),
    [
        (101, "101"),
        ("101", "101"),
        ("007", "7"),
        (2**63 - 1, str(2**63 - 1)),
        (Decimal("6.89100419745380035E17"), "689100419745380035"),
    ],
)
def test_ids_come_as_numbers_or_strings_and_leave_as_digits_f96(value: JsonIn, digits: str) -> None:
    assert id_of(value) == digits


@pytest.mark.parametrize(
    "value",
    [0, -5, 2**63, "9" * 20, "٣", "1/../2", "", 1.5, Decimal("1.5"), Decimal("1E99"), True, None, [1]],
)
def test_what_is_no_id_never_becomes_one_f96(value: JsonIn) -> None:
    assert id_of(value) is None


@pytest.mark.parametrize("digits", range(10))
def test_dates_have_zero_to_nine_fraction_digits(digits: int) -> None:
    fraction = "." + "123456789"[:digits] if digits else ""
    microseconds = int("123456789"[:digits].ljust(6, "0")[:6])
    assert date_of(f"2026-11-22T11:00:00{fraction}+01:00") == datetime(
        2026, 11, 22, 10, 0, 0, microseconds, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-22T10:00:00",
        "2026-11-22",
        "2026-W47-7T10:00:00Z",
        "2026-02-30T10:00:00Z",
        "0001-01-01T00:00:00+05:00",
        "",
        5,
        None,
    ],
)
def test_a_date_without_offset_or_sense_is_no_date_f52(value: JsonIn) -> None:
    assert date_of(value) is None


@patient
@example({"price": -1})
@given(
    st.dictionaries(
        st.sampled_from(sorted(json.loads(CHARGE))),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text() | st.decimals() | st.floats(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=5,
        ),
    )
)
def test_no_charge_however_strange_does_worse_than_lose_its_strange_fields(
    changes: dict[str, JsonIn],
) -> None:
    value = charge_with(**changes)
    assert isinstance(value, dict)
    if id_of(value["id"]) is None:
        with pytest.raises(UnreadableCharge):
            read_charge(value, SEEN)
        return
    report = report_of(value)
    assert report.energy_wh is None or 0 <= report.energy_wh <= 10**8
    assert report.price is None or abs(report.price) <= 10**9
    assert report.updated_at is None or report.updated_at <= SEEN + timedelta(days=1)


def test_a_charge_point_is_read_whole() -> None:
    value = load(
        """{"id": 101, "teamId": 14, "state": "busy-non-charging", "type": "dc", "maxKw": 149.5, "name": "A1",
        "cablePluggedIn": true, "isActive": true, "priceGroupId": 77, "evseId": "DK*TAP*E1", "siteId": 9,
        "location": {"addressLabel": "1 Test Street, 1000 Boxville", "address": {"city": "elsewhere"}},
        "connectors": [{"id": 1, "identifier": "ccs", "name": "CCS"}, {"name": "Type 2"}, 5],
        "updatedAt": "2026-11-22T10:00:00Z"}"""
    )
    assert read_charge_point(value, SEEN) == ChargePoint(
        id=ChargePointId("101"),
        state=ChargePointState.BUSY_NON_CHARGING,
        seen_at=SEEN,
        updated_at=datetime(2026, 11, 22, 10, 0, tzinfo=UTC),
        name="A1",
        type=CurrentType.DC,
        max_power_w=149500,
        connectors=("ccs", "Type 2"),
        cable_plugged_in=True,
        price_group_id="77",
        team_id="14",
        evse_id="DK*TAP*E1",
        site_id="9",
        address="1 Test Street, 1000 Boxville",
    )


@pytest.mark.parametrize(
    ("location", "address"),
    [
        ('{"address": {"address1": "1 Test Street", "zip": "1000", "city": "Boxville", "country": 5}}', True),
        (
            '{"addressLabel": ["?"], "address": {"address1": "1 Test Street", "zip": "1000", "city": "Boxville"}}',
            True,
        ),
        ('{"coordinates": {"latitude": 55.6}}', False),
        ('"1 Test Street"', False),
        ("null", False),
    ],
)
def test_an_address_is_put_together_from_what_can_be_read(location: str, address: bool) -> None:
    shown = read_charge_point(load(f'{{"id": 101, "location": {location}}}'), SEEN)
    assert shown is not None
    assert shown.address == ("1 Test Street, 1000, Boxville" if address else None)


def test_a_charge_point_may_say_next_to_nothing_but_its_id() -> None:
    bare = read_charge_point({"id": "5", "state": "exempt", "maxKw": -1, "type": None}, SEEN)
    assert bare == ChargePoint(
        id=ChargePointId("5"), state=ChargePointState.OTHER, seen_at=SEEN, updated_at=None
    )
    assert read_charge_point({"name": "without an id"}, SEEN) is None
    assert read_charge_point([], SEEN) is None


def start(**changes: object) -> StartCharge:
    fields: dict[str, object] = {
        "paying_team_id": "14",
        "charge_point_id": ChargePointId("689100419745380035"),
        "partner_external_id": "ps_01jd",
        "provider": "acme-pay",
        "external_id": "K7QM-4TXP",
        **changes,
    }
    return StartCharge(**fields)  # type: ignore[arg-type]


def test_the_start_goes_out_as_documented_with_exact_numbers() -> None:
    wanted = start(
        card_brand="visa", card_last4="4242", kwh_limit=Decimal("12.35"), price_limit=Decimal("50.10")
    )
    assert wanted.mistakes() == ()
    assert dump_json(wanted.body()) == (
        '{"payingTeamId":14,"chargePointId":689100419745380035,"kwhLimit":12.35,"priceLimit":50.10,'
        '"partnerExternalId":"ps_01jd","genericPaymentSession":{"provider":"acme-pay","externalId":"K7QM-4TXP",'
        '"partnerExternalId":"ps_01jd","cardBrand":"visa","cardLast4":"4242"}}'
    )


def test_what_is_not_known_is_left_out_of_the_start() -> None:
    body = start().body()
    assert set(body) == {"payingTeamId", "chargePointId", "partnerExternalId", "genericPaymentSession"}
    assert body["genericPaymentSession"] == {
        "provider": "acme-pay",
        "externalId": "K7QM-4TXP",
        "partnerExternalId": "ps_01jd",
    }


@pytest.mark.parametrize("digits", ["4242424242424242", "424", "٤٢٤٢", ""])
def test_nothing_but_four_digits_of_a_card_goes_out_and_a_driver_is_not_refused_over_it_f16(
    digits: str,
) -> None:
    wanted = start(card_last4=digits, card_brand="Visa\n")
    assert wanted.mistakes() == ()
    assert wanted.body() == start().body()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("paying_team_id", ""),
        ("paying_team_id", "14; drop"),
        ("charge_point_id", "0"),
        ("partner_external_id", ""),
        ("partner_external_id", "x" * 65),
        ("provider", "æ"),
        ("external_id", "a\nb"),
        ("kwh_limit", Decimal("0.999")),
        ("kwh_limit", Decimal("500.001")),
        ("kwh_limit", Decimal("NaN")),
        ("price_limit", Decimal("0.99")),
        ("price_limit", Decimal("Infinity")),
    ],
)
def test_what_monta_would_refuse_is_named_f9_f96(field: str, value: object) -> None:
    assert start(**{field: value}).mistakes() == (field,)


@pytest.mark.parametrize("spelled", ["4111.1111.1111.1111", "4111 1111 1111 1111", "ref-4111111111111111"])
def test_F103_no_card_number_leaves_us_in_any_spelling(spelled: str) -> None:
    for field in ("external_id", "partner_external_id", "provider"):
        assert start(**{field: spelled}).mistakes() == (field,)
    assert "411" not in str(start(card_brand=spelled).body())
    assert start(external_id="T42-20261122-000007").mistakes() == ()
