"""Every table. Rules that must hold whatever the code does are constraints here, not checks in Python."""

from app.store.tables import immutable as _immutable  # noqa: F401  # its triggers are made with the tables
from app.store.tables.alerts import alert_runs, alerts
from app.store.tables.availability import outages
from app.store.tables.base import metadata
from app.store.tables.compatibility import schema_compatibility
from app.store.tables.events import event_deliveries, event_endpoints, events
from app.store.tables.isolation import protect_all
from app.store.tables.keys import api_keys, evidence_keys, secret_keys
from app.store.tables.monta import (
    deliveries,
    inbox,
    monta_budgets,
    monta_tokens,
    orphans,
    polled_reports,
    watchers,
)
from app.store.tables.provisioning import (
    charge_points,
    console_sessions,
    hold_policies,
    operator_jobs,
    operators,
    price_groups,
    tariffs,
    terminal_charge_points,
    terminals,
)
from app.store.tables.sessions import (
    captures,
    holds,
    journal,
    kept_readings,
    payment_sessions,
    settlements,
)

protect_all()

__all__ = [
    "alert_runs",
    "alerts",
    "api_keys",
    "captures",
    "charge_points",
    "console_sessions",
    "deliveries",
    "event_deliveries",
    "event_endpoints",
    "events",
    "evidence_keys",
    "hold_policies",
    "holds",
    "inbox",
    "journal",
    "kept_readings",
    "metadata",
    "monta_budgets",
    "monta_tokens",
    "operator_jobs",
    "operators",
    "orphans",
    "outages",
    "payment_sessions",
    "polled_reports",
    "price_groups",
    "schema_compatibility",
    "secret_keys",
    "settlements",
    "tariffs",
    "terminal_charge_points",
    "terminals",
    "watchers",
]
