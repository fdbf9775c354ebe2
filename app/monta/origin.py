"""Who started a charge, as Monta's record shows it: the generic payment session and the paying team."""

from app.domain.orphan import Origin
from app.monta.fields import Fields
from app.monta.safe_json import JsonIn

LAST4_CHARS = 4


def read_origin(value: JsonIn) -> Origin:
    """Of a Charge object (reference, Charges); what is missing or odd is None."""
    f = Fields(value if isinstance(value, dict) else {})
    session = f.object("genericPaymentSession")
    last4 = session.text("cardLast4", max_chars=100)
    return Origin(
        provider=session.text("provider", max_chars=100),
        display_reference=session.text("externalId", max_chars=100),
        card_last4=last4 if last4 and len(last4) == LAST4_CHARS and last4.isdigit() else None,
        paying_team_id=f.object("payingTeam").id("id"),
    )
