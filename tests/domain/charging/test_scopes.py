"""app/domain/charging/setup_check: F116: which scopes a credential lacks, and what does not work without each."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.charging.setup_check import NEEDS, Need, may_control, missing, scope_warnings

WHOLE = frozenset(scope for need in NEEDS for scope in need.any_of)
ENTITIES = sorted({scope.partition(":")[0] for scope in WHOLE})
PERMISSIONS = ("read", "write", "delete")
UNKNOWN = (
    "map",
    "wallet-transactions:read",
    "charge-points:admin",
    "smart-queues:write",
    "x:y:z",
    ":",
    "::",
    "é",
)


def lacking(*scopes: str) -> set[str]:
    return {need.words for need in missing(scopes)}


CONTROL_WORDS = "control-charging:write or control-public-charging:write"
REST = {"price-groups:read", "manage-webhooks:write", "webhooks:read"}


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        # Monta's own example for terminals: enough to charge, not for webhooks and prices.
        (["charge-points:read", "charge-transactions:read", "control-charging:write"], REST),
        (["charge-points:read", "charge-transactions:read", "control-public-charging:write"], REST),
        (["charge-points:read", "charge-transactions:read", "control-charging:read"], REST | {CONTROL_WORDS}),
        (["all"], set()),
        (["all:delete"], set()),
        (["all:write"], set()),
        (["all:read"], {CONTROL_WORDS, "manage-webhooks:write"}),
        (["all:read", "control-charging:write"], {"manage-webhooks:write"}),
        (["ALL:WRITE "], set()),
        (["all:admin"], {"charge-points:read", "charge-transactions:read", CONTROL_WORDS}),
        # The old form has no permissions, and no names for prices and webhooks.
        (["charge-points", "charge-transactions", "control-charging"], set()),
        (["charge-points", "control-charging", "map"], {"charge-transactions:read"}),
        (["charge-points", "charge-transactions"], {CONTROL_WORDS}),
        # Both forms in one list: then it names permissions, and is the whole of it.
        (
            ["charge-points", "charge-transactions", "control-charging", "webhooks:read"],
            REST - {"webhooks:read"},
        ),
        # An empty answer changes nothing.
        ([], set()),
        (["", " "], set()),
    ],
)
def test_F116_missing_scopes_are_named_by_what_the_credential_holds(
    scopes: list[str], expected: set[str]
) -> None:
    assert lacking(*scopes) == expected


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: need.words)
def test_F116_each_scope_that_is_gone_is_reported_with_what_does_not_work_without(need: Need) -> None:
    assert missing(WHOLE) == ()
    (warning,) = scope_warnings(WHOLE - set(need.any_of))
    assert need.words in warning
    assert need.without in warning
    assert (scope_warnings(WHOLE - set(need.any_of), always_only=True) == (warning,)) is need.always


any_scope = st.one_of(
    st.builds("{}:{}".format, st.sampled_from([*ENTITIES, "all"]), st.sampled_from(PERMISSIONS)),
    st.sampled_from(UNKNOWN),
)


@given(st.sets(any_scope), st.sampled_from([*ENTITIES, "all"]))
def test_F116_a_higher_permission_includes_the_lower(scopes: set[str], entity: str) -> None:
    for low, high in itertools.pairwise(PERMISSIONS):
        assert lacking(*scopes, f"{entity}:{high}") <= lacking(*scopes, f"{entity}:{low}")


@given(st.sets(any_scope), st.sampled_from(PERMISSIONS), st.sampled_from(ENTITIES))
def test_F116_all_stands_for_every_entity(scopes: set[str], permission: str, entity: str) -> None:
    every = lacking(*scopes, f"all:{permission}")
    assert every <= lacking(*scopes, f"{entity}:{permission}")
    assert every == lacking(*scopes, *(f"{each}:{permission}" for each in ENTITIES))


@given(st.sets(any_scope, min_size=1), st.sampled_from(UNKNOWN))
def test_F116_unknown_scopes_are_ignored(scopes: set[str], word: str) -> None:
    known = scopes - set(UNKNOWN)
    if known:
        assert lacking(*known, word) == lacking(*known)


@given(st.lists(st.text(max_size=30)))
def test_F116_whatever_scopes_come_nothing_breaks(scopes: list[str]) -> None:
    assert set(missing(scopes)) <= set(NEEDS)


@given(st.sets(any_scope))
def test_F116_control_is_refused_only_where_it_is_missing_for_certain(scopes: set[str]) -> None:
    if not may_control(scopes):
        assert CONTROL_WORDS in lacking(*scopes)


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        (["all"], True),
        (["control-charging"], True),
        (["control-public-charging:delete"], True),
        (["all:read"], False),
        (["control-charging:read", "charge-points:read"], False),
        (["charge-points:read"], False),
        (["charge-points"], True),
        ([], True),
    ],
)
def test_F29_F116_only_a_list_that_names_permissions_is_believed_to_be_whole(
    scopes: list[str], expected: bool
) -> None:
    assert may_control(scopes) is expected
