"""Says which payment sessions a query means, in plain values. Only the store turns it into SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, literal, or_

from app.domain.session.payment_session import ENDED_STATUSES, Status
from app.domain.session.settlement import SettlementStatus
from app.domain.units.ids import OperatorId, TerminalId
from app.store.db.statements import is_any, is_none_of
from app.store.sessions import holds
from app.store.tables import payment_sessions, settlements

P = payment_sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class CardTokens:
    """One card, or one account behind several cards: a session matches by either. Without both, none does."""

    fingerprint: str | None = None
    account_reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFilter:
    """Sessions for which everything that is given holds; None asks for nothing.

    Raises ValueError for a `hold_reference` without the terminal that it belongs to.
    """

    operator_id: OperatorId | None = None
    terminal_id: TerminalId | None = None
    charge_point_id: str | None = None
    charge_id: str | None = None
    charge_ids: Sequence[str] | None = None
    """Those whose own charge is one of these."""
    status: Status | None = None
    active: bool = False
    """Only those that have not ended."""
    occupying: bool = False
    """Only those of which a charge can still run at their charge point."""
    reference: str | None = None
    """The first authorization's."""
    hold_reference: str | None = None
    """Of any authorization that pays for the session, the first or a later one."""
    display_reference: str | None = None
    card: CardTokens | None = None
    card_last4: str | None = None
    needs_attention: bool | None = None
    settlement_status: SettlementStatus | None = None
    created_from: datetime | None = None
    """Inclusive."""
    created_before: datetime | None = None

    def __post_init__(self) -> None:
        if self.hold_reference is not None and self.terminal_id is None:
            raise ValueError("a hold's reference is unique within its terminal only")


EVERY_SESSION = SessionFilter()

_EQUAL = {
    "operator_id": P.c.operator_id,
    "terminal_id": P.c.terminal_id,
    "charge_point_id": P.c.charge_point_id,
    "charge_id": P.c.charge_id,
    "status": P.c.status,
    "reference": P.c.reference,
    "display_reference": P.c.display_reference,
    "card_last4": P.c.card_last4,
    "needs_attention": P.c.needs_attention,
    "settlement_status": settlements.c.status,
}


def conditions(wanted: SessionFilter) -> list[ColumnElement[bool]]:
    """The WHERE clause of a query over payment sessions joined to their settlements."""
    equal = [
        column == value for name, column in _EQUAL.items() if (value := getattr(wanted, name)) is not None
    ]
    return [*equal, *_of_kinds(wanted), *_of_payment(wanted)]


def is_active() -> ColumnElement[bool]:
    return is_none_of(P.c.status, sorted(ENDED_STATUSES))


def _of_kinds(wanted: SessionFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.active:
        found.append(is_active())
    if wanted.occupying:
        found.append(P.c.occupies_charge_point)
    if wanted.charge_ids is not None:
        found.append(is_any(P.c.charge_id, wanted.charge_ids))
    if wanted.created_from is not None:
        found.append(P.c.created_at >= wanted.created_from)
    if wanted.created_before is not None:
        found.append(P.c.created_at < wanted.created_before)
    return found


def _of_payment(wanted: SessionFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.hold_reference is not None and wanted.terminal_id is not None:
        found.append(P.c.id.in_(holds.session_ids(wanted.terminal_id, wanted.hold_reference)))
    if wanted.card is not None:
        tokens = (
            (P.c.card_fingerprint, wanted.card.fingerprint),
            (P.c.card_account_reference, wanted.card.account_reference),
        )
        found.append(or_(literal(False), *(column == value for column, value in tokens if value is not None)))
    return found
