"""Models of attention items."""

from pydantic import BaseModel, Field

from app.api.models.money import Moment
from app.domain.session.attention import Severity


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
