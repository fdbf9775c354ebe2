"""Converts a payment session to a row, and back. One JSON document, and columns for keys and searches."""

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Any

import msgspec

from app.domain.evidence.erasure import is_personal
from app.domain.limit.meter import MeterHistory
from app.domain.limit.policy import Policy
from app.domain.session.limit import is_used_whatever_the_power
from app.domain.session.payment_session import Authorization, PaymentSession, Reads, Start
from app.domain.session.settlement import (
    HoldShare,
    Settlement,
    SettlementAction,
    SettlementBasis,
    SettlementStatus,
)
from app.domain.session.states.journal import JournalHead
from app.domain.session.states.kept_readings import KeptReadings, Newest, with_kept, with_newest
from app.store.db.connection import Row
from app.store.db.documents import RawJson, to_document
from app.store.parsed_tariffs import parsed_tariff

_SESSION = msgspec.json.Decoder(PaymentSession)
NEWEST = msgspec.json.Decoder(Newest)
_SHARES = msgspec.json.Decoder(tuple[HoldShare, ...])


def to_row(session: PaymentSession, journal: JournalHead | None = None) -> dict[str, Any]:
    """The columns that every save writes. `journal`: the end of its chain, where that is newer than the session's.

    Tariff and settlement are stored separately: the one as it was given, the other under its own constraints.
    """
    return {
        "status": session.status,
        "version": session.version,
        "charge_id": session.charge.id if session.charge else None,
        "needs_attention": session.needs_attention,
        "occupies_charge_point": session.occupies_charge_point,
        "updated_at": session.updated_at,
        "authorized_minor": session.authorized_minor,
        "body": _document(session, session.journal if journal is None else journal),
    }


Brief = Callable[[object], dict[str, Any]]


def _brief(kind: type, *without: str) -> Brief:
    """Makes a function that returns a dataclass's fields, without those that have their constant default."""
    named = [each for each in fields(kind) if each.name not in without]
    names, defaults = [each.name for each in named], [each.default for each in named]
    values = attrgetter(*names)

    def brief(value: object) -> dict[str, Any]:
        found = zip(names, values(value), defaults, strict=True)
        return {name: value for name, value, default in found if value is not default}

    return brief


_SESSION_FIELDS = _brief(PaymentSession, "tariff", "settlement", "beside")
_BRIEF: dict[str, Brief] = {
    "authorization": _brief(Authorization),
    "start": _brief(Start),
    "meter_history": _brief(MeterHistory),
    "reads": _brief(Reads),
}
"""Parts of every session whose fields mostly have their defaults. All other parts are written whole: statements look
into some of them."""


def _document(session: PaymentSession, journal: JournalHead) -> RawJson:
    """The session's JSON document. A third as long as with its defaults, which are never changed for that reason."""
    document = _SESSION_FIELDS(session)
    document["journal"] = journal
    for name, brief in _BRIEF.items():
        document[name] = brief(document[name])
    return to_document(document)


def identity_row(session: PaymentSession) -> dict[str, Any]:
    """The columns that are written once, when the session is recorded."""
    held = session.authorization
    return {
        "id": session.id,
        "operator_id": session.operator_id,
        "terminal_id": session.terminal_id,
        "charge_point_id": session.charge_point_id,
        "reference": held.reference,
        "display_reference": session.display_reference,
        "card_last4": held.card.last4,
        "card_fingerprint": held.card.fingerprint,
        "card_account_reference": held.card.account_reference,
        "currency": held.currency,
        "personal": is_personal(session),
        "created_at": session.created_at,
        "tariff": session.tariff.source if session.tariff else None,
    }


def from_row(row: Row) -> PaymentSession:
    """Reads a session from a joined row. Joined with its settlement and kept readings (columns with these prefixes),
    whose documents are text. Raises ValueError."""
    session = _saved(row)
    return session if row["kept_newest"] is None else with_kept(session, kept_from(row))


def shown_from_row(row: Row, policy: Policy) -> PaymentSession:
    """As `from_row`, for a view for its terminal. What kept readings taught about power, which costs most of the time,
    is left out where nothing that is shown depends on it."""
    session = _saved(row)
    if row["kept_newest"] is None:
        return session
    kept = kept_from(row)
    shown = with_newest(session, kept)
    return shown if is_used_whatever_the_power(shown, policy) else with_kept(session, kept)


def _saved(row: Row) -> PaymentSession:
    """The session without its kept readings."""
    session = _SESSION.decode(row["body"])
    # Not shared yet: `replace` would take as long as decoding did.
    if row["tariff"] is not None:
        object.__setattr__(session, "tariff", parsed_tariff(row["tariff"]))
    object.__setattr__(session, "settlement", settlement_from(row))
    return session


def kept_from(row: Row) -> KeptReadings:
    """Readings from columns prefixed `kept_`."""
    newest = NEWEST.decode(row["kept_newest"])
    return KeptReadings(newest, row["kept_count"], row["kept_points"])


def settlement_from(row: Row) -> Settlement | None:
    if row["settlement_action"] is None:
        return None
    return Settlement(
        action=SettlementAction(row["settlement_action"]),
        to_capture_minor=row["settlement_to_capture_minor"],
        to_release_minor=row["settlement_to_release_minor"],
        shortfall_minor=row["settlement_shortfall_minor"],
        energy_wh=row["settlement_energy_wh"],
        decided_at=row["settlement_decided_at"],
        deadline=row["settlement_deadline"],
        session_date=row["settlement_session_date"],
        status=SettlementStatus(row["settlement_status"]),
        basis=SettlementBasis(row["settlement_basis"]),
        shares=_SHARES.decode(row["settlement_shares"]),
        overdue_since=row["settlement_overdue_since"],
        captured_minor=row["settlement_captured_minor"],
        attempts=row["settlement_attempts"],
        retry_at=row["settlement_retry_at"],
    )


def shares_of(settlement: Settlement) -> RawJson:
    """The shares of each hold for the settlement's JSON column."""
    return to_document(settlement.shares)
