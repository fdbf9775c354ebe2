"""Lays out reconciliation as CSV: one row a session."""

from app.domain.reconciliation.report import DayReport, ReconciledSession
from app.domain.units.csv_text import csv_text

SESSION_COLUMNS = (
    *(
        "operator_id",
        "terminal_id",
        "session_id",
        "authorization_reference",
        "display_reference",
        "charge_point_id",
    ),
    *("charge_id", "created_at", "status", "currency", "authorized", "captured", "released", "open", "above"),
    *("settled", "monta_price", "energy_wh", "differences", "at_stake"),
)
"""Amounts in minor units of `currency`."""


def sessions_csv(report: DayReport) -> str:
    """Every session of the day, whether its sides agree or not."""
    return csv_text(SESSION_COLUMNS, map(_row, report.sessions))


def _row(found: ReconciledSession) -> tuple[object, ...]:
    session, money = found.session, found.balance
    return (
        session.operator_id,
        session.terminal_id,
        session.id,
        session.authorization.reference,
        session.display_reference,
        session.charge_point_id,
        session.charge.id if session.charge else None,
        session.created_at.isoformat(timespec="seconds"),
        session.status.value,
        money.currency,
        money.authorized_minor,
        money.captured_minor,
        money.released_minor,
        money.open_minor,
        money.above_minor,
        money.settled_minor,
        money.monta_minor,
        session.energy_wh,
        " ".join(d.kind for d in found.differences),
        found.at_stake_minor,
    )
