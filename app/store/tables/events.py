"""Endpoints of terminal makers, events, and which of them are still to be delivered."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from app.store.tables.base import Moment, metadata

event_endpoints = Table(
    "event_endpoints",
    metadata,
    Column("id", Text, nullable=False),
    Column("operator_id", Text, ForeignKey("operators.id"), nullable=False),
    Column("provider", Text, comment="of all terminals of this maker; null: of one terminal"),
    Column("terminal_id", Text, comment="of this terminal; null: of a maker's"),
    Column("url", Text, nullable=False),
    Column("event_types", ARRAY(Text), comment="null: all"),
    Column(
        "signing_secret", LargeBinary, nullable=False, comment="encrypted, bound to the endpoint and its URL"
    ),
    Column("previous_secret", LargeBinary, comment="the one before, encrypted likewise"),
    Column("previous_secret_until", Moment, comment="it signs too until then, and is forgotten"),
    Column("created_at", Moment, nullable=False),
    Column("paused_at", Moment, comment="since when nothing is sent; null: it is"),
    Column("failing_since", Moment, comment="since when no delivery was taken; null: the last one was"),
    Column("problem", Text, comment="why the last failed delivery was not taken"),
    Column("quiet_until", Moment, comment="of one that fails: nothing is sent before"),
    Column("delivered_at", Moment, comment="when it last took a delivery"),
    Column(
        "given_up",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="deliveries that were given up",
    ),
    Column("lease_until", Moment, comment="a process sends to it until then"),
    Column("lease_token", BigInteger, nullable=False, server_default="0", comment="rises with each claim"),
    PrimaryKeyConstraint("id", "operator_id"),
    ForeignKeyConstraint(["terminal_id", "operator_id"], ["terminals.id", "terminals.operator_id"]),
    CheckConstraint("num_nonnulls(provider, terminal_id) = 1", name="of_one"),
    Index("ix_event_endpoints_operator_id", "operator_id"),
    comment="Where terminal makers want to be told of events.",
)

events = Table(
    "events",
    metadata,
    Column("id", Text, nullable=False),
    Column("operator_id", Text, ForeignKey("operators.id"), nullable=False),
    Column("terminal_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("session_id", Text, comment="null: of no session"),
    Column("charge_point_id", Text, comment="null: of a session"),
    Column("version", Integer, nullable=False, comment="of the session; 0 without one"),
    Column("created_at", Moment, nullable=False),
    Column("data", Text, nullable=False, comment="what the terminal would have seen then, as JSON"),
    Column("number", BigInteger, comment="its place among its terminal's; null: nobody has listed it yet"),
    PrimaryKeyConstraint("id", "operator_id"),
    UniqueConstraint("terminal_id", "number", "operator_id"),
    ForeignKeyConstraint(["terminal_id", "operator_id"], ["terminals.id", "terminals.operator_id"]),
    ForeignKeyConstraint(
        ["session_id", "operator_id"], ["payment_sessions.id", "payment_sessions.operator_id"]
    ),
    ForeignKeyConstraint(
        ["operator_id", "charge_point_id"], ["charge_points.operator_id", "charge_points.charge_point_id"]
    ),
    Index("ix_events_unnumbered", "terminal_id", postgresql_where=text("number IS NULL")),
    Index("ix_events_operator_id_created_at", "operator_id", "created_at"),
    Index("ix_events_session_id", "session_id", postgresql_where=text("session_id IS NOT NULL")),
    comment="News for terminal makers, written with the change that it is about.",
)

event_deliveries = Table(
    "event_deliveries",
    metadata,
    Column("endpoint_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("operator_id", Text, nullable=False),
    Column("subject", Text, nullable=False, comment="session or charge point: its events go in order"),
    Column("version", Integer, nullable=False, comment="as the event's"),
    Column("due_at", Moment, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    PrimaryKeyConstraint("endpoint_id", "event_id", "operator_id"),
    ForeignKeyConstraint(
        ["endpoint_id", "operator_id"],
        ["event_endpoints.id", "event_endpoints.operator_id"],
        ondelete="CASCADE",
    ),
    ForeignKeyConstraint(
        ["event_id", "operator_id"], ["events.id", "events.operator_id"], ondelete="CASCADE"
    ),
    Index("ix_event_deliveries_event_id", "event_id"),
    Index("ix_event_deliveries_endpoint_id_due_at", "endpoint_id", "due_at"),
    Index("ix_event_deliveries_endpoint_id_subject", "endpoint_id", "subject", "version", "event_id"),
    comment="Events that endpoints have not taken yet. A row goes when its event was taken or given up.",
)
