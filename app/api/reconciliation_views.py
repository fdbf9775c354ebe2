"""Response bodies of the reconciliation. A day's sums by terminal, and the sessions that differ."""

from datetime import date

from pydantic import BaseModel, Field

from app.api.models.money import Moment
from app.domain.reconciliation.balance import Balance
from app.domain.reconciliation.differences import MEANINGS, DifferenceKind
from app.domain.reconciliation.report import DayReport, ReconciledSession, Totals


class DifferenceOut(BaseModel):
    kind: DifferenceKind
    meaning: str
    amount: int = Field(
        description="at stake; above 0 the operator lacks it, below 0 the driver paid too much"
    )
    detail: str


class MoneyOut(BaseModel):
    """Minor units; `authorized + above = captured + released + open`."""

    currency: str
    amount_authorized: int
    amount_captured: int = Field(description="by the PSP's reports")
    amount_released: int
    amount_open: int = Field(description="neither captured nor released, as far as is reported")
    amount_above: int = Field(description="what the PSP moved beyond the authorization")
    amount_settled: int | None = Field(description="what Tapwatt settled to be captured")
    amount_monta: int | None = Field(description="Monta's final prices in this currency")


class TerminalTotalsOut(MoneyOut):
    operator_id: str
    terminal_id: str
    sessions: int
    differing: int = Field(description="sessions with at least one difference")


class DifferingSessionOut(MoneyOut):
    session_id: str
    terminal_id: str
    display_reference: str
    differences: list[DifferenceOut]


class ReconciliationOut(BaseModel):
    date: date
    as_of: Moment
    sessions: int
    totals: list[TerminalTotalsOut]
    differing: list[DifferingSessionOut] = Field(description="the largest amounts at stake first")


def reconciliation_out(found: DayReport) -> ReconciliationOut:
    """The report as its body."""
    return ReconciliationOut(
        date=found.day,
        as_of=found.as_of,
        sessions=len(found.sessions),
        totals=[
            TerminalTotalsOut(
                operator_id=t.operator_id,
                terminal_id=t.terminal_id,
                sessions=t.sessions,
                differing=t.differing,
                **_money(t).model_dump(),
            )
            for t in found.totals
        ],
        differing=[_session_out(s) for s in found.differing],
    )


def _session_out(found: ReconciledSession) -> DifferingSessionOut:
    return DifferingSessionOut(
        session_id=found.session_id,
        terminal_id=found.session.terminal_id,
        display_reference=found.session.display_reference,
        differences=[
            DifferenceOut(kind=d.kind, meaning=MEANINGS[d.kind], amount=d.amount_minor, detail=d.detail)
            for d in found.differences
        ],
        **_money(found.balance).model_dump(),
    )


def _money(of: Balance | Totals) -> MoneyOut:
    return MoneyOut(
        currency=of.currency,
        amount_authorized=of.authorized_minor,
        amount_captured=of.captured_minor,
        amount_released=of.released_minor,
        amount_open=of.open_minor,
        amount_above=of.above_minor,
        amount_settled=of.settled_minor,
        amount_monta=of.monta_minor,
    )
