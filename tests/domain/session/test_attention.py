"""Attention: raised once for each cause, closed with it, acknowledged until there is a new one."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.domain.session.attention import BY_HAND, CODES, MAX_ITEMS, Acknowledgement, AttentionCode, stamped
from app.domain.session.machine import Change, Source
from tests.domain.sessions import after, new_session

W = Source.WATCHER
SEEN = Acknowledgement(at=after(5), by="opk_1", note="I know")
CODE = AttentionCode.RECORD_CHANGED


def test_F110_each_cause_is_asked_once_also_after_it_was_acknowledged() -> None:
    asked = Change(new_session()).raise_attention(CODE, "one", W, about="1")
    assert asked.raise_attention(CODE, "one in other words", W, about="1") == asked
    seen = asked.acknowledge(CODE, SEEN)
    assert not seen.session.needs_attention
    assert seen.raise_attention(CODE, "one", W, about="1") == seen
    assert seen.acknowledge(CODE, replace(SEEN, note="again")) == seen
    assert seen.session.attention[0].acknowledged == SEEN
    anew = seen.set_attention(CODE, "two", W, about="2")
    assert anew.session.needs_attention
    assert [item.detail for item in anew.session.attention] == ["two"]
    both = seen.raise_attention(CODE, "two", W, about="2")
    assert [item.acknowledged for item in both.session.attention] == [SEEN, None]


def test_F110_it_closes_with_its_cause_and_counts_again_when_that_comes_back() -> None:
    asked = Change(new_session()).raise_attention(CODE, "one", W).acknowledge(CODE, SEEN)
    closed = asked.set_attention(CODE, None, W)
    assert closed.session.attention == ()
    assert closed.raise_attention(CODE, "one", W).session.needs_attention
    kinds = [line.kind for line in closed.lines]
    assert kinds == ["attention_needed", "attention_acknowledged", "attention_ended"]


def test_F110_an_item_bears_the_time_of_the_change_that_raised_it() -> None:
    items = Change(new_session()).raise_attention(CODE, "one", W).session.attention
    once = stamped(items, after(1))
    assert once[0].since == after(1)
    assert stamped(once, after(2)) == once


acts = st.lists(
    st.tuples(
        st.sampled_from(["raise", "set", "clear", "none", "see"]),
        st.sampled_from([AttentionCode.SHORTFALL, AttentionCode.FOREIGN_CHARGE, CODE]),
        st.sampled_from(["", "1", "2"]),
    ),
    max_size=30,
)


@given(acts)
def test_F110_whatever_comes_an_identity_stands_once_and_only_clearing_takes_it_away(
    course: list[tuple[str, AttentionCode, str]],
) -> None:
    change = Change(new_session())
    for act, code, about in course:
        before = {(i.code, i.about) for i in change.session.attention}
        match act:
            case "raise":
                change = change.raise_attention(code, f"d{about}", W, about=about)
            case "set":
                change = change.set_attention(code, f"d{about}", W, about=about)
            case "clear":
                change = change.clear_attention(code, W, about=about)
            case "none":
                change = change.set_attention(code, None, W)
            case _:
                change = change.acknowledge(code, SEEN)
        ids = [(i.code, i.about) for i in change.session.attention]
        assert len(ids) == len(set(ids)) <= MAX_ITEMS
        assert before - set(ids) <= {(code, a) for a in ("", "1", "2")}
        if act in ("raise", "see"):
            assert before <= set(ids)
        unseen = [i for i in change.session.attention if i.acknowledged is None]
        assert change.session.needs_attention == bool(unseen)
        if act == "see":
            assert all(i.code != code for i in unseen)


def test_F110_there_are_never_more_than_anybody_reads() -> None:
    change = Change(new_session())
    for n in range(2 * MAX_ITEMS):
        change = change.raise_attention(CODE, "x", W, about=str(n))
    assert len(change.session.attention) == MAX_ITEMS


def test_every_code_is_described_in_the_order_of_the_enum() -> None:
    assert list(CODES) == list(AttentionCode)
    for row in CODES.values():
        assert row.meaning.endswith(".")
        assert row.action.endswith(".")
        assert row.closes == BY_HAND or row.closes.startswith("when ")
