"""Makes a session's evidence: one JSON object, sealed by a hash. The hash covers all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum

from app.domain.evidence.chain import Linked
from app.domain.session.payment_session import PaymentSession
from app.domain.session.settlement import DERIVED, CaptureReport, Settlement
from app.domain.session.states.journal import JournalKind as K
from app.domain.units.canonical import digest

FORMAT = "tapwatt-evidence-1"
ALGORITHM = "sha256"

DECISIONS = frozenset(
    {
        K.START_INTENDED,
        K.STOP_DECIDED,
        K.SETTLEMENT_DECIDED,
        K.AMOUNT_DECIDED,
        K.CLOSED_BY_OPERATIONS,
        K.CHARGE_LOST,
        K.STATUS_CHANGED,
    }
)
CALLS = frozenset(
    {
        K.START_INTENDED,
        K.START_ACCEPTED,
        K.START_REFUSED,
        K.START_NOT_DONE,
        K.START_UNKNOWN,
        K.SEARCHED,
        K.SEARCH_FAILED,
        K.READ_FAILED,
        K.READ_CUT_SHORT,
        K.STOP_INTENDED,
        K.STOP_ACCEPTED,
        K.STOP_FAILED,
        K.DUPLICATE_CHARGE_STOP_INTENDED,
        K.DUPLICATE_CHARGE_STOP_ACCEPTED,
        K.DUPLICATE_CHARGE_STOP_FAILED,
    }
)
"""Kinds of lines about calls to Monta; reads that succeed are `charge_reported` where they show something new."""

Json = dict[str, object]


def bundle_of(
    session: PaymentSession,
    lines: Sequence[Linked],
    captures: Sequence[CaptureReport],
    deliveries: Sequence[Mapping[str, object]],
    *,
    made_at: datetime,
) -> Json:
    """All that is kept of a session. `captures`: what the PSP did."""
    kinds = [(each.line.number, each.line.kind) for each in lines]
    bundle: Json = {
        "format": FORMAT,
        "made_at": _plain(made_at),
        "session": {
            "id": session.id,
            "operator_id": session.operator_id,
            "terminal_id": session.terminal_id,
            "status": session.status.value,
            "created_at": _plain(session.created_at),
        },
        "request": _json(request_of(session, session.tariff.source if session.tariff else None)),
        "card": _json(asdict(session.authorization.card)),
        "metadata": dict(session.metadata),
        "journal": [_line(each) for each in lines],
        "chain": {"algorithm": ALGORITHM, "lines": session.journal.lines, "head": session.journal.hash},
        "decisions": [number for number, kind in kinds if kind in DECISIONS],
        "calls": [number for number, kind in kinds if kind in CALLS],
        "settlement": None if session.settlement is None else _settlement(session.settlement),
        "final_record": None if session.settled_record is None else _json(asdict(session.settled_record)),
        "captures": [_json(asdict(report)) for report in captures],
        "deliveries": [dict(each) for each in deliveries],
    }
    return bundle | {"seal": seal_of(bundle)}


def _settlement(settlement: Settlement) -> Json:
    """Without what follows from the captures, which the bundle has, too."""
    return {name: value for name, value in _json(asdict(settlement)).items() if name not in DERIVED}


def seal_of(bundle: Mapping[str, object]) -> str:
    """SHA-256, in hex, of all of a bundle but its seal."""
    return digest({name: value for name, value in bundle.items() if name != "seal"})


def request_of(session: PaymentSession, tariff: object) -> Json:
    """Returns the terminal's request without what may be erased later. Without card and metadata.

    The journal's first line has its digest. `tariff` is as it was given and stored, or None.
    """
    held = session.authorization
    return {
        "charge_point_id": session.charge_point_id,
        "reference": held.reference,
        "amount_minor": held.amount_minor,
        "currency": held.currency,
        "authorized_at": held.authorized_at,
        "expires_at": held.expires_at,
        "display_reference": session.display_reference,
        "energy_limit_wh": session.energy_limit_wh,
        "created_at": session.created_at,
        "tariff": tariff,
    }


def _line(each: Linked) -> Json:
    line = each.line
    return {
        "number": line.number,
        "at": _plain(line.at),
        "kind": line.kind,
        "source": line.source,
        "detail": dict(line.detail),
        "hash": each.hash,
    }


def _json(value: Mapping[str, object]) -> Json:
    """Converts a value to JSON. Times and amounts of money as text, enums by their values. The tariff's own numbers
    stay."""
    return {name: child if name == "tariff" else _value(child) for name, child in value.items()}


def _value(value: object) -> object:
    if isinstance(value, dict):
        return _json(value)
    if isinstance(value, list | tuple):
        return [_value(child) for child in value]
    return _plain(value)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.value if isinstance(value, Enum) else value
