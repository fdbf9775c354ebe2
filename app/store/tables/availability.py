"""Intervals in which charge points and terminals were out of service."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from app.store.tables.base import Moment, metadata

outages = Table(
    "outages",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    Column("operator_id", Text, ForeignKey("operators.id"), nullable=False),
    Column("charge_point_id", Text, comment="null: of a terminal"),
    Column("terminal_id", Text, comment="null: of a charge point"),
    Column("cause", Text, nullable=False, comment="Monta's state, `deleted`, `out_of_order` or `offline`"),
    Column("began_at", Moment, nullable=False),
    Column("ended_at", Moment, comment="null: it lasts"),
    PrimaryKeyConstraint("id", "operator_id"),
    ForeignKeyConstraint(
        ["operator_id", "charge_point_id"], ["charge_points.operator_id", "charge_points.charge_point_id"]
    ),
    ForeignKeyConstraint(["terminal_id", "operator_id"], ["terminals.id", "terminals.operator_id"]),
    CheckConstraint("num_nonnulls(charge_point_id, terminal_id) = 1", name="of_one"),
    CheckConstraint("ended_at >= began_at", name="ends_after_it_began"),
    Index(
        "uq_outages_lasting",
        "operator_id",
        "charge_point_id",
        "terminal_id",
        unique=True,
        postgresql_where=text("ended_at IS NULL"),
        postgresql_nulls_not_distinct=True,
    ),
    Index("ix_outages_operator_id_ended_at", "operator_id", "ended_at"),
    comment="When a charge point could not charge, or a terminal was away; availability is the rest of the time.",
)
