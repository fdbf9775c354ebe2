"""Every table. Rules that must hold whatever the code does are constraints here, not checks in Python."""

from app.store.tables.base import metadata
from app.store.tables.monta import inbox, monta_budgets, monta_tokens, orphans, sightings, watchers
from app.store.tables.provisioning import (
    charge_points,
    hold_policies,
    operator_duties,
    operators,
    ops_keys,
    price_groups,
    tariffs,
    terminal_charge_points,
    terminals,
)
from app.store.tables.sessions import captures, holds, journal, payment_sessions, settlements

__all__ = [
    "captures",
    "charge_points",
    "hold_policies",
    "holds",
    "inbox",
    "journal",
    "metadata",
    "monta_budgets",
    "monta_tokens",
    "operator_duties",
    "operators",
    "ops_keys",
    "orphans",
    "payment_sessions",
    "price_groups",
    "settlements",
    "sightings",
    "tariffs",
    "terminal_charge_points",
    "terminals",
    "watchers",
]
