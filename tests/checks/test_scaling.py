"""docs/scaling.md: the unique keys that a distributed PostgreSQL would want changed are all listed."""

import re
from collections.abc import Iterator

from sqlalchemy import PrimaryKeyConstraint, Table, UniqueConstraint

from app.store.tables import metadata
from tests.postgres import ROOT

HOT = {
    "payment_sessions",
    "holds",
    "settlements",
    "captures",
    "journal",
    "inbox",
    "polled_reports",
    "charge_points",
}


def unique_keys(table: Table) -> Iterator[list[str]]:
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint | PrimaryKeyConstraint):
            yield [column.name for column in constraint.columns]
    yield from ([column.name for column in index.columns] for index in table.indexes if index.unique)


def test_the_unique_keys_without_the_operator_are_those_that_the_page_lists() -> None:
    lacking = {
        (name, frozenset(names))
        for name in HOT
        for names in unique_keys(metadata.tables[name])
        if "operator_id" not in names
    }
    page = (ROOT / "docs/scaling.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (`.*`) \|$", page, re.MULTILINE)
    listed = {
        (table, frozenset(keys.split(", ")))
        for table, cell in rows
        for keys in re.findall(r"`([^`]+)`", cell)
    }
    assert lacking == listed
