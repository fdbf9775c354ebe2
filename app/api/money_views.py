"""Response bodies about money: holds, limits, settlements, prices."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from app.domain.session.limit_checks import limits_shown
from app.domain.session.payment_session import Held, PaymentSession
from app.domain.session.settlement import Settlement
from app.domain.tariff import Tariff
from app.domain.tariff.tax import tax_split

RECEIPT_URL = "https://receipt.monta.com"


def rfc3339(moment: datetime) -> str:
    """Formats as UTC with milliseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def settlement_fields(session: PaymentSession, settled: Settlement) -> dict[str, object]:
    """Returns the fields of SettlementOut. A list of one hold is left out: the other fields say the same."""
    shown: dict[str, object] = {
        "action": settled.action,
        "amount_to_capture": settled.to_capture_minor,
        "amount_to_release": settled.to_release_minor,
        "shortfall": settled.shortfall_minor,
        "deadline": rfc3339(settled.deadline),
        "status": settled.status,
        "attempts": settled.attempts,
        "retry_at": None if settled.retry_at is None else rfc3339(settled.retry_at),
        "energy_wh": settled.energy_wh,
        "receipt": {
            "date": settled.session_date.astimezone(UTC).date().isoformat(),
            "display_reference": session.display_reference,
            "card_last4": session.authorization.card.last4,
            "url": RECEIPT_URL,
        },
    }
    if taxes := tax_split(session.tariff, settled.to_capture_minor):
        shown["tax"] = [{"rate": _number(t.rate), "net": t.net_minor, "tax": t.tax_minor} for t in taxes]
    if len(settled.shares) > 1:
        shown["authorizations"] = [
            {
                "reference": share.reference,
                "amount": share.amount_minor,
                "amount_to_capture": share.to_capture_minor,
                "amount_to_release": share.to_release_minor,
                "status": share.status,
            }
            for share in settled.shares
        ]
    return shown


def limits_fields(session: PaymentSession) -> dict[str, object]:
    """Returns the fields of LimitsOut."""
    shown = limits_shown(session)
    return {
        "own_limit": shown.own_limit_minor,
        "monta_price_limit": shown.monta_price_limit_minor,
        "monta_kwh_limit": shown.monta_kwh_limit_wh,
        "amount_usable": shown.usable_minor,
    }


def authorizations_fields(session: PaymentSession) -> list[dict[str, object]]:
    """Returns a session's fields of every AuthorizationOut. The first hold first."""
    holds: tuple[Held, ...] = (session.authorization, *session.top_ups)
    return [
        {
            "reference": hold.reference,
            "amount": hold.present_minor,
            "expires_at": None if hold.ends_at is None else rfc3339(hold.ends_at),
        }
        for hold in holds
    ]


NOBODYS_COUNTRY, NOBODYS_PARTY = "XX", "TWT"
"""Default country and party of a tariff that names none, such as those of Monta's price groups."""

NUMBERS = frozenset(
    {
        *("price", "vat", "before_taxes", "after_taxes", "excl_vat", "incl_vat", "step_size"),
        *("min_kwh", "max_kwh", "min_current", "max_current", "min_power", "max_power"),
        *("min_duration", "max_duration"),
    }
)
"""Fields that are numbers in OCPI. A tariff may have been given with text in them."""


def price_out(tariff: Tariff, as_of: datetime | None) -> dict[str, object]:
    """Returns the tariff as it was given, completed. `as_of`: when it was set or read."""
    given = {name: _shown(name, value) for name, value in tariff.source.items() if value is not None}
    required: dict[str, object] = {
        "country_code": tariff.country_code or NOBODYS_COUNTRY,
        "party_id": tariff.party_id or NOBODYS_PARTY,
        "id": tariff.id or "tariff",
        "currency": tariff.currency,
        "tax_included": str(tariff.tax_included),
    }
    updated = {"last_updated": rfc3339(as_of)} if as_of is not None else {}
    return {**required, **updated, **given, "elements": [_element(e) for e in _objects(given["elements"])]}


def _element(element: Mapping[str, object]) -> dict[str, object]:
    components = [{"step_size": 1} | dict(c) for c in _objects(element["price_components"])]
    return {**element, "price_components": components}


def _objects(value: object) -> list[Mapping[str, object]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _shown(name: str, value: object) -> object:
    if isinstance(value, Mapping):
        return {inner: _shown(inner, child) for inner, child in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(name, child) for child in value]
    if isinstance(value, str) and name in NUMBERS and re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", value):
        return _number(Decimal(value))
    return _number(value) if isinstance(value, Decimal) else value


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)
