"""Control characters of others' texts are shown, not obeyed."""

import json

from hypothesis import given
from hypothesis import strategies as st

from app.domain.units.control_chars import CONTROLS, escaped, visible


@given(st.text())
def test_no_control_character_is_left_and_all_else_stays(text: str) -> None:
    for shown, kept in ((escaped(text), ""), (visible(text), "\n\t")):
        assert not [found for found in CONTROLS.findall(shown) if found not in kept]
        plain = CONTROLS.sub("", text)
        assert escaped(plain) == visible(plain) == plain


@given(st.dictionaries(st.text(), st.text()))
def test_json_stays_what_it_is(values: dict[str, str]) -> None:
    written = json.dumps(values, ensure_ascii=False, indent=1)
    assert json.loads(visible(written)) == values


def test_what_moves_a_cursor_or_turns_text_round_is_named() -> None:
    assert escaped("a\x1b[2J\r\n\x9b\u2028\u202e") == r"a\x1b[2J\r\n\x9b\u2028\u202e"
    assert visible("a\x1b[2J\r\n\x9b\u202e") == "a\\u001b[2J\\u000d\n\\u009b\\u202e"
