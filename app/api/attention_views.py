"""Response bodies about attention items. Why a session needs one, and who acknowledged it."""

from app.api.money_views import rfc3339
from app.domain.reconciliation.at_risk import at_risk_minor
from app.domain.session.attention import Attention, row_of
from app.domain.session.payment_session import PaymentSession


def attention_fields(session: PaymentSession) -> list[dict[str, object]]:
    """Returns the fields of every AttentionOut of a session."""
    return [_item(session, item) for item in session.attention]


def _item(session: PaymentSession, item: Attention) -> dict[str, object]:
    seen, row = item.acknowledged, row_of(item.code)
    return {
        "code": item.code,
        "severity": row.severity,
        "detail": item.detail,
        "what_to_do": row.action,
        "amount_at_risk": at_risk_minor(session, item),
        "since": rfc3339(item.since or session.updated_at),
        "acknowledged": {"at": rfc3339(seen.at), "by": seen.by, "note": seen.note} if seen else None,
    }
