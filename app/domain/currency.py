"""In which currency a charge point charges, and what follows when a charge runs in another than its hold's."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from app.domain.attention import AttentionCode
from app.domain.change import Change, Source
from app.domain.charge import Charge, ChargeReport
from app.domain.money import is_currency
from app.domain.payment_session import PaymentSession


class Told(IntEnum):
    """Who says it, the surest first."""

    STATED = 1
    """A tariff that a person set, or the price group as Monta showed it lately."""
    SEEN = 2
    """What charges ran in, or a price group that could not be read for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrencyTold:
    """One word on the currency of a charge point, as of `at`."""

    code: str
    told: Told
    at: datetime


def contradiction(held: str, words: Iterable[CurrencyTold]) -> str | None:
    """The currency that speaks against a hold in `held`; None: none does, or nothing is known.

    Every statement must agree with the hold. What was only seen counts where nothing is stated, and then the newest
    alone, so that a site may change its currency. Codes that are no active currency say nothing.
    """
    known = [word for word in words if is_currency(word.code)]
    stated = [word for word in known if word.told is Told.STATED]
    seen = [word for word in known if word.told is Told.SEEN]
    counting = stated or ([max(seen, key=lambda word: word.at)] if seen else [])
    return next((word.code for word in counting if word.code != held), None)


def other_currency(session: PaymentSession, charge: Charge) -> str | None:
    """The currency that Monta shows for the charge when it is not the hold's; None: the hold's, or none is shown."""
    shown = charge.currency
    return shown if shown is not None and shown != session.authorization.currency else None


def priced(session: PaymentSession, charge: Charge) -> ChargeReport | None:
    """The newest report with a price, when that is in the currency of the hold."""
    return None if other_currency(session, charge) is not None else charge.priced


def currency_compared(change: Change, known: Charge, source: Source) -> Change:
    """Ask a person to look while the charge runs in another currency than the hold."""
    held, other = change.session.authorization.currency, other_currency(change.session, known)
    why = f"the charge runs in {other}, the hold is in {held}: it is stopped, and its price is never captured as it is"
    return change.set_attention(
        AttentionCode.OTHER_CURRENCY, None if other is None else why, source, about=other or ""
    )
