"""Tests of app/store/tables.

Keys of the tables that belong to operators carry the operator, by which a distributed PostgreSQL places rows.
"""

from collections.abc import Iterator

import pytest
from sqlalchemy import ForeignKeyConstraint, PrimaryKeyConstraint, Table, UniqueConstraint

from app.store.tables import metadata

REFERENCE = {
    "terminals": "its id is unique among all operators; small, so that each node has a copy",
}
"""Tables with an operator in each row that are copied to every node, and why."""

PLACED = [
    table
    for table in metadata.sorted_tables
    if "operator_id" in table.c and not table.c.operator_id.nullable and table.name not in REFERENCE
]
"""Tables whose rows are placed by their operator. Those without one, or with one in some rows only, are not."""


def unique_keys(table: Table) -> Iterator[tuple[str, set[str]]]:
    for constraint in table.constraints:
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint):
            yield str(constraint.name), set(constraint.columns.keys())
    for index in table.indexes:
        if index.unique:
            yield str(index.name), set(index.columns.keys())


@pytest.mark.parametrize("table", PLACED, ids=lambda table: table.name)
def test_every_key_of_an_operators_table_carries_the_operator(table: Table) -> None:
    keys = dict(unique_keys(table))
    assert keys
    assert {name: columns for name, columns in keys.items() if "operator_id" not in columns} == {}
    for constraint in table.constraints:
        if isinstance(constraint, ForeignKeyConstraint) and constraint.referred_table in PLACED:
            pairs = {(each.parent.name, each.column.name) for each in constraint.elements}
            assert ("operator_id", "operator_id") in pairs, constraint.name


def test_what_is_copied_to_every_node_refers_to_nothing_that_is_placed() -> None:
    assert len(PLACED) > 15
    copied = [table for table in metadata.sorted_tables if table not in PLACED]
    found = {
        f"{table.name}.{constraint.name}"
        for table in copied
        for constraint in table.constraints
        if isinstance(constraint, ForeignKeyConstraint) and constraint.referred_table in PLACED
    }
    assert found == set()
