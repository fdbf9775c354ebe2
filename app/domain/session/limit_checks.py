"""Compares Monta's limits and currency with ours, and notes where they disagree."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from enum import IntEnum

from app.domain.charging.charge import Charge, ChargeReport
from app.domain.limit.monta_limits import MontaLimits
from app.domain.session.attention import AttentionCode
from app.domain.session.machine import Change, Source
from app.domain.session.payment_session import PaymentSession
from app.domain.session.states.journal import JournalKind
from app.domain.units.frozen import frozen
from app.domain.units.money import Rounding, is_currency, kwh_to_wh, to_major, to_minor


class StatementSource(IntEnum):
    """The source of a statement, the surest first."""

    STATED = 1
    """A configured tariff, or the price group as Monta showed it lately."""
    SEEN = 2
    """The currency of past charges, or a price group that could not be read for long."""


@frozen(kw_only=True)
class CurrencyStatement:
    """One statement on the currency of a charge point, as of `at`."""

    code: str
    source: StatementSource
    at: datetime


def contradiction(held: str, statements: Iterable[CurrencyStatement]) -> str | None:
    """The currency that contradicts a hold in `held`. None: there is none, or nothing is known."""
    known = [statement for statement in statements if is_currency(statement.code)]
    stated = [statement for statement in known if statement.source is StatementSource.STATED]
    seen = [statement for statement in known if statement.source is StatementSource.SEEN]
    counting = stated or ([max(seen, key=lambda statement: statement.at)] if seen else [])
    return next((statement.code for statement in counting if statement.code != held), None)


def other_currency(session: PaymentSession, charge: Charge) -> str | None:
    """Returns the charge's currency when it is not the hold's. None: it is the hold's, or Monta shows none."""
    shown = charge.currency
    return shown if shown is not None and shown != session.authorization.currency else None


def priced(session: PaymentSession, charge: Charge) -> ChargeReport | None:
    """Returns the newest report with a price in the hold's currency."""
    return None if other_currency(session, charge) is not None else charge.priced


def currency_compared(change: Change, known: Charge, source: Source) -> Change:
    """Raises attention while the charge runs in another currency than the hold."""
    held, other = change.session.authorization.currency, other_currency(change.session, known)
    why = f"the charge runs in {other}, the hold is in {held}: it is stopped, and its price is never captured as it is"
    return change.set_attention(
        AttentionCode.OTHER_CURRENCY, None if other is None else why, source, about=other or ""
    )


BLUR_WH = 10
"""Energy is shown in two decimals of a kWh."""


def compare_limits(change: Change, before: Charge | None, known: Charge, source: Source) -> Change:
    """Journals each new disagreement with Monta's limits once, when it begins."""
    change = _echo(change, before, known, source)
    if _above(change, known) and not (before is not None and _above(change, before)):
        change = change.note(
            JournalKind.PRICE_ABOVE_AUTHORIZATION,
            source,
            price=str(known.latest.price),
            authorized_minor=change.session.authorized_minor,
        )
    if _passed(change, known) and not (before is not None and _passed(change, before)):
        change = change.note(
            JournalKind.MONTAS_LIMIT_PASSED,
            source,
            price=_text(known.latest.price),
            price_limit=_text(known.latest.price_limit),
            energy_wh=known.energy_wh,
            kwh_limit=_text(known.latest.kwh_limit),
        )
    if by_montas_limit(known) and not (before is not None and by_montas_limit(before)):
        ours = change.session.stop is not None
        change = change.note(
            JournalKind.STOPPED_BY_MONTAS_LIMIT, source, after_our_stop=ours, energy_wh=known.energy_wh
        )
    return change


def by_montas_limit(charge: Charge) -> bool:
    """Whether Monta reports that one of its limits ended the charge."""
    return charge.ended and "limit" in (charge.latest.stop_reason or "").lower()


def _echo(change: Change, before: Charge | None, known: Charge, source: Source) -> Change:
    """Compares the limits that Monta shows with those sent. Missing ones are journaled once power flows."""
    sent = change.session.monta_limits
    shown = (known.latest.kwh_limit, known.latest.price_limit)
    if sent is None or known.ended or (sent.kwh_limit, sent.price_limit) == shown:
        return change
    if before is not None and shown == (before.latest.kwh_limit, before.latest.price_limit):
        return change
    return change.note(
        JournalKind.LIMITS_DIFFER,
        source,
        sent_kwh=_text(sent.kwh_limit),
        sent_price=_text(sent.price_limit),
        shown_kwh=_text(shown[0]),
        shown_price=_text(shown[1]),
        still_limits=sent.confirmed_by(*shown),
    )


def _passed(change: Change, charge: Charge) -> bool:
    """Whether a charge goes on beyond Monta's own limit. By more than rounding."""
    latest = charge.latest
    if charge.ended:
        return False
    blur = to_major(1, change.session.authorization.currency)
    if (
        latest.price is not None
        and latest.price_limit is not None
        and latest.price > latest.price_limit + blur
    ):
        return True
    return (
        latest.kwh_limit is not None and charge.energy_wh > kwh_to_wh(latest.kwh_limit, Rounding.UP) + BLUR_WH
    )


def _above(change: Change, charge: Charge) -> bool:
    session, price = change.session, charge.latest.price
    if price is None or other_currency(session, charge) is not None:
        return False
    return to_minor(price, session.authorization.currency, Rounding.HALF_UP) > session.authorized_minor


def _text(value: object) -> str | None:
    return None if value is None else str(value)


@frozen(kw_only=True)
class LimitsShown:
    """`own_limit_minor`: our watcher stops before the price passes it. Monta's two limits were sent at the start (its
    own echo counts when it is lower) and cannot be raised; None: there is none."""

    own_limit_minor: int
    monta_price_limit_minor: int | None
    monta_kwh_limit_wh: int | None

    @property
    def usable_minor(self) -> int:
        """The part of the authorization that the charge can use."""
        if self.monta_price_limit_minor is None:
            return self.own_limit_minor
        return min(self.own_limit_minor, self.monta_price_limit_minor)


def limits_shown(session: PaymentSession) -> LimitsShown:
    """The limits as of now; before the start Monta has none yet."""
    sent = session.monta_limits or MontaLimits(kwh_limit=None, price_limit=None)
    echo = session.charge.latest if session.charge else None
    price = _least(sent.price_limit, echo.price_limit if echo else None)
    kwh = _least(sent.kwh_limit, echo.kwh_limit if echo else None)
    currency = session.authorization.currency
    return LimitsShown(
        own_limit_minor=session.authorized_minor,
        monta_price_limit_minor=None if price is None else to_minor(price, currency, Rounding.DOWN),
        monta_kwh_limit_wh=None if kwh is None else kwh_to_wh(kwh, Rounding.DOWN),
    )


def _least(*limits: Decimal | None) -> Decimal | None:
    return min((limit for limit in limits if limit is not None), default=None)
