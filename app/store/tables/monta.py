"""Tables about Monta that replicas share: inbox, tokens, budgets, and watchers' heartbeats."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Identity,
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

CHARGE_POINT_NEWS_PENDING = (
    "applied_at IS NULL AND problem IS NULL AND entity_type IN ('charge-point', 'price-group')"
)

inbox = Table(
    "inbox",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
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
    PrimaryKeyConstraint("id", "operator_id"),
    UniqueConstraint("operator_id", "dedupe_key"),
    Index(
        "ix_inbox_news_by_charge",
        "operator_id",
        "charge_id",
        postgresql_where=text("applied_at IS NULL AND charge_id IS NOT NULL"),
    ),
    Index(
        "ix_inbox_news_by_session",
        "operator_id",
        "session_reference",
        postgresql_where=text("applied_at IS NULL AND session_reference IS NOT NULL"),
    ),
    Index(
        "ix_inbox_charge_point_news",
        "operator_id",
        "id",
        postgresql_where=text(CHARGE_POINT_NEWS_PENDING),
    ),
    comment="Entries of signed webhooks that wait for a watcher, or did; see deliveries.",
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("operator_id", Text, ForeignKey("operators.id"), nullable=False),
    Column("digest", LargeBinary, nullable=False, comment="SHA-256 of the body"),
    Column("received_at", Moment, nullable=False),
    Column("signature", Text, nullable=False, comment="X-Monta-Signature, as it was sent"),
    Column("charge_ids", ARRAY(Text), nullable=False, comment="the charges that its entries name"),
    Column("body", LargeBinary, nullable=False, comment="as it was sent, compressed by zlib"),
    PrimaryKeyConstraint("operator_id", "digest"),
    Index("ix_deliveries_operator_id_received_at", "operator_id", "received_at"),
    comment="Every signed delivery whose entries have taken effect or are in the inbox.",
)

polled_reports = Table(
    "polled_reports",
    metadata,
    Column("operator_id", Text, ForeignKey("operators.id"), nullable=False),
    Column("charge_id", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Column("report", JSONB, nullable=False),
    PrimaryKeyConstraint("operator_id", "charge_id"),
    Index("ix_polled_reports_session_id", "session_id"),
    comment="What a read of many charges showed of one, until its session has taken it in: the newest only.",
)

orphans = Table(
    "orphans",
    metadata,
    Column("operator_id", Text, ForeignKey("operators.id"), nullable=False),
    Column("charge_id", Text, nullable=False),
    Column("session_reference", Text, nullable=False, comment="the charge's partnerExternalId"),
    Column("ours", Boolean, nullable=False, comment="proved to be of our start; others are only reported"),
    Column("charge_point_id", Text),
    Column("display_reference", Text),
    Column("card_last4", Text),
    Column("state", Text, nullable=False),
    Column("energy_wh", BigInteger),
    Column("price", Numeric, comment="in major units"),
    Column("currency", Text),
    Column("created_at", Moment, comment="by Monta"),
    Column("found_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Column("stops", Integer, nullable=False, server_default="0"),
    Column("problem", Text),
    Column("closed_at", Moment, comment="when operations closed it"),
    Column("closed_because", Text),
    Column("closed_by", Text, comment="the key, or the command line's user"),
    PrimaryKeyConstraint("operator_id", "charge_id"),
    comment="Charges with our reference at Monta that belong to no payment session here.",
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
    Column("renewal_lease_until", Moment, comment="a replica is renewing the pair until then"),
)

monta_budgets = Table(
    "monta_budgets",
    metadata,
    Column("operator_id", Text, ForeignKey("operators.id"), primary_key=True),
    Column("quota", Integer, nullable=False),
    Column("window_s", Integer, nullable=False),
    Column("remaining", Integer, nullable=False),
    Column("window_ends_at", Moment, nullable=False),
    Column("blocked_until", Moment, comment="Monta said 429; reads and starts wait"),
    Column("stops_blocked_until", Moment, comment="Monta said 429 to a stop"),
)

watchers = Table(
    "watchers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("started_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Column(
        "clock_ahead_ms",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="its clock minus the database's at its last heartbeat",
    ),
)
