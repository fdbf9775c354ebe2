"""Two guards that check each other: where Monta's limits and ours do not agree, the journal says so."""

from app.domain.change import Change, Source
from app.domain.charge import Charge
from app.domain.currency import other_currency
from app.domain.energy import kwh_to_wh
from app.domain.money import Rounding, to_major, to_minor

BLUR_WH = 10
"""Energy is shown in two decimals of a kWh."""


def compared(change: Change, before: Charge | None, known: Charge, source: Source) -> Change:
    """Note what has come to disagree with this report: each disagreement once, when it begins."""
    change = _echo(change, before, known, source)
    if _above(change, known) and not (before is not None and _above(change, before)):
        change = change.note(
            "price_above_reservation",
            source,
            price=str(known.latest.price),
            reserved_minor=change.session.reserved_minor,
        )
    if _passed(change, known) and not (before is not None and _passed(change, before)):
        change = change.note(
            "montas_limit_passed",
            source,
            price=_text(known.latest.price),
            price_limit=_text(known.latest.price_limit),
            energy_wh=known.energy_wh,
            kwh_limit=_text(known.latest.kwh_limit),
        )
    if by_montas_limit(known) and not (before is not None and by_montas_limit(before)):
        ours = change.session.stop is not None
        change = change.note(
            "stopped_by_montas_limit", source, after_our_stop=ours, energy_wh=known.energy_wh
        )
    return change


def by_montas_limit(charge: Charge) -> bool:
    """Whether Monta says that one of its limits ended the charge."""
    return charge.ended and "limit" in (charge.latest.stop_reason or "").lower()


def _echo(change: Change, before: Charge | None, known: Charge, source: Source) -> Change:
    """What Monta shows of the limits that it was asked for; silence about them is told when power flows."""
    sent = change.session.limits
    shown = (known.latest.kwh_limit, known.latest.price_limit)
    if sent is None or known.ended or (sent.kwh_limit, sent.price_limit) == shown:
        return change
    if before is not None and shown == (before.latest.kwh_limit, before.latest.price_limit):
        return change
    return change.note(
        "limits_differ",
        source,
        sent_kwh=_text(sent.kwh_limit),
        sent_price=_text(sent.price_limit),
        shown_kwh=_text(shown[0]),
        shown_price=_text(shown[1]),
        still_guards=sent.confirmed_by(*shown),
    )


def _passed(change: Change, charge: Charge) -> bool:
    """Whether Monta shows more than its own limit, by more than rounding, and the charge goes on."""
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
    return to_minor(price, session.authorization.currency, Rounding.HALF_UP) > session.reserved_minor


def _text(value: object) -> str | None:
    return None if value is None else str(value)
