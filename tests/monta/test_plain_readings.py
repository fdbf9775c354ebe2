"""Tests of app/monta/plain_readings: what the short way reads is what the whole way reads, or it is left to that."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.charging.charge import ChargeState, PriceUnit
from app.domain.session.states.kept_readings import Told
from app.monta.plain_readings import entry_texts, plain_reading, plain_readings, plain_texts
from app.monta.webhook import read_delivery

ARRIVED = datetime(2026, 11, 22, 12, tzinfo=UTC)
CHARGE: dict[str, Any] = {
    "id": 689100419745380035,
    "state": "charging",
    "createdAt": "2026-11-22T10:00:00Z",
    "updatedAt": "2026-11-22T11:00:00.123Z",
    "startedAt": "2026-11-22T10:00:05Z",
    "cablePluggedInAt": None,
    "stoppedAt": None,
    "consumedKwh": 12.345,
    "price": 6.05,
    "averagePricePerKwh": 0.49,
    "priceLimit": 50,
    "kwhLimit": None,
    "chargePointId": 907,
    "partnerExternalId": "ps_01",
    "currency": {"identifier": "eur", "decimals": 2},
    "soc": {"percentage": 47.9, "source": "vehicle"},
}


def body(*entries: object) -> bytes:
    return json.dumps({"entries": entries, "pending": 0}).encode()


def split_delivery(sent: bytes, unit: PriceUnit) -> tuple[list[Told], list[bytes]] | None:
    """The plain readings of a delivery, and the texts of its other entries."""
    texts = entry_texts(sent)
    if texts is None:
        return None
    found = [(bytes(text), plain_reading(bytes(text), unit)) for text in texts]
    return [told for _, told in found if told is not None], [text for text, told in found if told is None]


def entry(charge: object, **more: object) -> dict[str, object]:
    plain = {"entityType": "charge", "entityId": str(CHARGE["id"]), "eventType": "updated", "payload": charge}
    return plain | {"eventTime": "2026-11-22T11:00:01Z"} | more


@pytest.mark.parametrize("unit", PriceUnit)
def test_a_usual_entry_is_read_as_the_whole_way_reads_it(unit: PriceUnit) -> None:
    sent = body(entry(CHARGE))
    found = plain_readings(sent, unit)
    assert found is not None
    assert split_delivery(sent, unit) == (found, [])
    (whole,) = read_delivery(sent, ARRIVED, price_unit=unit).entries
    report, (told,) = whole.charge, found
    assert report is not None
    assert told.said == report.said
    assert (told.charge_id, told.updated_at, told.energy_wh) == (
        report.id,
        report.updated_at,
        report.energy_wh,
    )
    assert (told.price, told.price_per_kwh) == (report.price, report.price_per_kwh)
    assert told.soc_percent == report.soc_percent == 47
    assert told.reference == report.partner_external_id
    assert told.happened_at == whole.event_time
    assert [json.loads(text) for text in plain_texts(sent)] == [entry(CHARGE)]


MAY_LACK = [name for name in CHARGE if name not in ("id", "state", "updatedAt", "consumedKwh")]


@pytest.mark.parametrize("lacks", [[name] for name in [*MAY_LACK, "eventTime"]] + [[*MAY_LACK, "eventTime"]])
def test_an_entry_may_leave_out_what_does_not_decide(lacks: list[str]) -> None:
    charge = {name: value for name, value in CHARGE.items() if name not in lacks}
    less = {name: value for name, value in entry(charge).items() if name not in lacks}
    sent = body(entry(CHARGE), less)
    found = plain_readings(sent, PriceUnit.MAJOR)
    assert found is not None
    assert split_delivery(sent, PriceUnit.MAJOR) == (found, [])
    report, told = read_delivery(sent, ARRIVED).entries[1].charge, found[1]
    assert report is not None
    assert (told.said, told.reference) == (report.said, report.partner_external_id)
    assert (told.price, told.price_per_kwh, told.soc_percent) == (
        report.price,
        report.price_per_kwh,
        report.soc_percent,
    )
    assert (told.happened_at or told.updated_at) == report.seen_at


@pytest.mark.parametrize("indent", [None, 2])
def test_values_that_decide_nothing_may_hold_any_text(indent: int | None) -> None:
    odd = CHARGE | {"note": 'Müller "x"\n', "user": {"displayName": "\u20ac\U0001f697\t/"}}
    for ascii_only in (False, True):
        sent = json.dumps({"entries": [entry(odd)] * 2}, ensure_ascii=ascii_only, indent=indent).encode()
        found = plain_readings(sent, PriceUnit.MAJOR)
        assert found is not None
        assert found == plain_readings(body(entry(CHARGE), entry(CHARGE)), PriceUnit.MAJOR)
        assert split_delivery(sent, PriceUnit.MAJOR) == (found, [])


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(entry(CHARGE | {"state": "completed"}), id="another state"),
        pytest.param(entry(CHARGE | {"state": "CHARGING"}), id="another spelling"),
        pytest.param(entry(CHARGE | {"stoppedAt": "2026-11-22T11:00:00Z"}), id="a date of its end"),
        pytest.param(entry(CHARGE | {"stopReason": "why"}), id="a reason to stop"),
        pytest.param(entry(CHARGE | {"updatedAt": None}), id="no time"),
        pytest.param(entry(CHARGE | {"updatedAt": "2026-11-22T11:00:00"}), id="a time without an offset"),
        pytest.param(entry(CHARGE | {"consumedKwh": None}), id="no energy"),
        pytest.param(entry(CHARGE | {"consumedKwh": -1}), id="less than no energy"),
        pytest.param(entry(CHARGE | {"consumedKwh": "NaN"}), id="no number"),
        pytest.param(entry(CHARGE | {"consumedKwh": "9" * 5000}), id="no measurement"),
        pytest.param(entry(CHARGE | {"price": -1}), id="a negative price"),
        pytest.param(entry(CHARGE | {"soc": {"percentage": 101}}), id="too full a battery"),
        pytest.param(entry(CHARGE | {"id": "x"}), id="no id"),
        pytest.param(entry(CHARGE | {"id": 2**63}), id="too large an id"),
        pytest.param(entry(CHARGE, entityId="7"), id="two ids"),
        pytest.param(entry(CHARGE, eventType="deleted"), id="a deletion"),
        pytest.param(entry(CHARGE, entityType="charge-point"), id="another entity"),
        pytest.param(entry(None), id="no charge"),
        pytest.param(17, id="no entry"),
    ],
)
def test_all_else_is_left_as_it_was_sent(other: object) -> None:
    found = split_delivery(body(entry(CHARGE), other, entry(CHARGE)), PriceUnit.MAJOR)
    assert found is not None
    readings, (text,) = found
    assert len(readings) == 2
    assert json.loads(text) == other


@pytest.mark.parametrize(
    "bad", [b"", b"{", b"[]", b"null", b"{}", b'{"entries": {}}', b"\xff", b'{"entries": [}']
)
def test_what_is_no_delivery_is_left_as_a_whole(bad: bytes) -> None:
    assert split_delivery(bad, PriceUnit.MAJOR) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"chargePointId": 908},
        {"priceLimit": 51},
        {"kwhLimit": 5},
        {"createdAt": "2026-11-22T10:00:01Z"},
        {"startedAt": None},
        {"cablePluggedInAt": "2026-11-22T10:00:05Z"},
        {"currency": {"identifier": "SEK"}},
    ],
)
def test_what_does_not_change_in_the_course_of_a_charge_is_told_apart(changed: dict[str, object]) -> None:
    found = split_delivery(body(entry(CHARGE), entry(CHARGE | changed)), PriceUnit.MAJOR)
    assert found is not None
    one, other = found[0]
    assert one.said != other.said


@given(
    st.dictionaries(
        st.sampled_from([*CHARGE, "failedAt", "completedAt"]),
        st.none()
        | st.integers()
        | st.text(max_size=5)
        | st.floats()
        | st.booleans()
        | st.lists(st.none(), max_size=1),
        max_size=4,
    )
)
def test_whatever_an_entry_holds_the_two_ways_never_disagree(changed: dict[str, object]) -> None:
    sent = body(entry(CHARGE | changed))
    found = split_delivery(sent, PriceUnit.MAJOR)
    if found is None or not found[0]:
        return
    (whole,) = read_delivery(sent, ARRIVED).entries
    assert whole.charge is not None
    told, report = found[0][0], whole.charge
    assert whole.problem is None
    if whole.dropped_fields:
        assert told.said != report.said, "it is applied the whole way"
        return
    assert (told.updated_at, told.energy_wh, told.price) == (
        report.updated_at,
        report.energy_wh,
        report.price,
    )
    assert (told.said, report.state) == (report.said, ChargeState.CHARGING)


def test_a_name_twice_is_not_made_up_for_by_an_entry_without_it_f45() -> None:
    less = json.dumps(entry({name: value for name, value in CHARGE.items() if name != "price"}))
    twice = json.dumps(entry(CHARGE)).replace('"price": ', '"price": 1, "price": ', 1)
    sent = b'{"entries": [%s, %s]}' % (less.encode(), twice.encode())
    assert plain_readings(sent, PriceUnit.MAJOR) is None
    found = split_delivery(sent, PriceUnit.MAJOR)
    assert found is not None
    assert ([told.price for told in found[0]], found[1]) == ([None], [twice.encode()])


@pytest.mark.parametrize("first", [b"", json.dumps(entry(CHARGE)).encode()])
def test_a_list_of_entries_twice_is_never_read_the_short_way_f45(first: bytes) -> None:
    sent = b'{"entries": [%s], "entries": [%s]}' % (first, json.dumps(entry(CHARGE)).encode())
    assert plain_readings(sent, PriceUnit.MAJOR) is None
    assert split_delivery(sent, PriceUnit.MAJOR) is None


def test_a_kind_twice_is_not_made_up_for_by_a_missing_time_f45() -> None:
    timeless = {name: value for name, value in entry(CHARGE).items() if name != "eventTime"}
    twice = json.dumps(timeless).replace('"eventType": ', '"eventType": "deleted", "eventType": ', 1)
    sent = b'{"entries": [%s]}' % twice.encode()
    assert plain_readings(sent, PriceUnit.MAJOR) is None
    assert split_delivery(sent, PriceUnit.MAJOR) == ([], [twice.encode()])


DECIDING = (
    *("payload", "state", "updatedAt", "consumedKwh", "price", "averagePricePerKwh"),
    *("eventType", "eventTime"),
)


@pytest.mark.parametrize("name", DECIDING)
def test_an_entry_with_a_deciding_name_twice_is_never_read_the_short_way_f45(name: str) -> None:
    usual = json.dumps(entry(CHARGE))
    assert f'"{name}": ' in usual
    for spelling in (name, f"\\u{ord(name[0]):04x}{name[1:]}"):
        for value in ("null", "1", '"charging"'):
            twice = usual.replace(f'"{name}": ', f'"{spelling}": {value}, "{name}": ', 1)
            found = split_delivery(b'{"entries": [%s]}' % twice.encode(), PriceUnit.MAJOR)
            assert found is None or found[0] == []
            assert plain_readings(b'{"entries": [%s]}' % twice.encode(), PriceUnit.MAJOR) is None
            (whole,) = read_delivery(b'{"entries": [%s]}' % twice.encode(), ARRIVED).entries
            assert whole.problem == "an object has the same name twice"
