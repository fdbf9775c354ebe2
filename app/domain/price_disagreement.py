"""Monta's running price against the tariff: when it is above all that the tariff allows, the journal says so."""

from decimal import Decimal

from app.domain.change import Change, Source
from app.domain.charge import Charge
from app.domain.currency import other_currency
from app.domain.limit_watch import reading_of, zone
from app.domain.money import to_major
from app.domain.policy import Policy
from app.domain.power_bound import max_power_w
from app.domain.tariff import upper_bound


def price_compared(
    change: Change, before: Charge | None, known: Charge, source: Source, policy: Policy
) -> Change:
    """Noted once, when it begins; from then on the plan counts from Monta's price (basis `reported_price`)."""
    if before is not None and before.latest.price == known.latest.price:
        return change
    most = _passed(change, known, policy)
    if most is None or (before is not None and _passed(change, before, policy) is not None):
        return change
    return change.note(
        "price_above_tariff", source, price=str(known.latest.price), most_by_tariff=f"{most:.4f}"
    )


def _passed(change: Change, charge: Charge, policy: Policy) -> Decimal | None:
    """The tariff's most for this energy and time, where Monta's running price is above it by more than rounding."""
    session, price = change.session, charge.latest.price
    tariff, currency = session.tariff, session.authorization.currency
    if tariff is None or price is None or tariff.currency != currency or charge.ended:
        return None
    if other_currency(session, charge) is not None:
        return None
    power_w = max_power_w(session, policy)
    reading = reading_of(session, charge, policy, power_w)
    most = upper_bound(tariff, reading, charge.seen_at, power_w, zone(session.time_zone))
    return most if price > most + to_major(1, currency) else None
