"""What a session's page shows of what was read."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from app.console.views.chart import chart_of
from app.console.views.timeline import TimelineEntry, timeline_of
from app.console.views.troubles import hold_until, troubles_of
from app.domain.limit.policy import Policy
from app.domain.reconciliation.at_risk import at_risk_minor
from app.domain.session.attention import row_of
from app.domain.session.limit import amount_used_minor, expected_end
from app.domain.session.limit_checks import limits_shown
from app.domain.session.payment_session import PaymentSession
from app.domain.session.settle import may_be_settled_by_person
from app.domain.units.money import exponent
from app.flows.console.session import SessionRead
from app.flows.terminal.request_stop import STOPPABLE

PARTS = ("head", "notices", "amounts", "chart", "acts", "facts")
"""Parts of the page that change as a whole; each is a template. The time line only grows."""
MOST_TOLD = 5


def values_of(read: SessionRead, policy: Policy) -> dict[str, Any]:
    """Returns what the page's templates need."""
    session = read.session
    return {
        "s": session,
        "used": amount_used_minor(session, policy),
        "energy_wh": session.settlement.energy_wh if session.settlement else session.energy_wh,
        "expected_end": expected_end(session, policy),
        "limits": limits_shown(session),
        "monta_price": _monta_price(session),
        "names": read.names,
        "items": [(item, row_of(item.code), at_risk_minor(session, item)) for item in session.attention],
        "troubles": troubles_of(read, policy),
        "hold_until": hold_until(session, policy),
        "captures": read.captures,
        "chart": chart_of(session, read.lines, policy, read.now),
        "timeline": timeline_of(read.lines, session.created_at, session.authorization.currency),
        "cut": read.cut,
        "goes_on": read.goes_on,
        "now": read.now,
        "may_stop": session.status in STOPPABLE and session.stop_request is None,
        "may_settle": may_be_settled_by_person(session),
        "may_close": not session.ended,
        "decimals": exponent(session.authorization.currency),
    }


def told(lines: Sequence[TimelineEntry]) -> str:
    """Says the newest decisions among these lines in words: `status changed: charging to stopping`."""
    decided = [line for line in lines if line.sort == "decision"][-MOST_TOLD:]
    return "; ".join(_told(line) for line in decided)


def _told(line: TimelineEntry) -> str:
    facts = dict(line.facts)
    if "old" in facts and "new" in facts:
        return f"{line.title}: {facts['old']} to {facts['new']}"
    why = facts.get("code") or facts.get("reason") or facts.get("action")
    return f"{line.title}: {why}" if why else line.title


def _monta_price(session: PaymentSession) -> Decimal | None:
    """Returns the price that Monta showed last, in major units. Also one that was set aside."""
    latest = session.charge.latest if session.charge else None
    if latest is None:
        return None
    return latest.price if latest.price is not None else latest.claimed_price
