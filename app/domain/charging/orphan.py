"""Decides whether a charge without a session was started by us."""

import re
from collections.abc import Collection
from datetime import datetime, timedelta

from app.domain.charging.charge import ChargeReport
from app.domain.units.frozen import frozen

SESSION_REFERENCE = re.compile("ps_[0-9a-hjkmnp-tv-z]{26}")
"""The form of a session's id (a ULID), which is Monta's `partnerExternalId` of its charge."""


YOUNG = timedelta(minutes=3)
"""A younger charge may be of a session that is still being recorded."""


@frozen(kw_only=True)
class Origin:
    """Who started a charge, as Monta shows it. `card_last4` and `display_reference` help operations to find the
    driver."""

    provider: str | None = None
    display_reference: str | None = None
    card_last4: str | None = None
    paying_team_id: str | None = None


@frozen
class ListedCharge:
    """A charge from Monta's list."""

    report: ChargeReport
    origin: Origin


def is_young(report: ChargeReport, now: datetime) -> bool:
    """Whether the charge was created a moment ago. A date further off, on either side, is another clock's error and
    must not delay an orphan's stop for ever."""
    return report.created_at is not None and abs(now - report.created_at) < YOUNG


def has_our_form(reference: str | None) -> bool:
    return reference is not None and SESSION_REFERENCE.fullmatch(reference) is not None


def objection_to(charge: ListedCharge, providers: Collection[str], paying_team_id: str) -> str | None:
    """Returns why a charge with our reference may be another system's. None: it is proved to be ours. Both the provider
    and the paying team must be shown, and be those of the operator's terminals and account."""
    origin = charge.origin
    if origin.provider not in providers:
        return f"its provider is {origin.provider or 'not shown'}, which no terminal here has"
    if origin.paying_team_id != paying_team_id:
        return f"it is paid by team {origin.paying_team_id or 'unknown'}, not by ours"
    return None
