"""A delivery is read entry by entry; an entry never affects the others, whatever it holds."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.charging.charge import ChargeState
from app.domain.units.ids import ChargeId
from app.monta.objects import CHARGE_FIELDS, read_charge, read_charge_point
from app.monta.plain_readings import entry_texts
from app.monta.webhook import (
    KEPT_FIELDS,
    MAX_BYTES,
    MAX_ENTRIES,
    Entry,
    UnreadableDelivery,
    read_delivery,
    read_entry,
    split_entries,
)
from tests.monta.random_runs import patient

ARRIVED = datetime(2026, 11, 22, 10, 5, tzinfo=UTC)
EVENT_TIME = datetime(2026, 11, 22, 10, 4, 58, 123000, tzinfo=UTC)

GOOD = (
    '{"entityType": "charge", "entityId": "689100419745380035", "eventType": "updated",'
    ' "eventTime": "2026-11-22T10:04:58.123Z", "payload": {"id": 689100419745380035, "state": "charging",'
    ' "consumedKwh": 1.234, "updatedAt": "2026-11-22T10:04:57Z", "partnerExternalId": "ps_01jd"}}'
)
HOSTILE = {
    "deep": '{"entityType": "charge", "payload": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "a little too deep": '{"entityType": "charge", "payload": ' + "[" * 70 + "]" * 70 + "}",
    "not a number": '{"entityType": "charge", "entityId": "5", "payload": {"id": NaN}}',
    "too many digits": '{"entityType": "charge", "payload": {"id": ' + "9" * 5000 + "}}",
    "NUL and surrogate": '{"entityType": "ch\\u0000arge", "payload": {"\\ud800": "\\u0000"}}',
    "NUL in the id": '{"entityType": "charge", "entityId": "\\u0000", "payload": {"id": 5}}',
    "not an object": "17",
    "nothing": "null",
    "a list": "[[]]",
    "no type": '{"payload": {"id": 5}}',
    "a charge without payload": '{"entityType": "charge", "entityId": "5", "payload": null}',
    "a charge that is text": '{"entityType": "charge", "entityId": "5", "payload": "\\ud800"}',
    "two ids": '{"entityType": "charge", "entityId": "5", "payload": {"id": 6}}',
}


def body(*entries: str) -> bytes:
    return f'{{"entries": [{", ".join(entries)}], "pending": 3, "timestamp": 1795341900000}}'.encode()


def assert_storable(entry: Entry) -> None:
    """As jsonb wants it: standard JSON in valid UTF-8 without NUL."""
    text = json.dumps(entry.raw, allow_nan=False, ensure_ascii=False)
    assert "\\u0000" not in text.replace("\\\\", "")
    text.encode("utf-8")
    assert len(entry.dedupe_key) == 64


def test_a_delivery_is_read_whole() -> None:
    delivery = read_delivery(body(GOOD), ARRIVED)
    (entry,) = delivery.entries
    assert (entry.entity_type, entry.entity_id, entry.event_type) == (
        "charge",
        "689100419745380035",
        "updated",
    )
    assert entry.event_time == EVENT_TIME
    assert entry.problem is None
    assert entry.dropped_fields == ()
    assert entry.charge is not None
    assert entry.charge.id == ChargeId("689100419745380035")
    assert entry.charge.state is ChargeState.CHARGING
    assert entry.charge.energy_wh == 1234
    assert entry.charge.partner_external_id == "ps_01jd"
    assert entry.raw == json.loads(GOOD)


def test_a_report_is_as_old_as_its_event_however_late_it_arrives() -> None:
    charge = read_delivery(body(GOOD), ARRIVED).entries[0].charge
    assert charge is not None
    assert charge.seen_at == EVENT_TIME
    early = datetime(2026, 11, 22, 10, 4, tzinfo=UTC)
    ahead = read_delivery(body(GOOD), early).entries[0].charge
    assert ahead is not None
    assert ahead.seen_at == early


@pytest.mark.parametrize("name", HOSTILE)
def test_a_bad_entry_never_harms_the_others_f40_f45(name: str) -> None:
    alone = read_delivery(body(GOOD), ARRIVED).entries[0]
    first, bad, last = read_delivery(body(GOOD, HOSTILE[name], GOOD), ARRIVED).entries
    assert first == last == alone
    assert_storable(bad)
    assert bad.charge is None or name == "not a number"
    assert bad.problem is not None or name in {"NUL and surrogate", "not a number"}


def test_a_bad_entry_is_the_same_when_it_comes_again() -> None:
    once = [read_delivery(body(text), ARRIVED).entries[0].dedupe_key for text in HOSTILE.values()]
    again = [read_delivery(body(GOOD, text), ARRIVED).entries[1].dedupe_key for text in HOSTILE.values()]
    assert once == again
    assert len(set(once)) == len(HOSTILE)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"17",
        b'"entries"',
        b"{}",
        b'{"entries": {}}',
        b'{"entries": null}',
        b"\xff",
        GOOD.encode(),
    ],
)
def test_only_a_body_without_a_list_of_entries_is_refused_f42(bad: bytes) -> None:
    with pytest.raises(UnreadableDelivery):
        read_delivery(bad, ARRIVED)


@pytest.mark.parametrize(
    "bad",
    [
        "[" * 10**5,
        "[" * 10**5 + "]" * 10**5,
        '{"a":' * 10**5,
        '{"entries": ' + "[" * 10**5,
        '{"entries": [' + "[" * 10**5 + "}",
    ],
)
def test_brackets_without_a_list_of_entries_are_refused_f45(bad: str) -> None:
    with pytest.raises(UnreadableDelivery):
        read_delivery(bad.encode(), ARRIVED)


TWICE = [
    GOOD.replace('"consumedKwh":', '"consumedKwh": 5, "consumedKwh":', 1),
    GOOD.replace('"consumedKwh":', '"consumedK\\u0077h": 5, "consumedKwh":', 1),
    GOOD.replace('"consumedKwh":', '"consumedKwh"\\n:5, "consumedKwh":', 1).replace("\\n", "\n"),
    GOOD.replace('"entityType":', '"entityType":"site","entityType":', 1),
    GOOD.replace('"payload":', '"payload":{},"payload":', 1),
    '{"entityType": "user", "payload": {"deep": [{"a": 1, "b": ":", "a": 1}]}}',
]
"""Entries with a name twice in one object."""


@pytest.mark.parametrize("twice", TWICE)
def test_an_entry_with_a_name_twice_is_set_aside_and_the_others_are_read_f45(twice: str) -> None:
    """Two readers might take either value: none is believed. Monta never sends one; a repeat would change nothing."""
    assert twice != GOOD
    json.loads(twice)
    alone = read_delivery(body(GOOD), ARRIVED).entries[0]
    first, bad, last = read_delivery(body(GOOD, twice, GOOD), ARRIVED).entries
    assert first == last == alone
    assert (bad.charge, bad.problem) == (None, "an object has the same name twice")
    assert_storable(bad)


@pytest.mark.parametrize(
    "twice",
    [
        '{"entries": [], "entries": [%s]}',
        '{"entries":[%s],"\\u0065ntries":[]}',
        '{"entries" :[],"entries":[%s]}',
    ],
)
def test_a_delivery_with_two_lists_of_entries_is_refused_f45(twice: str) -> None:
    sent = (twice % GOOD).encode()
    assert entry_texts(sent) is None
    with pytest.raises(UnreadableDelivery):
        read_delivery(sent, ARRIVED)


def test_another_name_twice_beside_the_entries_spoils_none_of_them_f45() -> None:
    (entry,) = read_delivery(b'{"pending":1,"entries":[%s],"pending":2}' % GOOD.encode(), ARRIVED).entries
    assert entry.charge is not None


def test_bodies_and_batches_have_a_bound_f45() -> None:
    with pytest.raises(UnreadableDelivery):
        read_delivery(b" " * MAX_BYTES + body(GOOD), ARRIVED)
    with pytest.raises(UnreadableDelivery):
        read_delivery(body(*["1"] * (MAX_ENTRIES + 1)), ARRIVED)
    with pytest.raises(UnreadableDelivery):
        read_delivery(body(HOSTILE["deep"], *["1"] * MAX_ENTRIES), ARRIVED)


def test_unknown_types_are_kept_and_are_no_problem_f41() -> None:
    text = '{"entityType": "wallet-transaction", "entityId": "9", "payload": {"amount": 13.77}}'
    (entry,) = read_delivery(body(text), ARRIVED).entries
    assert (entry.problem, entry.charge, entry.event_time) == (None, None, None)
    assert entry.raw == {"entityType": "wallet-transaction", "entityId": "9"}, "nothing reads more of it"


@pytest.mark.parametrize("kind", ["charge", "Charge", "charge-point", "price-group", "user"])
def test_of_an_entry_only_fields_that_are_read_are_kept_and_it_reads_back_the_same(kind: str) -> None:
    person = {"fullName": "canary", "email": "canary@example.com", "user": {"displayName": "canary"}}
    charge = json.loads(GOOD)["payload"] | {"id": 5, "currency": {"identifier": "EUR", "decimals": 2}}
    point = {
        "maxKw": 22,
        "connectors": [{"identifier": "type2"}],
        "brandName": "b",
        "modelName": "m",
        "teamId": 3,
    }
    sent = {"entityType": kind, "entityId": "5", "eventType": "updated", "driver": "canary"}
    (entry,) = read_delivery(body(json.dumps(sent | {"payload": charge | point | person})), ARRIVED).entries
    assert entry.problem is None
    assert "canary" not in json.dumps(entry.raw)
    again = read_entry(json.loads(json.dumps(entry.raw)), ARRIVED)
    assert replace(again, dedupe_key="") == replace(entry, dedupe_key="")
    bad = read_delivery(body(json.dumps(sent | {"payload": "canary"})), ARRIVED).entries[0]
    assert "canary" not in json.dumps(bad.raw)
    assert read_entry(json.loads(json.dumps(bad.raw)), ARRIVED).problem == bad.problem


def test_every_field_of_a_charge_that_is_read_is_kept() -> None:
    class Noting(dict[str, Any]):
        def get(self, name: str, default: Any = None) -> Any:
            asked.add(name)
            return super().get(name, default)

        def __getitem__(self, name: str) -> Any:
            asked.add(name)
            return super().__getitem__(name)

    asked: set[str] = set()
    read_charge(Noting({"id": 5, "currency": "EUR"}), ARRIVED)
    assert asked == CHARGE_FIELDS
    asked = set()
    read_charge_point(Noting({"id": 5}), ARRIVED)
    assert asked == KEPT_FIELDS["charge-point"]


def test_a_deleted_charge_has_no_payload_and_is_no_problem() -> None:
    (entry,) = read_delivery(
        body('{"entityType": "charge", "entityId": "5", "eventType": "deleted", "payload": null}'), ARRIVED
    ).entries
    assert (entry.problem, entry.charge, entry.entity_id) == (None, None, "5")


def test_the_entry_names_the_charge_when_its_payload_does_not() -> None:
    (entry,) = read_delivery(
        body('{"entityType": "charge", "entityId": "5", "payload": {"state": "paused"}}'), ARRIVED
    ).entries
    assert entry.charge is not None
    assert entry.charge.id == ChargeId("5")


def test_fields_without_sense_are_named_and_do_not_park_the_charge_f48() -> None:
    (entry,) = read_delivery(
        body('{"entityType": "charge", "entityId": "5", "payload": {"consumedKwh": -1, "state": "paused"}}'),
        ARRIVED,
    ).entries
    assert (entry.problem, entry.dropped_fields) == (None, ("consumedKwh",))
    assert entry.charge is not None


def test_a_redelivery_has_the_same_key_and_any_change_another_f39() -> None:
    def key(text: str, arrived: datetime = ARRIVED) -> str:
        return read_delivery(body(text), arrived).entries[0].dedupe_key

    respaced = json.dumps(dict(reversed(json.loads(GOOD).items())), indent=2)
    assert key(GOOD) == key(respaced) == key(GOOD, datetime(2026, 11, 23, tzinfo=UTC))
    changed = [
        GOOD.replace("1.234", "1.235"),
        GOOD.replace("04:58.123", "04:59.123"),
        GOOD.replace('"updated"', '"created"'),
        GOOD.replace('"689100419745380035"', '"5"'),
        GOOD.replace('"charge"', '"site"'),
        GOOD.replace('"charging"', '"paused"'),
    ]
    assert len({key(text) for text in [GOOD, *changed]}) == len(changed) + 1


def test_a_stored_entry_reads_back_the_same() -> None:
    (entry,) = read_delivery(body(GOOD), ARRIVED).entries
    assert read_entry(json.loads(json.dumps(entry.raw)), ARRIVED) == entry


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=10,
)
ODD_ENTRIES = ANY_JSON | st.fixed_dictionaries(
    {},
    optional={
        "entityType": st.just("charge") | ANY_JSON,
        "entityId": st.just("5") | ANY_JSON,
        "eventType": st.just("deleted") | ANY_JSON,
        "eventTime": st.datetimes().map(str) | ANY_JSON,
        "payload": st.fixed_dictionaries(
            {"id": st.just(5) | ANY_JSON}, optional={"price": ANY_JSON, "currency": ANY_JSON}
        )
        | ANY_JSON,
    },
)


@patient
@given(st.lists(ODD_ENTRIES, max_size=4))
def test_any_entries_at_all_are_kept_apart_and_storable_f40_f45(odd: list[object]) -> None:
    texts = [json.dumps(value, ensure_ascii=True) for value in odd]
    entries = read_delivery(body(GOOD, *texts, GOOD), ARRIVED).entries
    assert len(entries) == len(odd) + 2
    assert entries[0] == entries[-1] == read_delivery(body(GOOD), ARRIVED).entries[0]
    for entry in entries:
        assert_storable(entry)


@patient
@given(st.lists(ANY_JSON, max_size=5), st.sampled_from([None, 1]))
def test_cutting_the_entries_out_gives_what_parsing_gives(values: list[object], indent: int | None) -> None:
    whole = {"before": '{"entries": [1]}', "nested": {"entries": [2]}, "entries": values, "after": [[1], 2]}
    texts = split_entries(json.dumps(whole, indent=indent))
    assert texts is not None
    assert [json.dumps(json.loads(text)) for text in texts] == [json.dumps(value) for value in values]


@patient
@given(st.text(st.sampled_from('[]{}",:\\ae1 ')))
def test_cutting_takes_any_text(text: str) -> None:
    """It does not raise, and what it cuts out stands in the text."""
    for whole in (text, '{"entries": [' + text):
        assert all(entry in whole for entry in split_entries(whole) or [])
