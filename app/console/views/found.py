"""What lists show of a session, on pages and in CSV files."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from app.console.views.troubles import HARMLESS, differences_of
from app.domain.limit.policy import Policy
from app.domain.session.limit import amount_used_minor
from app.domain.session.payment_session import PaymentSession
from app.domain.units.csv_text import csv_text
from app.domain.units.frozen import frozen
from app.flows.console.search import Found

CSV_COLUMNS = (
    *("session_id", "display_reference", "authorization_reference", "created_at", "status", "operator"),
    *("terminal_id", "terminal", "charge_point_id", "charge_point", "charge_id", "card_last4", "currency"),
    *("authorized", "used", "to_capture", "to_release", "shortfall", "settlement_status", "energy_wh"),
    *("stop_reason", "needs_attention", "attention", "differences"),
)
"""Amounts in minor units of `currency`."""


@frozen(kw_only=True)
class FoundRow:
    """One session of a list. Amounts in minor units."""

    id: str
    reference: str
    status: str
    created_at: datetime
    operator: str
    terminal: str
    point: str
    card: str
    currency: str
    authorized: int
    used: int
    to_capture: int | None
    to_release: int | None
    shortfall: int
    settlement: str | None
    energy_wh: int
    attention: str
    needs_attention: bool
    differences: str
    """Kinds of differences between hold, PSP and Monta, without those that are harmless."""


def found_rows(found: Found, policy: Policy) -> list[FoundRow]:
    return [_row(session, found, policy) for session in found.sessions]


def _row(session: PaymentSession, found: Found, policy: Policy) -> FoundRow:
    settled, names = session.settlement, found.names
    differ = {d.kind for d in differences_of(session, found.captures.get(session.id, ()), policy, found.now)}
    point = names.points.get((session.operator_id, session.charge_point_id))
    return FoundRow(
        id=session.id,
        reference=session.display_reference,
        status=session.status,
        created_at=session.created_at,
        operator=names.operators.get(session.operator_id, session.operator_id),
        terminal=names.terminals.get(session.terminal_id, session.terminal_id),
        point=f"{session.charge_point_id} {point}" if point else session.charge_point_id,
        card=session.authorization.card.last4 or "",
        currency=session.authorization.currency,
        authorized=session.authorized_minor,
        used=amount_used_minor(session, policy),
        to_capture=settled.to_capture_minor if settled else None,
        to_release=settled.to_release_minor if settled else None,
        shortfall=settled.shortfall_minor if settled else 0,
        settlement=settled.status if settled else None,
        energy_wh=settled.energy_wh if settled else session.energy_wh,
        attention=" ".join(sorted({a.code for a in session.attention if a.acknowledged is None})),
        needs_attention=session.needs_attention,
        differences=" ".join(sorted(differ - HARMLESS)),
    )


def found_csv(pages: Iterable[Found], policy: Policy) -> str:
    """Writes all sessions of these pages as CSV, one a row. Texts that a spreadsheet would run are made harmless."""
    return csv_text(CSV_COLUMNS, (_cells(s, page, policy) for page in pages for s in page.sessions))


def _cells(session: PaymentSession, found: Found, policy: Policy) -> Sequence[object]:
    row = _row(session, found, policy)
    return (
        row.id,
        row.reference,
        session.authorization.reference,
        row.created_at.isoformat(timespec="seconds"),
        row.status,
        row.operator,
        session.terminal_id,
        row.terminal,
        session.charge_point_id,
        found.names.points.get((session.operator_id, session.charge_point_id)),
        session.charge.id if session.charge else None,
        row.card,
        row.currency,
        row.authorized,
        row.used,
        row.to_capture,
        row.to_release,
        row.shortfall,
        row.settlement,
        row.energy_wh,
        session.stop_reason,
        row.needs_attention,
        row.attention,
        row.differences,
    )
