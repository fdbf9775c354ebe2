"""docs/scaling.md: the unique keys that a distributed PostgreSQL would want changed are all listed."""

import re
from collections.abc import Iterator

from sqlalchemy import PrimaryKeyConstraint, Table, UniqueConstraint

from app.store.tables import metadata
from tests.postgres import ROOT

REFERENCE = {"operators", "terminals", "terminal_charge_points", "api_keys"}
"""Small tables that every node would hold as a whole."""


def unique_keys(table: Table) -> Iterator[list[str]]:
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint | PrimaryKeyConstraint):
            yield [column.name for column in constraint.columns]
    yield from ([column.name for column in index.columns] for index in table.indexes if index.unique)


def test_the_unique_keys_without_the_operator_are_those_that_the_page_lists() -> None:
    lacking = {
        (table.name, ", ".join(names))
        for table in metadata.tables.values()
        if "operator_id" in table.c and table.name not in REFERENCE
        for names in unique_keys(table)
        if "operator_id" not in names
    }
    page = (ROOT / "docs/scaling.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (`.*`) \|$", page, re.MULTILINE)
    listed = {(table, keys) for table, cell in rows for keys in re.findall(r"`([^`]+)`", cell)}
    assert lacking == listed
