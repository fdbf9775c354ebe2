"""Our frozen dataclasses are as those of the standard library."""

import copy
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, is_dataclass, replace
from inspect import signature
from typing import Any

import msgspec
import pytest

from app.domain.units import frozen as module
from app.domain.units.frozen import frozen


@dataclass(frozen=True, slots=True)
class Theirs:
    first: int
    hidden: str = field(default="a", repr=False)
    listed: list[int] = field(default_factory=list, compare=False)
    last: int = field(default=3, kw_only=True)


@frozen
class Ours:
    first: int
    hidden: str = field(default="a", repr=False)
    listed: list[int] = field(default_factory=list, compare=False)
    last: int = field(default=3, kw_only=True)


@frozen(kw_only=True)
class ByName:
    one: float
    two: int | None = None


@frozen
class Empty:
    """Nothing."""


@frozen
class Grown(Empty):
    length: int
    half: int = field(default=0)

    def __post_init__(self) -> None:
        if self.length < 0:
            raise ValueError("a length is not negative")


@frozen
class SameForAll:
    number: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SameForAll)

    def __hash__(self) -> int:
        return 7

    def __repr__(self) -> str:
        return "one of them"


CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((1,), {}),
    ((1, "b", [2]), {"last": 4}),
    ((), {"first": 1, "listed": [5]}),
    ((), {}),
    ((1, 2, 3, 4), {}),
    ((1,), {"other": 2}),
]


def made(kind: type, by_place: tuple[Any, ...], by_name: dict[str, Any]) -> Any:
    try:
        return kind(*by_place, **by_name)
    except TypeError as error:
        return str(error).replace(kind.__name__, "")


@pytest.mark.parametrize(("by_place", "by_name"), CALLS)
def test_makes_shows_and_compares_what_the_standard_library_does(
    by_place: tuple[Any, ...], by_name: dict[str, Any]
) -> None:
    ours, theirs = made(Ours, by_place, by_name), made(Theirs, by_place, by_name)
    assert repr(ours).replace("Ours", "Theirs") == repr(theirs)
    if not isinstance(ours, str):
        assert asdict(ours) == asdict(theirs)
        assert [f.name for f in fields(ours)] == [f.name for f in fields(theirs)]
        for name in ("first", "hidden", "listed", "last"):
            changed = {name: [9] if name == "listed" else 9}
            assert (replace(ours, **changed) == ours) == (replace(theirs, **changed) == theirs)
            same_hash = hash(replace(theirs, **changed)) == hash(theirs)
            assert (hash(replace(ours, **changed)) == hash(ours)) == same_hash


def test_is_a_dataclass_with_slots_of_which_nothing_can_be_set_or_deleted() -> None:
    ours = Ours(1)
    kind: object = Ours
    assert is_dataclass(kind)
    assert not hasattr(ours, "__dict__")
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'first'"):
        ours.first = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'first'"):
        del ours.first
    with pytest.raises(FrozenInstanceError):
        ours.unknown = 2  # type: ignore[attr-defined]
    assert Ours(1).listed is not ours.listed


def test_fields_by_name_only_and_patterns_by_place() -> None:
    assert str(signature(ByName.__init__)) == "(self, *, one: float, two: int | None = None)"
    with pytest.raises(TypeError):
        ByName(1.0)  # type: ignore[call-arg]
    match Ours(4, "b"):
        case Ours(first, hidden):
            assert (first, hidden) == (4, "b")


def test_other_classes_are_not_equal_and_none_has_a_field_too_many() -> None:
    theirs: object = Theirs(1)
    assert Ours(1) != theirs
    assert Empty() == Empty()
    assert hash(Empty()) == hash(Empty())
    assert Empty() != Grown(1)
    assert len({Grown(1), Grown(1), Grown(2)}) == 2
    assert repr(Empty()) == "Empty()"


def test_checks_after_setting_and_inherits() -> None:
    with pytest.raises(ValueError, match="a length is not negative"):
        Grown(-1)
    assert repr(Grown(2)) == "Grown(length=2, half=0)"


def test_methods_of_its_own_stay() -> None:
    assert SameForAll(1) == SameForAll(2)
    assert hash(SameForAll(1)) == 7
    assert repr(SameForAll(1)) == "one of them"


@pytest.mark.parametrize("each", [Ours(1, "b", [2]), ByName(one=1.5), Empty(), Grown(3)])
def test_survives_copies_pickle_and_msgspec(each: Any) -> None:
    assert copy.copy(each) == copy.deepcopy(each) == pickle.loads(pickle.dumps(each)) == each
    assert msgspec.json.decode(msgspec.json.encode(each), type=type(each)) == each


@pytest.mark.parametrize(
    ("each", "changes"),
    [
        (Ours(1, "b", [2], last=9), {"first": 2}),
        (Ours(1, "b", [2]), {"listed": [3], "last": 0}),
        (ByName(one=1.5), {"two": 2}),
        (ByName(one=1.5, two=3), {"two": None}),
        (Grown(3), {"length": 4}),
        (Empty(), {}),
    ],
)
def test_a_copy_with_changes_is_the_standard_librarys(each: Any, changes: dict[str, Any]) -> None:
    before = copy.deepcopy(each)
    changed = module.replace(each, **changes)
    assert changed is not each
    assert type(changed) is type(each)
    assert asdict(changed) == asdict(replace(each, **changes)) == asdict(before) | changes
    assert each == before


def test_a_copy_with_changes_is_checked_and_has_no_other_field() -> None:
    grown: Any = Grown(3)
    with pytest.raises(ValueError, match="a length is not negative"):
        module.replace(grown, length=-1)
    with pytest.raises(TypeError, match="Grown has no field 'width'"):
        module.replace(grown, width=1)
