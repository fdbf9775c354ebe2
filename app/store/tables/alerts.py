"""Alerts to operations, and the one process that sends them."""

from sqlalchemy import BigInteger, Column, ForeignKey, Identity, Index, Table, Text, text

from app.store.tables.base import Moment, metadata

alerts = Table(
    "alerts",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("operator_id", Text, ForeignKey("operators.id"), comment="null: of the installation"),
    Column("session_id", Text),
    Column("code", Text, nullable=False),
    Column("about", Text, nullable=False, server_default="", comment="which of several causes of one code"),
    Column("severity", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("opened_at", Moment, nullable=False),
    Column("closed_at", Moment, comment="kept until a message has said so"),
    Column("sent_at", Moment, comment="when it was last in a message"),
    Index(
        "uq_alerts_open",
        "operator_id",
        "session_id",
        "code",
        "about",
        unique=True,
        postgresql_where=text("closed_at IS NULL"),
        postgresql_nulls_not_distinct=True,
    ),
    comment="What is wrong now, and what has ended since operations heard of it.",
)

alert_runs = Table(
    "alert_runs",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("lease_until", Moment, nullable=False),
    Column("sent_at", Moment, comment="when the last message was sent"),
    comment="One row: which process may send alerts, and when it last did.",
)
