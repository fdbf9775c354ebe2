"""CSV that no spreadsheet takes for formulas, without control characters."""

import csv
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.units.control_chars import CONTROLS, escaped
from app.domain.units.csv_text import FORMULA_STARTS, csv_text, text_of_cell

CELLS = st.none() | st.integers() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=5))
def test_every_cell_is_read_back_and_none_is_a_formula(rows: list[list[object]]) -> None:
    header, *read = csv.reader(StringIO(csv_text(("a", "b"), rows), newline=""))
    assert header == ["a", "b"]
    for given_row, row in zip(rows, read, strict=True):
        for value, cell in zip(given_row, row, strict=True):
            if isinstance(value, str):
                assert not cell.startswith(FORMULA_STARTS)
                assert cell.removeprefix("'") == escaped(value.removeprefix("'"))
                assert not CONTROLS.search(cell)
            else:
                assert cell == ("" if value is None else str(value))


@pytest.mark.parametrize(
    "text", ["=1+1", "+49", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "\uff20SUM(A1)"]
)
def test_a_text_that_a_spreadsheet_would_run_gets_an_apostrophe(text: str) -> None:
    _, row = csv.reader(StringIO(csv_text(("a",), [[text]]), newline=""))
    assert row == [escaped(f"'{text}")]
    assert text_of_cell(row[0]).removeprefix("'") == escaped(text)
