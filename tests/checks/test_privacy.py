"""docs/privacy.md names every table, every column of sessions, and every column that may hold what a person is."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from app.settings import PREFIX, Settings
from app.store.tables import metadata

PAGE = (Path(__file__).resolve().parents[2] / "docs/privacy.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([a-z_0-9]+(?:\.[a-z_0-9]+)?)`", PAGE))
FREE = re.compile(
    "card|reference|name|raw|body|detail|report$|hash|address|from|idempotency|email|phone|user|note"
)
"""Names of columns that may hold a person's data, or anything."""
NOT_PERSONAL = {
    "api_keys.key_hash": "of a random key",
    "journal.hash": "of the journal's chain",
    "charge_points.name": "of a charger",
    "charge_points.address": "of a charger that takes cards",
    "price_groups.name": "of a price group",
    "operators.name": "of a company",
    "terminals.name": "of a terminal",
    "console_sessions.token_hash": "of a random token",
    "inbox.session_reference": "our own id",
}


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_each_table_is_named(table: object) -> None:
    name = getattr(table, "name")  # noqa: B009
    assert name in NAMED or any(each.startswith(f"{name}.") for each in NAMED)


def test_each_column_that_may_hold_personal_data_is_named_or_excused() -> None:
    found = {
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.c
        if FREE.search(column.name)
    }
    assert found - NAMED - NOT_PERSONAL.keys() == set()
    assert NOT_PERSONAL.keys() <= found, "no excuse for what is not there"
    assert len(found) > 20


def test_each_column_of_a_session_is_named() -> None:
    columns = {column.name for column in metadata.tables["payment_sessions"].c}
    assert columns == {c for c in columns if c in NAMED or f"payment_sessions.{c}" in NAMED}


def test_each_named_column_exists() -> None:
    for each in NAMED:
        table, _, column = each.partition(".")
        assert not column or column == "py" or column in metadata.tables[table].c, each


def test_each_retention_is_the_settings_own() -> None:
    kept = re.findall(rf"`{PREFIX}([A-Z_]+)` \((\d+)\)", PAGE)
    assert len(kept) >= 3
    for name, days in kept:
        assert {f.name: f.default for f in fields(Settings)}[name.lower()] == int(days)
