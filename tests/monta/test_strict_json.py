"""app/strict_json: JSON from outside is bounded, and JSON to outside is exact."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.strict_json import (
    _UNUSUAL,
    MAX_DEPTH,
    BadJson,
    BadNumber,
    JsonIn,
    TooDeep,
    Writable,
    _load_any,
    _load_usual,
    clean_text,
    dump_json,
    load_json,
    storable,
)
from tests.monta.random_runs import patient

BOUND = 1024 * 1024
ANY_TEXT = st.text(st.characters())  # with NUL and lone surrogates
SCALARS = st.none() | st.booleans() | st.integers() | ANY_TEXT
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner), max_leaves=20)


def load(text: str | bytes) -> JsonIn:
    return load_json(text, max_bytes=BOUND)


def test_a_body_beyond_the_bound_is_not_parsed_f45() -> None:
    assert load_json(b"[1, 2]", max_bytes=6) == [1, 2]
    with pytest.raises(BadJson):
        load_json(b"[1, 2]", max_bytes=5)


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 900, 200_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_nesting_is_refused_and_never_a_recursion_error_f45(levels: int, opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    with pytest.raises(TooDeep):
        load_json(opening * levels + "1" + closing * levels, max_bytes=10 * BOUND)


def test_nesting_within_the_bound_is_read() -> None:
    assert load("[" * MAX_DEPTH + "]" * MAX_DEPTH)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"\xef\xbb\xbf{}", b"{'a': 1}", b"nul", b"[1,]"])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadJson):
        load(body)


@pytest.mark.parametrize(
    "spelling", ["NaN", "Infinity", "-Infinity", "1" * 5000, "1e400", "1e-400", "1.5e99999999999999"]
)
def test_a_number_that_is_none_never_comes_in_as_a_number_f45(spelling: str) -> None:
    assert isinstance(load(spelling), BadNumber)


ODD = st.sampled_from(
    [
        *(
            "NaN",
            "-Infinity",
            "1" * 400,
            "1" * 401,
            "-" + "1" * 5000,
            "0.1",
            "-0",
            "-0.0",
            "1E2",
            "1e400",
            "01",
            "1.",
        ),
        *(
            '"\\u0000"',
            '"\\ud800"',
            '"\\ud83d\\ude00"',
            '"\x01"',
            '"\t"',
            '"\x7f"',
            '"\ud800"',
            '"\u2028"',
            "'a'",
        ),
        *(
            '{"a": 1, "a": 2}',
            '{"a": 1,}',
            "[1,]",
            "{1: 2}",
            "tru",
            "\ufeff1",
            "[" * 65 + "]" * 65,
            "",
            "18446744073709551616",
        ),
    ]
)


@patient
@given(
    st.recursive(
        ODD | SCALARS.map(json.dumps), lambda inner: st.lists(inner).map(lambda p: f"[{','.join(p)}]")
    )
)
def test_the_quick_parser_reads_what_pythons_own_reads(text: str) -> None:
    body = text.encode("utf-8", "surrogatepass")
    quick = _load_usual(body)
    if quick is not _UNUSUAL:
        assert spelled(quick) == spelled(_load_any(body))


def spelled(value: JsonIn) -> str:
    """1, 1.0 and True are equal in Python, but not here."""
    return repr(value)


def test_numbers_come_in_exactly_and_never_as_floats() -> None:
    read = load("[12.35, 0.1, 689100419745380035, 1E2, 1.0]")
    assert read == [Decimal("12.35"), Decimal("0.1"), 689100419745380035, Decimal("1E2"), Decimal("1.0")]
    assert isinstance(read, list)
    assert not any(isinstance(number, float) for number in read)


def test_of_duplicate_keys_the_last_one_counts_as_in_postgresql_f45() -> None:
    assert load('{"id": 1, "id": 2}') == {"id": 2}


@patient
@given(ANY_TEXT)
def test_clean_text_keeps_everything_but_what_postgresql_refuses(text: str) -> None:
    clean = clean_text(text)
    assert len(clean) == len(text)
    assert "\x00" not in clean
    assert clean.encode("utf-8").decode("utf-8") == clean
    assert all(a in {b, "\ufffd"} for a, b in zip(clean, text, strict=True))


@patient
@given(TREES)
def test_whatever_was_loaded_is_storable_f45(tree: JsonIn) -> None:
    text = json.dumps(storable(load(json.dumps(tree))), ensure_ascii=False)
    assert "\x00" not in text
    assert "\\u0000" not in text.replace("\\\\", "")
    text.encode("utf-8")


@pytest.mark.parametrize("spelling", ["12.35", "0.1", "43.789", "1E2", "1e-7"])
def test_a_decimal_that_a_float_can_hold_stays_a_number_with_its_value_in_storage(spelling: str) -> None:
    kept = storable(load(spelling))
    assert isinstance(kept, float)
    assert Decimal(json.dumps(kept)) == Decimal(spelling)


def test_a_decimal_that_a_float_would_change_is_kept_as_text() -> None:
    assert storable(load("0.12345678901234567890123")) == "0.12345678901234567890123"
    assert storable(load("NaN")) == "NaN"


@patient
@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=0, max_value=10**9))
def test_decimals_go_out_digit_by_digit(number: Decimal) -> None:
    assert dump_json({"priceLimit": number}) == f'{{"priceLimit":{number:f}}}'


@patient
@given(TREES)
def test_what_goes_out_reads_back_the_same(tree: Writable) -> None:
    assert json.loads(dump_json(tree)) == tree


@pytest.mark.parametrize("number", [Decimal("NaN"), Decimal("Infinity")])
def test_no_number_that_json_lacks_goes_out(number: Decimal) -> None:
    with pytest.raises(ValueError, match="NaN"):
        dump_json([number])
