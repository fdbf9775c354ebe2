"""Learns charge points' profile, price and currency from saved sessions."""

from collections.abc import Sequence
from decimal import Decimal

from app.domain.limit.policy import Policy
from app.domain.session.learning import learned
from app.domain.session.payment_session import PaymentSession
from app.domain.session.settlement import SettlementBasis
from app.domain.units.ids import OperatorId
from app.store.db.connection import Connection
from app.store.operators import charge_points, currencies, price_groups
from app.store.operators.currencies import Charged

LEARN_FROM_WH = 500
"""Smaller charges teach no price: fees and rounding outweigh it."""


async def learn(
    connection: Connection, changes: Sequence[tuple[PaymentSession, PaymentSession]], policy: Policy
) -> None:
    """Writes what changed sessions show of their charge points. As pairs (before, after); most changes show nothing."""
    for before, after in changes:
        await _learn_profile(connection, before, after, policy)
        await _learn_price(connection, before, after)
    seen: dict[OperatorId, list[Charged]] = {}
    for before, after in changes:
        charged = _currency(before, after)
        if charged is not None:
            seen.setdefault(after.operator_id, []).append(charged)
    for operator_id in sorted(seen):
        await currencies.note(connection, operator_id, seen[operator_id])


async def _learn_profile(
    connection: Connection, before: PaymentSession, after: PaymentSession, policy: Policy
) -> None:
    """Learns from a session just settled by its final record."""
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
    """Learns the price a kWh, fees included. An estimate for sessions without a tariff."""
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


def _currency(before: PaymentSession, session: PaymentSession) -> Charged | None:
    """The charge's currency, once: later holds in another currency are refused."""
    charge = session.charge
    if charge is None or charge.named is None:
        return None
    if before.charge is not None and before.charge.currency == charge.currency:
        return None
    return currencies.charged(charge.named, session.charge_point_id)
