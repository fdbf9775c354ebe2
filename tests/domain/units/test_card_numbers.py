"""Card numbers are found in every spelling, and identifiers are never taken for one (F103)."""

import os
import time
from random import Random

import pytest

from app.domain.units.card_numbers import (
    Field,
    holds_card_number,
    is_card_number,
    lengths_in_text,
    looks_like_card_number,
)
from tests.conftest import Sized
from tests.domain.card_corpus import (
    IDENTIFIERS,
    IN_TEXT_TOO,
    identifiers,
    luhn,
    spelled_in_reference,
    spelled_in_text,
)

EACH = int(os.environ.get("TAPWATT_TEST_CORPUS", "2700"))
"""Of each form: about 100,000 in all. Decision 0029 was measured with 100,000 of each."""
CARDS = (10_000, 50_000)
"""Spelled card numbers, by default and in the long run."""


@pytest.mark.parametrize("form", IDENTIFIERS)
def test_F103_no_identifier_of_a_common_form_is_refused(form: str) -> None:
    for text in identifiers(form, EACH):
        assert not looks_like_card_number(text, Field.IDENTIFIER), text
        if form in IN_TEXT_TOO:
            assert not looks_like_card_number(text, Field.TEXT), text


def test_F103_no_spelling_of_a_card_number_passes_in_free_text(sized: Sized) -> None:
    chance = Random(103)
    for _ in range(sized(*CARDS)):
        text = spelled_in_text(chance)
        assert looks_like_card_number(text, Field.TEXT), text


def test_F103_no_spelling_of_a_card_number_passes_as_a_reference(sized: Sized) -> None:
    chance = Random(104)
    for _ in range(sized(*CARDS)):
        text = spelled_in_reference(chance)
        assert looks_like_card_number(text, Field.IDENTIFIER), text
        assert looks_like_card_number(text, Field.TEXT), text


@pytest.mark.parametrize(
    "card",
    [
        "4242424242424242 123",
        "4242 4242 4242 4242 12 27",
        "4242.4242.4242.4242",
        "4242/4242/4242/4242",
        "4242  4242   4242  4242",
        "4242\u200b4242\u200b4242\u200b4242",
        "4242\u00ad4242\u00ad4242\u00ad4242",
        "\uff14\uff12" * 8,
        "3 4242424242424242",
        "3 4242 4242 4242 4242",
        "4111.1111.1111.1111",
        "card4111111111111111",
        "cc4111111111111111",
        "4\ufe0f\u20e32\ufe0f\u20e3" * 8,
        "\u2463\u2461" * 8,
        "4242%204242%204242%204242",
        "4242-4242-4242-4242 2026-11-22",
        "2026-11-22 4242-4242-4242-4242",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8 4242424242424242",
        "4\t2\t4\t2\t4\t2\t4\t2\t4\t2\t4\t2\t4\t2\t4\t2",
        "; 4242424242424242=27121010000012300?",
    ],
)
@pytest.mark.parametrize("field", Field)
def test_F103_a_card_number_is_found_whatever_is_done_to_it(card: str, field: Field) -> None:
    assert looks_like_card_number(card, field)


@pytest.mark.parametrize("text", ["34242424242424242", "00042424242424242421"])
def test_F103_in_free_text_any_run_of_digits_counts(text: str) -> None:
    assert looks_like_card_number(text, Field.TEXT)
    assert not looks_like_card_number(text, Field.IDENTIFIER)


@pytest.mark.parametrize(
    "harmless",
    [
        "T42-20261122-000007",
        "A-2026-000123",
        "2026-11-22T10:00:00.000Z",
        "4111111111111112",
        "41111111111",
        "ps_01kaq4nbt5y3u1i9o7p5a3s1df",
        "0000000000000000",
        "1234567890123456",
        "+45 12 34 56 78",
        "0.4900000000000004",
        "00000000-0000-4000-8000-000000000007",
        "b1e4068795824484",
        "\u2460" * 16,
        "",
    ],
)
@pytest.mark.parametrize("field", Field)
def test_F103_other_numbers_pass(harmless: str, field: Field) -> None:
    assert not looks_like_card_number(harmless, field)


def test_F103_every_scheme_and_length_is_known_and_another_check_digit_is_none() -> None:
    for prefix in (f"{number:04}" for number in range(10_000)):
        for length in lengths_in_text(prefix):
            digits = luhn(prefix.ljust(length - 1, "7"))
            assert holds_card_number(digits), digits
            assert holds_card_number(f"0{digits}1"), digits
            wrong = digits[:-1] + str((int(digits[-1]) + 1) % 10)
            assert not is_card_number(wrong), wrong


def test_F103_judging_the_longest_body_takes_no_time_worth_mentioning() -> None:
    for text in ("4" * 65_536, "4 " * 32_768, "a4" * 32_768, "20261122" * 8_192, "42-" * 21_845):
        began = time.process_time()
        looks_like_card_number(text, Field.IDENTIFIER)
        assert time.process_time() - began < 1, text[:10]
