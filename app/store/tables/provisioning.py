"""Operators, terminals, charge points and tariffs."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.store.tables.base import Moment, metadata

operators = Table(
    "operators",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("monta_url", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("client_secret", LargeBinary, nullable=False, comment="encrypted, bound to the operator"),
    Column("paying_team_id", Text, nullable=False),
    Column("price_unit", Text, nullable=False, server_default="major"),
    Column("time_zone", Text, nullable=False, server_default="UTC", comment="for prices by time of day"),
    Column(
        "top_up_max_minor",
        BigInteger,
        comment="the most that top-ups may raise an authorization to; Monta's own limits start there",
    ),
    Column(
        "hold_max_eur", Integer, comment="the most of one hold, in EUR, other currencies alike; null: usual"
    ),
    Column(
        "least_capture_minor",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="a lower price is released",
    ),
    Column(
        "least_energy_wh",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="the price of less is released",
    ),
    Column(
        "monta_clock_ahead_s", BigInteger, comment="as its records last showed; null: it agrees with ours"
    ),
    Column("webhook_endpoint_id", Text, nullable=False, unique=True),
    Column("webhook_secret", LargeBinary, nullable=False, comment="encrypted, bound to the operator"),
    Column("previous_webhook_secret", LargeBinary, comment="the one before, encrypted likewise"),
    Column("previous_webhook_secret_until", Moment, comment="it is taken until then, and forgotten"),
    Column("webhook_secret_pending_since", Moment, comment="when it was changed; null: Monta has this one"),
    Column("created_at", Moment, nullable=False),
    Column("disabled_at", Moment, comment="since when no new payments are taken; null: they are"),
    Column("webhook_problem", Text),
    Column("webhook_mended_at", Moment, comment="when its configuration at Monta was last found changed"),
    Column("sync_problem", Text),
    Column("setup_problem", Text, comment="what Monta shows does not fit what was configured"),
    Column("reconcile_wanted_at", Moment, comment="no start until a reconciliation that began after this"),
    Column("reconciled_at", Moment, comment="Monta's list was compared with ours up to then"),
    Column("reconciled_deep_at", Moment, comment="the last comparison that reached back for days"),
    Column("reconcile_due_at", Moment, comment="the next comparison"),
    Column("reconcile_problem", Text),
    Column("access_refused_since", Moment, comment="since when Monta refuses the credential"),
    Column("access_problem", Text, comment="Monta refuses it lastingly: no new sessions"),
    Column("evidence_checked_at", Moment, comment="when sessions' evidence was last examined"),
    Column("evidence_checked_to", Moment, comment="sessions recorded before are next; null: the newest"),
    Column("evidence_checked_id", Text, comment="of those recorded then, the last one"),
)

operator_jobs = Table(
    "operator_jobs",
    metadata,
    Column("operator_id", Text, ForeignKey("operators.id"), nullable=False),
    Column("job", Text, nullable=False),
    Column("due_at", Moment, comment="null: when it is requested"),
    Column("lease_until", Moment),
    Column("lease_token", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("operator_id", "job"),
    Index("ix_operator_jobs_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    comment="What the watcher does for an operator as a whole, each kind with its own due time and lease.",
)

terminals = Table(
    "terminals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("operator_id", Text, ForeignKey("operators.id"), nullable=False),
    Column("provider", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("reported_state", Text, comment="online or out_of_order, as it said last"),
    Column("reported_message", Text, comment="what it said of itself, for operations"),
    Column("reported_at", Moment, comment="its last heartbeat; null: it sends none"),
    Column("first_reported_at", Moment, comment="its availability is known since then"),
    UniqueConstraint("id", "operator_id"),
)

charge_points = Table(
    "charge_points",
    metadata,
    Column("operator_id", Text, ForeignKey("operators.id"), nullable=False),
    Column("charge_point_id", Text, nullable=False),
    Column("name", Text),
    Column("state", Text),
    Column("connectors", JSONB, nullable=False, server_default="[]"),
    Column("current_type", Text),
    Column("max_power_w", Integer),
    Column("cable_plugged_in", Boolean),
    Column("price_group_id", Text),
    Column("model", Text, comment="brand and model, as Monta names them"),
    Column("evse_id", Text),
    Column("site_id", Text, comment="Monta's id of the site that it belongs to"),
    Column("address", Text, comment="in one line, as Monta shows it"),
    Column("learned_kwh_price", Numeric, comment="of the last settled charge, in major units"),
    Column("learned_currency", Text),
    Column("charged_currency", Text, comment="what the newest charge here ran in, whoever started it"),
    Column("charged_at", Moment, comment="when that charge began"),
    Column("first_seen_at", Moment, comment="its availability is known since then"),
    Column("seen_at", Moment, comment="when Monta last reported; null: never yet"),
    Column("updated_at", Moment, comment="Monta's own time of what is kept, never later than ours"),
    Column("event_at", Moment, comment="of the webhook that reported it; null: it was read"),
    Column("deleted_at", Moment, comment="Monta has it no more"),
    Column("profile", JSONB, comment="what its settled sessions taught: stop latency, meter, power"),
    Column("told_digest", LargeBinary, comment="of what terminal makers were last told; null: of nothing"),
    PrimaryKeyConstraint("operator_id", "charge_point_id"),
    Index(
        "ix_charge_points_model",
        "operator_id",
        "model",
        "charge_point_id",
        postgresql_where=text("profile IS NOT NULL"),
    ),
    postgresql_with={"fillfactor": 80},
)

terminal_charge_points = Table(
    "terminal_charge_points",
    metadata,
    Column("terminal_id", Text, nullable=False),
    Column("operator_id", Text, nullable=False),
    Column("charge_point_id", Text, nullable=False),
    PrimaryKeyConstraint("terminal_id", "charge_point_id", "operator_id"),
    ForeignKeyConstraint(["terminal_id", "operator_id"], ["terminals.id", "terminals.operator_id"]),
    ForeignKeyConstraint(
        ["operator_id", "charge_point_id"], ["charge_points.operator_id", "charge_points.charge_point_id"]
    ),
    comment="A terminal serves charge points of its own operator only: the keys see to it.",
)

hold_policies = Table(
    "hold_policies",
    metadata,
    Column("operator_id", Text, ForeignKey("operators.id"), nullable=False),
    Column("brand", Text, nullable=False, comment="of the card, lower case; empty: all the others"),
    Column("days", Integer, nullable=False),
    PrimaryKeyConstraint("operator_id", "brand"),
    CheckConstraint("days BETWEEN 1 AND 60", name="days_are_sane"),
    comment="How long a hold is good when the terminal does not say.",
)

price_groups = Table(
    "price_groups",
    metadata,
    Column("operator_id", Text, ForeignKey("operators.id"), nullable=False),
    Column("price_group_id", Text, nullable=False),
    Column("name", Text),
    Column("currency", Text, comment="of all its prices; null: they are in several, or none says"),
    Column("tariff", JSONB, comment="converted to OCPI; null: this group cannot be"),
    Column("gaps", JSONB, nullable=False, server_default="[]", comment="what the tariff does not say of it"),
    Column("read_at", Moment, comment="when Monta last showed it; null: never yet"),
    Column("tried_at", Moment, nullable=False),
    Column("changed_at", Moment, comment="when a webhook last said that it changed"),
    Column("problem", Text, comment="why the last try to read it failed"),
    PrimaryKeyConstraint("operator_id", "price_group_id"),
    comment="Monta's price groups of the charge points that terminals use.",
)

tariffs = Table(
    "tariffs",
    metadata,
    Column("operator_id", Text, ForeignKey("operators.id"), nullable=False),
    Column("charge_point_id", Text, nullable=False, comment="empty: the operator's own, for all the others"),
    Column("tariff", JSONB, nullable=False),
    Column("set_at", Moment, nullable=False),
    PrimaryKeyConstraint("operator_id", "charge_point_id"),
)

console_sessions = Table(
    "console_sessions",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("ops_key_id", Text, ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False, comment="the last request; idle sessions end"),
    comment="Who is signed in to the console. The token itself is in the browser only.",
)
