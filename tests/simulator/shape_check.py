"""Checks a value against the tables of Monta's objects."""

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.simulator.shape_tables import TABLES, Table

_SHORT_SCOPES = {"all", "charge-points", "map", "charge-transactions", "wallet-transactions"} | {
    "control-charging"
}
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")


def _is_date(value: object) -> bool:
    return isinstance(value, str) and bool(_DATE.fullmatch(value)) and bool(datetime.fromisoformat(value))


def _is_whole(value: object, bits: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**bits) <= value < 2**bits


WORDS: dict[str, Callable[[object], bool]] = {
    "text": lambda value: isinstance(value, str),
    "int32": lambda value: _is_whole(value, 31),
    "int64": lambda value: _is_whole(value, 63),
    "number": lambda value: isinstance(value, int | Decimal) and not isinstance(value, bool),
    "flag": lambda value: isinstance(value, bool),
    "date": _is_date,
    "object": lambda value: isinstance(value, dict),
    "Scope": lambda value: value in _SHORT_SCOPES,
}


def faults(kind: Any, value: object, where: str = "") -> list[str]:
    """What is wrong with `value` as a `kind`, each with its place; empty: nothing."""
    if isinstance(kind, set):
        return [] if value in kind else [f"{where}: {value!r} is none of the words"]
    if isinstance(kind, list):
        if not isinstance(value, list):
            return [f"{where}: no list"]
        return [fault for n, row in enumerate(value) for fault in faults(kind[0], row, f"{where}[{n}]")]
    if kind in TABLES:
        return _of_table(TABLES[kind], value, where)
    holds = (kind.endswith("?") and value is None) or WORDS[kind.rstrip("?")](value)
    return [] if holds else [f"{where}: {value!r} is no {kind}"]


def _of_table(table: Table, value: object, where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where}: {value!r} is no object"]
    found = [f"{where}.{name[1:]}: missing" for name in table if name[0] == "!" and name[1:] not in value]
    for name, inner in value.items():
        kind = table.get(name, table.get(f"!{name}"))
        found += [f"{where}.{name}: unknown"] if kind is None else faults(kind, inner, f"{where}.{name}")
    return found
