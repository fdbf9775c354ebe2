"""Whatever is changed in a journal's chain of hashes is found: a field, a hash, the order, a line, the end."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from app.domain.evidence.chain import BEGINNING, Line, Linked, Value, broken_at, link

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
values: st.SearchStrategy[Value] = st.none() | st.booleans() | st.integers() | st.text(max_size=12)
details = st.dictionaries(st.text(max_size=8), values, max_size=4)


def chain(found: Sequence[dict[str, Value]]) -> list[Linked]:
    lines, previous = [], BEGINNING
    for number, detail in enumerate(found, start=1):
        line = Line(
            session_id="ps_a",
            number=number,
            at=NOON + timedelta(seconds=number),
            kind="searched",
            source="monta_api",
            detail=detail,
        )
        previous = link(previous, line)
        lines.append(Linked(line, previous))
    return lines


def found(lines: Sequence[Linked], of: Sequence[Linked]) -> str | None:
    """Judged by the end that the session has kept of the lines as they were."""
    return broken_at(lines, head=of[-1].hash if of else BEGINNING, count=len(of))


def changed(value: Value) -> Value:
    return "other" if value != "other" else None


@given(st.lists(details, max_size=6))
def test_an_untouched_chain_is_whole_also_when_its_times_are_in_another_zone(
    all_details: list[dict[str, Value]],
) -> None:
    lines = chain(all_details)
    east = timezone(timedelta(hours=5))
    moved = [replace(each, line=replace(each.line, at=each.line.at.astimezone(east))) for each in lines]
    assert found(lines, lines) is None
    assert found(moved, lines) is None


@given(st.lists(details, min_size=1, max_size=6), st.data())
def test_any_changed_field_of_any_line_is_found(
    all_details: list[dict[str, Value]], data: st.DataObject
) -> None:
    lines = chain(all_details)
    at = data.draw(st.integers(0, len(lines) - 1))
    whole = lines[at]
    line = whole.line
    others = [
        replace(whole, line=replace(line, session_id="ps_b")),
        replace(whole, line=replace(line, number=line.number + 1)),
        replace(whole, line=replace(line, at=line.at + timedelta(microseconds=1))),
        replace(whole, line=replace(line, kind="stop_decided")),
        replace(whole, line=replace(line, source="terminal")),
        replace(whole, line=replace(line, detail={**line.detail, "new": 1})),
        replace(whole, hash=whole.hash.replace(whole.hash[0], "f" if whole.hash[0] != "f" else "0", 1)),
    ]
    for name in line.detail:
        others.append(
            replace(whole, line=replace(line, detail={**line.detail, name: changed(line.detail[name])}))
        )
        without = {key: value for key, value in line.detail.items() if key != name}
        others.append(replace(whole, line=replace(line, detail=without)))
    for other in others:
        assert found([*lines[:at], other, *lines[at + 1 :]], lines) is not None, other


@given(st.lists(details, min_size=2, max_size=6, unique_by=repr), st.data())
def test_a_line_that_is_missing_added_or_elsewhere_is_found(
    all_details: list[dict[str, Value]], data: st.DataObject
) -> None:
    lines = chain(all_details)
    at = data.draw(st.integers(0, len(lines) - 1))
    rest = [*lines[:at], *lines[at + 1 :]]
    assert found(rest, lines) is not None
    assert found([*lines, lines[at]], lines) is not None
    assert found([lines[at], *rest] if at else [*rest, lines[at]], lines) is not None


def test_a_chain_made_anew_after_a_change_does_not_end_as_the_session_has_kept_it() -> None:
    lines, forged = chain([{"price": "12.34"}, {}]), chain([{"price": "1.00"}, {}])
    why = found(forged, lines)
    assert why == "the last line's hash is not the one that the session keeps"
    assert "2 lines instead of 3" in (found(lines, chain([{"price": "12.34"}, {}, {}])) or "")
