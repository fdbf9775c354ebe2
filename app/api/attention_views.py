"""Response bodies about attention: why a session needs a look, and who acknowledged it."""

from pydantic import BaseModel, Field

from app.api.money_views import Moment, rfc3339
from app.domain.session.attention import Attention
from app.domain.session.payment_session import PaymentSession


class AcknowledgedOut(BaseModel):
    at: Moment
    by: str
    note: str


class AttentionOut(BaseModel):
    code: str = Field(description="stable, snake_case; new ones may come")
    detail: str = Field(description="explanation for operations")
    since: Moment
    acknowledged: AcknowledgedOut | None = Field(
        description="by whom; it no longer counts as `needs_attention`"
    )


def attention_fields(session: PaymentSession) -> list[dict[str, object]]:
    """Returns the fields of every AttentionOut of a session."""
    return [_item(session, item) for item in session.attention]


def _item(session: PaymentSession, item: Attention) -> dict[str, object]:
    seen = item.acknowledged
    return {
        "code": item.code,
        "detail": item.detail,
        "since": rfc3339(item.since or session.updated_at),
        "acknowledged": {"at": rfc3339(seen.at), "by": seen.by, "note": seen.note} if seen else None,
    }
