"""The transition table: any pair that it does not name is refused, and a status never goes back."""

from itertools import product

import pytest

from app.domain.session.machine import TABLE, TRANSITIONS, Change, Command, NotAllowed, Source, after
from app.domain.session.payment_session import ENDED_STATUSES, Status
from tests.domain.sessions import new_session

ORDER = tuple(Status)
RANK = {status: rank for rank, status in enumerate(ORDER)}
ALL = list(product(Status, Command))
ABSENT = [pair for pair in ALL if pair not in TABLE]


@pytest.mark.parametrize(("status", "command"), ABSENT)
def test_a_pair_that_is_not_in_the_table_is_refused_and_changes_nothing(
    status: Status, command: Command
) -> None:
    before = Change(new_session(status=status))
    with pytest.raises(NotAllowed) as refused:
        before.apply(command, Source.WATCHER)
    assert (refused.value.status, refused.value.command) == (status, command)
    assert before == Change(new_session(status=status))


@pytest.mark.parametrize(("status", "command"), TABLE)
def test_a_pair_of_the_table_is_applied_and_the_journal_says_so(status: Status, command: Command) -> None:
    change = Change(new_session(status=status)).apply(command, Source.WATCHER)
    assert change.session.status is after(status, command) is TABLE[status, command]
    told = [(line.kind, line.detail["old"], line.detail["new"]) for line in change.lines]
    moved = change.session.status is not status
    assert told == ([("status_changed", status, change.session.status)] if moved else [])


def test_each_pair_has_one_row_with_who_issues_it_and_why() -> None:
    assert len(TABLE) == len(TRANSITIONS)
    assert all(row.issuers and row.cause for row in TRANSITIONS)


def test_a_status_never_goes_back() -> None:
    assert ORDER[-2:] == (Status.COMPLETED, Status.NOT_STARTED)
    for (status, _), new in TABLE.items():
        assert RANK[new] >= RANK[status]


def test_nothing_leads_out_of_an_ended_session() -> None:
    assert {status for status, _ in TABLE}.isdisjoint(ENDED_STATUSES)


def test_every_status_can_be_reached_and_every_one_that_is_not_an_end_can_end() -> None:
    reached, grown = {Status.AUTHORIZED}, True
    while grown:
        found = {new for (status, _), new in TABLE.items() if status in reached}
        grown, reached = not found <= reached, reached | found
    assert reached == set(Status)
    for status in set(Status) - ENDED_STATUSES:
        onward = {new for (old, _), new in TABLE.items() if old is status} - {status}
        assert onward, f"{status} is a dead end"


def test_settling_and_giving_up_happen_only_once_monta_has_ended_or_never_had_a_charge() -> None:
    """Except for a charge that no stop ended when its hold was about to expire, and for sessions ended by
    operations."""
    ends = {pair: new for pair, new in TABLE.items() if new in ENDED_STATUSES}
    ended_by_person = {status for status, command in ends if command is Command.END}
    assert ended_by_person == set(Status) - ENDED_STATUSES
    ends = {pair: new for pair, new in ends.items() if pair[1] is not Command.END}
    assert ends.pop((Status.STOPPING, Command.CLOSE)) is Status.COMPLETED
    assert {status for status, _ in ends} == {Status.AUTHORIZED, Status.FINISHING}
    assert (Status.AUTHORIZED, Command.COMPLETE) not in TABLE
