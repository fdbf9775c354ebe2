"""Tests of app/flows/keep_delivery: in which transactions deliveries are written, and which are written again."""

from collections.abc import Sequence
from contextlib import nullcontext
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.charging.charge import PriceUnit
from app.domain.units.ids import OperatorId
from app.flows import keep_delivery
from app.flows.deliveries import Deliveries, Signed
from app.flows.keep_delivery import APPLIED_AT_ONCE
from app.store.db.database import RowLocked
from app.store.db.group_commit import TooManyWaiting
from app.store.sessions.deliveries import KeptDelivery

pytestmark = pytest.mark.anyio

CONTEXT, OPERATOR = cast(Any, None), OperatorId("op_one")


def delivery(others: int, left: int) -> Signed:
    """With so many entries to be applied, and one that was kept beside its session."""
    unread: Any = [None] * others
    kept = KeptDelivery(digest=b"", signature="", body=b"")
    plain: Any = [None] * (left + 1)
    return Signed(plain, unread, tuple, PriceUnit.MAJOR, kept, left=[b""] * left)


def entries(signed: Sequence[Signed]) -> int:
    return sum(len(each.others) + len(each.left) for each in signed)


SIZES = st.lists(st.tuples(st.integers(0, 25), st.integers(0, 25)), max_size=12)


@given(SIZES)
async def test_each_delivery_is_applied_once_in_order_in_transactions_that_are_bounded(
    sizes: list[tuple[int, int]],
) -> None:
    written: list[list[Signed]] = []

    async def write(_context: object, _operator: object, some: Sequence[Signed], _lock_ms: object) -> None:
        written.append(list(some))

    signed = [delivery(others, left) for others, left in sizes]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keep_delivery, "_apply_some", write)
        await keep_delivery._apply(CONTEXT, OPERATOR, signed)
    assert [each for some in written for each in some] == signed, "none is left out, none twice"
    for some in written:
        assert entries(some) <= APPLIED_AT_ONCE or len(some) == 1, "one delivery is never divided"
    for some, following in pairwise(written):
        assert entries([*some, following[0]]) > APPLIED_AT_ONCE, "no more transactions than needed"


@pytest.mark.parametrize("error", [RowLocked(), TooManyWaiting(), ConnectionResetError(), ValueError("bad")])
async def test_only_what_another_transaction_has_locked_is_written_again_by_itself(error: Exception) -> None:
    """What is refused, or was perhaps written, is Monta's to send again."""
    alone: list[Signed] = []

    async def put(_: Signed) -> None:
        raise error

    async def write(some: Sequence[Signed]) -> None:
        alone.extend(some)

    group: Any = SimpleNamespace(put=put)
    signed = delivery(1, 0)
    is_waited_for = isinstance(error, RowLocked)
    with nullcontext() if is_waited_for else pytest.raises(type(error)):
        await keep_delivery._written(Deliveries(), group, write, signed)
    assert alone == ([signed] if is_waited_for else [])
