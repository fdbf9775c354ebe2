"""Response bodies: sessions and charge points.

They are encoded without their models (`app/api/models`), which describe them in OpenAPI: a test compares the two.
"""

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from app.api.attention_views import attention_fields
from app.api.display import DEFAULT, session_display
from app.api.money_views import (
    authorizations_fields,
    limits_fields,
    price_out,
    rfc3339,
    settlement_fields,
)
from app.domain.charging.charge import Charge
from app.domain.limit.policy import Policy
from app.domain.session.limit import (
    amount_used,
    amount_used_minor,
    energy_limit_wh,
    expected_end,
    recent_power_w,
)
from app.domain.session.payment_session import PaymentSession
from app.domain.session.plausibility import started_at
from app.store.operators.charge_points import KnownChargePoint, TariffFound

ENCODER = msgspec.json.Encoder()
"""Writes what a terminal or operations get of a session; models describe it."""


def session_fields(
    session: PaymentSession, policy: Policy, used_minor: int, language: str = DEFAULT
) -> dict[str, object]:
    """Returns the fields of PaymentSessionOut; `used_minor` is the session's amount used."""
    held, authorized_minor = session.authorization, session.authorized_minor
    settled, charge, end = session.settlement, session.charge, expected_end(session, policy)
    return {
        "id": session.id,
        "version": session.version,
        "status": session.status,
        "charge_point_id": session.charge_point_id,
        "terminal_id": session.terminal_id,
        "display_reference": session.display_reference,
        "authorization_reference": held.reference,
        "currency": held.currency,
        "amount_authorized": authorized_minor,
        "amount_used": used_minor,
        "amount_remaining": authorized_minor - used_minor,
        "energy_wh": settled.energy_wh if settled else session.energy_wh,
        "energy_limit_wh": energy_limit_wh(session),
        "charge": _charge(charge) if charge else None,
        "start_deadline": rfc3339(session.start.deadline),
        "stop_reason": session.stop_reason,
        "not_started_reason": session.not_started_reason,
        "settlement": settlement_fields(session, settled) if settled else None,
        "needs_attention": session.needs_attention,
        "display": session_display(session, used_minor, language),
        "soc_limit": session.soc_limit,
        "power_w": recent_power_w(session),
        "state_of_charge": charge.latest.soc_percent if charge else None,
        "started_at": rfc3339(started_at(session, charge.latest, policy)) if charge else None,
        "expected_end": None if end is None else rfc3339(end),
        "created_at": rfc3339(session.created_at),
        "updated_at": rfc3339(session.updated_at),
    }


def session_json(session: PaymentSession, policy: Policy, language: str = DEFAULT) -> bytes:
    """Encodes a PaymentSessionOut."""
    return ENCODER.encode(session_fields(session, policy, amount_used_minor(session, policy), language))


def ops_session_json(session: PaymentSession, policy: Policy) -> bytes:
    """Encodes an OpsSessionOut."""
    latest = session.charge.latest if session.charge else None
    price: Decimal | None = None if latest is None else latest.price or latest.claimed_price or latest.price
    used = amount_used(session, policy)
    more: dict[str, object] = {
        "operator_id": session.operator_id,
        "card_brand": session.authorization.card.brand,
        "card_last4": session.authorization.card.last4,
        "attention": attention_fields(session),
        "amount_used_error": used.error_minor,
        "limits": limits_fields(session),
        "authorizations": authorizations_fields(session),
        "tariff_source": session.tariff_source,
        "tariff_gaps": session.tariff_gaps,
        "learned_kwh_price": None if session.learned_kwh_price is None else str(session.learned_kwh_price),
        "settlement_basis": session.settlement.basis if session.settlement else None,
        "stop_attempts": session.stop.attempts if session.stop else 0,
        "duplicate_charges": [
            {"id": e.id, "state": e.state, "seen_at": rfc3339(e.seen_at)} for e in session.duplicates
        ],
        "monta_price": None if price is None else str(price),
        "metadata": session.metadata,
    }
    return ENCODER.encode(session_fields(session, policy, used.amount_minor) | more)


def topped_up_json(session: PaymentSession, policy: Policy, language: str = DEFAULT) -> bytes:
    """Encodes a ToppedUpOut."""
    fields = session_fields(session, policy, amount_used_minor(session, policy), language)
    return ENCODER.encode(fields | {"limits": limits_fields(session)})


def page_json(items: Iterable[bytes], next_cursor: str | None = None) -> bytes:
    """Encodes a Page of encoded items."""
    return b'{"data":[%b],"next_cursor":%b}' % (b",".join(items), ENCODER.encode(next_cursor))


def charge_point_fields(point: KnownChargePoint, price: TariffFound | None) -> dict[str, object]:
    """Returns the fields of ChargePointOut."""
    seen = point.seen
    return {
        "id": point.id,
        "name": seen.name if seen else None,
        "state": seen.state if seen else None,
        "connectors": [{"name": name} for name in seen.connectors] if seen else [],
        "max_power_w": seen.max_power_w if seen else None,
        "price": price_out(price.tariff, price.as_of) if price else None,
    }


def _charge(charge: Charge) -> dict[str, object]:
    return {"id": charge.id, "state": charge.state, "seen_at": rfc3339(charge.seen_at)}
