"""Tables of the usual way, as SQLAlchemy's ORM has them."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import BigInteger, DateTime, ForeignKey, Index, Numeric, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Operator(Base):
    __tablename__ = "operators"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    webhook_endpoint: Mapped[str] = mapped_column(String, unique=True)
    webhook_secret: Mapped[str]


class Terminal(Base):
    __tablename__ = "terminals"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    operator_id: Mapped[str] = mapped_column(ForeignKey("operators.id"))
    key_hash: Mapped[str] = mapped_column(String, unique=True)


class ChargePoint(Base):
    __tablename__ = "charge_points"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    operator_id: Mapped[str] = mapped_column(ForeignKey("operators.id"))
    terminal_id: Mapped[str] = mapped_column(ForeignKey("terminals.id"))
    kwh_price: Mapped[Decimal] = mapped_column(Numeric)
    max_power_w: Mapped[int]


class PaymentSession(Base):
    __tablename__ = "payment_sessions"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    operator_id: Mapped[str] = mapped_column(ForeignKey("operators.id"))
    terminal_id: Mapped[str] = mapped_column(ForeignKey("terminals.id"))
    charge_point_id: Mapped[str] = mapped_column(ForeignKey("charge_points.id"), index=True)
    reference: Mapped[str] = mapped_column(String, unique=True)
    display_reference: Mapped[str]
    card_brand: Mapped[str | None]
    card_last4: Mapped[str | None] = mapped_column(index=True)
    card_fingerprint: Mapped[str | None]
    amount_authorized: Mapped[int] = mapped_column(BigInteger)
    amount_used: Mapped[int] = mapped_column(BigInteger, default=0)
    currency: Mapped[str]
    status: Mapped[str] = mapped_column(index=True)
    charge_id: Mapped[str | None] = mapped_column(unique=True)
    charge_state: Mapped[str | None]
    charge_updated_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    energy_wh: Mapped[int] = mapped_column(BigInteger, default=0)
    price: Mapped[Decimal | None] = mapped_column(Numeric)
    amount_to_capture: Mapped[int | None] = mapped_column(BigInteger)
    stop_reason: Mapped[str | None]
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    __table_args__ = (Index("ix_created", "created_at", "id"),)
