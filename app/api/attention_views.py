"""Response bodies about attention items. Why a session needs one, and who acknowledged it."""

from pydantic import BaseModel, Field

from app.api.money_views import Moment, rfc3339
from app.domain.reconciliation.at_risk import at_risk_minor
from app.domain.session.attention import Attention, Severity, row_of
from app.domain.session.payment_session import PaymentSession


class AcknowledgedOut(BaseModel):
    at: Moment
    by: str
    note: str


class AttentionOut(BaseModel):
    code: str = Field(description="stable, snake_case; new ones may come")
    severity: Severity = Field(
        description="critical: act now; warning: the same day; info: at the next review"
    )
    detail: str = Field(description="explanation for operations")
    what_to_do: str
    amount_at_risk: int | None = Field(
        description="minor units that are lost, or may be, when nothing is done; null: not known"
    )
    since: Moment
    acknowledged: AcknowledgedOut | None = Field(
        description="by whom; it no longer counts as `needs_attention`"
    )


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
