"""Tests of app/store/parsed_tariffs: stored tariffs are parsed once, exactly, and within bounds."""

import json
from decimal import Decimal

import pytest

from app.domain.tariff import InvalidTariff
from app.store.db.documents import as_stored, to_json
from app.store.parsed_tariffs import LONGEST_KEPT, parsed_tariff


def text_of(price: str, note: str = "") -> str:
    component = f'{{"type": "ENERGY", "price": {price}, "step_size": 1}}'
    return (
        f'{{"id": "1", "currency": "EUR", "elements": [{{"price_components": [{component}]}}],'
        f' "note": {json.dumps(note)}}}'
    )


def test_equal_texts_are_parsed_once_and_other_prices_are_not_mixed_up() -> None:
    assert parsed_tariff(text_of("0.79")) is parsed_tariff("".join(text_of("0.79")))
    assert parsed_tariff(text_of("0.80")).elements[0].components[0].price == Decimal("0.80")


def test_every_digit_of_a_price_counts() -> None:
    tariff = parsed_tariff(text_of("0.10000000000000000001"))
    assert tariff.elements[0].components[0].price == Decimal("0.10000000000000000001")


def test_a_tariff_is_stored_again_as_it_was_read_to_every_digit() -> None:
    text = text_of("0.10000000000000000001")
    source = parsed_tariff(text).source
    assert to_json(source) == text
    assert as_stored(source) == json.loads(text, parse_float=Decimal)
    changed = dict(source) | {"note": "1"}
    assert to_json(changed) != text, "a copy is written anew"


def test_a_long_text_is_not_kept() -> None:
    long = text_of("0.79", note="x" * LONGEST_KEPT)
    assert parsed_tariff(long) is not parsed_tariff(long)
    assert parsed_tariff(long) == parsed_tariff(long)


def test_an_unreadable_tariff_raises_each_time() -> None:
    for _ in range(2):
        with pytest.raises(InvalidTariff):
            parsed_tariff("{}")
        with pytest.raises(InvalidTariff):
            parsed_tariff("[]")
        with pytest.raises(ValueError, match="Expecting value"):
            parsed_tariff("")
