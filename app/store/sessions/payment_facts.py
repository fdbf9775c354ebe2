"""Loads all that decides about new payments, in one statement."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Text, bindparam, literal_column, select, true

from app.domain.charging.charge_point import CurrentType
from app.domain.session.limit_checks import CurrencyStatement
from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargePointId, OperatorId, TerminalId
from app.store.db.connection import Connection, Row
from app.store.db.documents import as_text
from app.store.db.statements import by_column, given_rows
from app.store.operators import currencies, price_groups
from app.store.operators.charge_points import PRICE_GROUP, TariffFound, configured_tariff
from app.store.tables import (
    charge_points,
    hold_policies,
    holds,
    operators,
    payment_sessions,
    tariffs,
    terminal_charge_points,
)
from app.store.tables import price_groups as groups


@frozen(kw_only=True)
class PaymentKeys:
    """What names the things that a payment depends on."""

    operator_id: OperatorId
    terminal_id: TerminalId
    charge_point_id: ChargePointId
    reference: str
    idempotency_key: str | None
    card_brand: str | None


@frozen(kw_only=True)
class PaymentFacts:
    """What is known when a payment comes in."""

    is_known: bool
    """A hold with this reference, or a session with this Idempotency-Key, is recorded already."""
    credential_problem: str | None
    """Monta refuses the operator's credential permanently."""
    is_disabled: bool
    """Operations take no new payments of the operator."""
    is_assigned: bool
    """The charge point belongs to the terminal."""
    is_seen: bool
    """Monta has shown the charge point; else type and power are not known."""
    current_type: CurrentType | None
    max_power_w: int | None
    tariff: TariffFound | None
    """In force: the charge point's, else the operator's, else of Monta's price group."""
    currencies: Sequence[CurrencyStatement]
    learned_kwh_price: Decimal | None
    learned_currency: str | None
    hold_days: int | None
    """By the policy for the card's scheme, else for all others; None: the default."""
    top_up_max_minor: int | None
    hold_max_eur: int | None
    least_capture_minor: int
    least_energy_wh: int
    time_zone: str


async def load(connection: Connection, payments: Sequence[PaymentKeys], now: datetime) -> list[PaymentFacts]:
    """The facts for each of these payments, in their order."""
    rows = [_named(payment) for payment in payments]
    if len(rows) == 1:
        found = await connection.execute(_LOAD_ONE, rows[0])
    else:
        found = await connection.execute(_LOAD, by_column(rows, _NAMES))
    return [_facts(row, now) for row in found]


def _named(payment: PaymentKeys) -> dict[str, str | None]:
    return {
        "operators": payment.operator_id,
        "terminals": payment.terminal_id,
        "points": payment.charge_point_id,
        "references": payment.reference,
        "keys": payment.idempotency_key,
        "brands": (payment.card_brand or "").lower(),
    }


def _facts(row: Row, now: datetime) -> PaymentFacts:
    set_here = configured_tariff(
        (
            ("charge_point", row["own_tariff"], row["own_set_at"]),
            ("operator", row["general_tariff"], row["general_set_at"]),
        ),
        now,
    )
    of_group = price_groups.group_tariff(row["group_tariff"], row["group_gaps"], row["group_read_at"], now)
    converted = None
    if of_group is not None:
        converted = TariffFound(
            tariff=of_group.tariff, source=PRICE_GROUP, gaps=of_group.gaps, as_of=of_group.read_at
        )
    return PaymentFacts(
        is_known=row["hold_session"] is not None or row["key_session"] is not None,
        credential_problem=row["access_problem"],
        is_disabled=row["disabled_at"] is not None,
        is_assigned=row["assigned"] is not None,
        is_seen=row["seen_at"] is not None,
        current_type=CurrentType(row["current_type"]) if row["current_type"] else None,
        max_power_w=row["max_power_w"],
        tariff=set_here or converted,
        currencies=currencies.of_row(row, set_here, now),
        learned_kwh_price=row["learned_kwh_price"],
        learned_currency=row["learned_currency"],
        hold_days=row["hold_days"],
        top_up_max_minor=row["top_up_max_minor"],
        hold_max_eur=row["hold_max_eur"],
        least_capture_minor=row["least_capture_minor"],
        least_energy_wh=row["least_energy_wh"],
        time_zone=row["time_zone"],
    )


def _one(*columns: Any, where: Sequence[ColumnElement[bool]], order: Any = None) -> Any:
    """Selects at most one row for each payment. Found by an index whatever the sizes of tables are."""
    query = select(*columns).where(*where).limit(literal_column("1"))
    return (query if order is None else query.order_by(order)).lateral()


_NAMES = ("operators", "terminals", "points", "references", "keys", "brands")


def _load(given: Any) -> Any:
    """Selects the facts for each row of `given`, whose columns are _NAMES."""
    parts = (*_of_operator(given.c), *_of_charge_point(given.c), *_of_earlier_calls(given.c))
    source: FromClause = given
    for part in parts:
        source = source.outerjoin(part, true())
    columns = [column for part in parts for column in part.c if column.name != "price_group_id"]
    return select(*columns).select_from(source)


def _of_operator(n: Any) -> Iterator[Any]:
    o, p, t = operators.c, hold_policies.c, tariffs.c
    yield _one(
        *(o.access_problem, o.top_up_max_minor, o.hold_max_eur, o.least_capture_minor, o.least_energy_wh),
        o.time_zone,
        o.disabled_at,
        where=[o.id == n.operators],
    )
    yield _one(
        p.days.label("hold_days"),
        where=[p.operator_id == n.operators, (p.brand == n.brands) | (p.brand == "")],
        order=p.brand.desc(),
    )
    yield _one(
        as_text(t.tariff).label("general_tariff"),
        t.set_at.label("general_set_at"),
        where=[t.operator_id == n.operators, t.charge_point_id == ""],
    )


def _of_charge_point(n: Any) -> Iterator[Any]:
    c, g, t, links = charge_points.c, groups.c, tariffs.c, terminal_charge_points.c
    yield _one(
        links.terminal_id.label("assigned"),
        where=[links.terminal_id == n.terminals, links.charge_point_id == n.points],
    )
    point = _one(
        *(c.seen_at, c.current_type, c.max_power_w, c.price_group_id),
        *(c.learned_kwh_price, c.learned_currency, c.charged_currency, c.charged_at),
        where=[c.operator_id == n.operators, c.charge_point_id == n.points],
    )
    yield point
    yield _one(
        as_text(g.tariff).label("group_tariff"),
        g.gaps.label("group_gaps"),
        g.read_at.label("group_read_at"),
        g.currency.label("group_currency"),
        where=[g.operator_id == n.operators, g.price_group_id == point.c.price_group_id],
    )
    yield _one(
        as_text(t.tariff).label("own_tariff"),
        t.set_at.label("own_set_at"),
        where=[t.operator_id == n.operators, t.charge_point_id == n.points],
    )


def _of_earlier_calls(n: Any) -> Iterator[Any]:
    h, s = holds.c, payment_sessions.c
    yield _one(
        h.session_id.label("hold_session"),
        where=[h.terminal_id == n.terminals, h.reference == n.references],
    )
    yield _one(
        s.id.label("key_session"), where=[s.terminal_id == n.terminals, s.idempotency_key == n["keys"]]
    )


_MANY = given_rows(dict.fromkeys(_NAMES, operators.c.id), "place")
_LOAD = _load(_MANY).order_by(_MANY.c.place)
_LOAD_ONE = _load(select(*(bindparam(name, type_=Text).label(name) for name in _NAMES)).subquery())
"""A statement of its own: PostgreSQL makes a plan for an unknown number of payments anew each time, which takes longer
than executing it; one for a single payment it makes once."""
