"""What the page Live shows of one session. Flat values, the same for the first page and for each update."""

from datetime import datetime
from typing import TypedDict

from app.console.views.formats import NOTHING, amount, epoch_ms, kw, kwh, words
from app.domain.charging.charge import ChargeState
from app.domain.limit.policy import Policy
from app.domain.session.limit import amount_used_minor, expected_end
from app.domain.session.payment_session import PaymentSession
from app.domain.units.control_chars import escaped
from app.store.operators.names import Names

LEAST_S = 45
"""Power is measured over this time at least where there are readings, so that rounding blurs it less."""


class Row(TypedDict):
    """One session. Times in milliseconds since 1970 for the browser to count on from; everything else is text."""

    id: str
    version: int
    order: int
    """Rows are sorted by it, the least first."""
    tone: str
    status: str
    point: str
    place: str
    reference: str
    used_minor: int
    authorized_minor: int
    used: str
    authorized: str
    energy: str
    power: str
    limit_at: int | None
    news_at: int | None
    news: str
    attention: str


FIRST = 10**15
"""Sorts sessions that need attention before all others; larger than any time in milliseconds."""


def row_of(session: PaymentSession, names: Names, policy: Policy) -> Row:
    """Builds the row of a session as it is."""
    currency = session.authorization.currency
    used_minor = amount_used_minor(session, policy)
    charge, settled = session.charge, session.settlement
    point = names.points.get((session.operator_id, session.charge_point_id))
    place = [names.terminals.get(session.terminal_id, ""), names.operators.get(session.operator_id, "")]
    return Row(
        id=session.id,
        version=session.version,
        order=-_ms(session.created_at) - (FIRST if session.needs_attention else 0),
        tone=_tone(session),
        status=words(session.status),
        point=escaped(f"{session.charge_point_id} {point}" if point else session.charge_point_id),
        place=escaped(" · ".join(filter(None, place))),
        reference=session.display_reference,
        used_minor=used_minor,
        authorized_minor=session.authorized_minor,
        used=amount(used_minor, currency),
        authorized=f"{amount(session.authorized_minor, currency)} {currency}",
        energy=kwh(settled.energy_wh if settled else session.energy_wh),
        power=kw(power_w(session)),
        limit_at=epoch_ms(expected_end(session, policy)),
        news_at=epoch_ms(charge.seen_at if charge else session.created_at),
        news=_news(session),
        attention=", ".join(sorted({words(a.code) for a in session.attention if a.acknowledged is None})),
    )


def power_w(session: PaymentSession) -> int | None:
    """The average power between the last readings. None: not known; 0 while nothing flows."""
    charge, points = session.charge, session.meter_history.points
    if charge is None or session.ended:
        return None
    if charge.ended or charge.state is ChargeState.PAUSED:
        return 0
    if charge.state is not ChargeState.CHARGING or len(points) < 2:
        return None
    last = points[-1]
    earlier = [p for p in points[:-1] if (last.at - p.at).total_seconds() >= LEAST_S] or [points[0]]
    seconds = (last.at - earlier[-1].at).total_seconds()
    return round((last.energy_wh - earlier[-1].energy_wh) * 3600 / seconds) if seconds > 0 else None


def _news(session: PaymentSession) -> str:
    """Where the newest facts came from, and Monta's own state."""
    charge, settled = session.charge, session.settlement
    if settled is not None:
        did = settled.to_capture_minor or settled.to_release_minor
        return f"{settled.action} {amount(did, session.authorization.currency)}, {settled.status}"
    if charge is None:
        return "terminal: authorized"
    source = "read" if charge.latest.from_record else "webhook"
    return f"{source}: {words(charge.state)}"


def _tone(session: PaymentSession) -> str:
    if session.needs_attention:
        return "warn"
    if session.ended:
        return "done"
    return "busy" if session.status in ("charging", "starting") else "calm"


def _ms(at: datetime) -> int:
    return epoch_ms(at) or 0


__all__ = ["NOTHING", "Row", "power_w", "row_of"]
