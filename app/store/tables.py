"""Every table. Rules that must hold whatever the code does are constraints here, not checks in Python."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Moment = DateTime(timezone=True)

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
    Column("webhook_endpoint_id", Text, nullable=False, unique=True),
    Column("webhook_secret", LargeBinary, nullable=False, comment="encrypted, bound to the operator"),
    Column("created_at", Moment, nullable=False),
    Column("due_at", Moment, comment="next upkeep: webhook registration, charge points"),
    Column("lease_until", Moment),
    Column("lease_token", BigInteger, nullable=False, server_default="0"),
    Column("webhook_problem", Text),
    Column("upkeep_problem", Text),
    Index("ix_operators_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
)

terminals = Table(
    "terminals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("operator_id", Text, ForeignKey("operators.id"), nullable=False),
    Column("provider", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("key_hash", LargeBinary, nullable=False, unique=True),
    Column("created_at", Moment, nullable=False),
    Column("revoked_at", Moment),
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
    Column("seen_at", Moment, comment="when Monta last told; null: never yet"),
    PrimaryKeyConstraint("operator_id", "charge_point_id"),
)

terminal_charge_points = Table(
    "terminal_charge_points",
    metadata,
    Column("terminal_id", Text, nullable=False),
    Column("operator_id", Text, nullable=False),
    Column("charge_point_id", Text, nullable=False),
    PrimaryKeyConstraint("terminal_id", "charge_point_id"),
    ForeignKeyConstraint(["terminal_id", "operator_id"], ["terminals.id", "terminals.operator_id"]),
    ForeignKeyConstraint(
        ["operator_id", "charge_point_id"], ["charge_points.operator_id", "charge_points.charge_point_id"]
    ),
    comment="A terminal serves charge points of its own operator only: the keys see to it.",
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

ops_keys = Table(
    "ops_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("operator_id", Text, ForeignKey("operators.id"), comment="null: every operator"),
    Column("key_hash", LargeBinary, nullable=False, unique=True),
    Column("created_at", Moment, nullable=False),
    Column("revoked_at", Moment),
)

payment_sessions = Table(
    "payment_sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("operator_id", Text, nullable=False),
    Column("terminal_id", Text, nullable=False),
    Column("charge_point_id", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("idempotency_key", Text),
    Column("request_hash", LargeBinary, nullable=False),
    Column("display_reference", Text, nullable=False),
    Column("card_last4", Text),
    Column("card_fingerprint", Text),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("charge_id", Text),
    Column("needs_attention", Boolean, nullable=False, server_default="false"),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("body", JSONB, nullable=False, comment="the whole session; the columns beside it are for keys and searches"),
    Column("tariff", JSONB, comment="the tariff in force at the start, as it was given"),
    Column("due_at", Moment, comment="when the watcher must look next; null: never, unless news comes"),
    Column("lease_owner", Text),
    Column("lease_until", Moment),
    Column("lease_token", BigInteger, nullable=False, server_default="0", comment="the fence: rises with each claim"),
    Column("failures", Integer, nullable=False, server_default="0", comment="crashes of the watcher's handler in a row"),
    ForeignKeyConstraint(["terminal_id", "operator_id"], ["terminals.id", "terminals.operator_id"]),
    UniqueConstraint("terminal_id", "reference"),
    UniqueConstraint("terminal_id", "idempotency_key"),
    UniqueConstraint("operator_id", "charge_id"),
    CheckConstraint("amount_minor > 0", name="amount_is_positive"),
    Index(
        "uq_payment_sessions_active_charge_point",
        "operator_id",
        "charge_point_id",
        unique=True,
        postgresql_where=text("status NOT IN ('completed', 'not_started')"),
    ),
    Index("ix_payment_sessions_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    Index("ix_payment_sessions_operator_id_created_at", "operator_id", "created_at", "id"),
    Index("ix_payment_sessions_created_at", "created_at", "id"),
    Index("ix_payment_sessions_card_fingerprint", "terminal_id", "card_fingerprint"),
)

settlements = Table(
    "settlements",
    metadata,
    Column("session_id", Text, ForeignKey("payment_sessions.id"), primary_key=True),
    Column("action", Text, nullable=False),
    Column("authorized_minor", BigInteger, nullable=False),
    Column("to_capture_minor", BigInteger, nullable=False),
    Column("to_release_minor", BigInteger, nullable=False),
    Column("shortfall_minor", BigInteger, nullable=False),
    Column("energy_wh", BigInteger, nullable=False),
    Column("decided_at", Moment, nullable=False),
    Column("deadline", Moment, nullable=False),
    Column("session_date", Moment, nullable=False),
    Column("status", Text, nullable=False),
    CheckConstraint("to_capture_minor + to_release_minor = authorized_minor", name="adds_up"),
    CheckConstraint("to_capture_minor >= 0 AND to_release_minor >= 0 AND shortfall_minor >= 0", name="not_negative"),
    CheckConstraint("(action = 'capture') = (to_capture_minor > 0)", name="action_fits"),
)

captures = Table(
    "captures",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("session_id", Text, ForeignKey("payment_sessions.id"), nullable=False),
    Column("outcome", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("reference", Text, nullable=False),
    Column("reported_at", Moment, nullable=False),
    UniqueConstraint("session_id", "outcome", "reference"),
    comment="What the PSP did, as the terminal reported it.",
)

journal = Table(
    "journal",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("session_id", Text, ForeignKey("payment_sessions.id"), nullable=False),
    Column("at", Moment, nullable=False),
    Column("kind", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("detail", JSONB, nullable=False),
    Index("ix_journal_session_id_id", "session_id", "id"),
)

inbox = Table(
    "inbox",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("operator_id", Text, ForeignKey("operators.id"), nullable=False),
    Column("dedupe_key", Text, nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("entity_type", Text),
    Column("entity_id", Text),
    Column("event_type", Text),
    Column("event_time", Moment),
    Column("charge_id", Text),
    Column("session_reference", Text, comment="the charge's partnerExternalId"),
    Column("raw", JSONB, nullable=False),
    Column("problem", Text),
    Column("applied_at", Moment),
    UniqueConstraint("operator_id", "dedupe_key"),
    Index(
        "ix_inbox_news_by_charge", "operator_id", "charge_id", postgresql_where=text("applied_at IS NULL AND charge_id IS NOT NULL")
    ),
    Index(
        "ix_inbox_news_by_session",
        "operator_id",
        "session_reference",
        postgresql_where=text("applied_at IS NULL AND session_reference IS NOT NULL"),
    ),
    comment="Every entry of every signed webhook, before it has any effect.",
)

monta_tokens = Table(
    "monta_tokens",
    metadata,
    Column("operator_id", Text, ForeignKey("operators.id"), primary_key=True),
    Column("version", BigInteger, nullable=False, server_default="0"),
    Column("access", LargeBinary),
    Column("access_expires_at", Moment),
    Column("refresh", LargeBinary),
    Column("refresh_expires_at", Moment),
    Column("lead_until", Moment, comment="somebody is renewing the pair until then"),
)

monta_budgets = Table(
    "monta_budgets",
    metadata,
    Column("operator_id", Text, ForeignKey("operators.id"), primary_key=True),
    Column("quota", Integer, nullable=False),
    Column("window_s", Integer, nullable=False),
    Column("remaining", Integer, nullable=False),
    Column("window_ends_at", Moment, nullable=False),
    Column("blocked_until", Moment),
)

watchers = Table(
    "watchers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("started_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
)
