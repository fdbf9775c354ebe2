"""Learns from a session as it is saved: its charge point's profile, price and currency."""

from decimal import Decimal

from app.domain.limit.policy import Policy
from app.domain.session.learning import learned
from app.domain.session.payment_session import PaymentSession
from app.domain.session.settlement import SettlementBasis
from app.store.db.connection import Connection
from app.store.operators import charge_points, currencies, price_groups

LEARN_FROM_WH = 500
"""Smaller charges teach no price: fees and rounding outweigh it."""


async def learn(
    connection: Connection, before: PaymentSession, after: PaymentSession, policy: Policy
) -> None:
    """Writes what this change of the session says about its charge point; most changes say nothing."""
    await _learn_profile(connection, before, after, policy)
    await _learn_price(connection, before, after)
    await _learn_currency(connection, before, after)


async def _learn_profile(
    connection: Connection, before: PaymentSession, after: PaymentSession, policy: Policy
) -> None:
    """Learns about the charge point from a session just settled by its final record."""
    settlement = after.settlement
    if settlement is None or before.settlement is not None or after.charge is None:
        return
    if settlement.basis is not SettlementBasis.FINAL_PRICE:
        return
    place = (after.operator_id, after.charge_point_id)
    known = await charge_points.profile_of(connection, *place)
    taught = learned(known, after, policy)
    if taught != known:
        await charge_points.put_profile(connection, *place, taught)


async def _learn_price(connection: Connection, before: PaymentSession, session: PaymentSession) -> None:
    """Learns the price a kWh, fees included: an estimate for sessions without a tariff."""
    settled, charge = session.settlement, session.charge
    if settled is None or before.settlement is not None or charge is None:
        return
    price = charge.latest.price
    if settled.basis is not SettlementBasis.FINAL_PRICE or settled.energy_wh < LEARN_FROM_WH:
        return
    if price is None or price <= 0 or settled.shortfall_minor:
        return
    await price_groups.learn_price(
        connection,
        session.operator_id,
        session.charge_point_id,
        kwh_price=(price * 1000 / settled.energy_wh).quantize(Decimal("0.0001")),
        currency=session.authorization.currency,
    )


async def _learn_currency(connection: Connection, before: PaymentSession, session: PaymentSession) -> None:
    """Learns the charge's currency, once: later holds in another currency are refused."""
    charge = session.charge
    if charge is None or charge.named is None:
        return
    if before.charge is not None and before.charge.currency == charge.currency:
        return
    seen = currencies.charged(charge.named, session.charge_point_id)
    await currencies.note(connection, session.operator_id, [] if seen is None else [seen])
