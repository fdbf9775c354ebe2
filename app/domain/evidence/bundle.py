"""Makes a session's evidence: one JSON object, hashed and signed. The signature covers all of it."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from app.domain.evidence.chain import Linked
from app.domain.evidence.json_values import Json, fields_of, json_of, plain
from app.domain.evidence.seal import Sealer, parts_of
from app.domain.session.payment_session import PaymentSession
from app.domain.session.settlement import DERIVED, CaptureReport, Settlement
from app.domain.session.states.journal import JournalHead
from app.domain.session.states.journal import JournalKind as K

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


def bundle_of(
    session: PaymentSession,
    lines: Sequence[Linked],
    captures: Sequence[CaptureReport],
    deliveries: Sequence[Mapping[str, object]],
    *,
    made_at: datetime,
    sealer: Sealer,
) -> Json:
    """All that is kept of a session, signed. `captures`: what the PSP did."""
    kinds = [(each.line.number, each.line.kind) for each in lines]
    bundle: Json = {
        "format": FORMAT,
        "made_at": plain(made_at),
        **parts_of(session),
        "request": json_of(request_of(session, session.tariff.source if session.tariff else None)),
        "journal": [_line(each) for each in lines],
        "chain": _chain(session.journal),
        "decisions": [number for number, kind in kinds if kind in DECISIONS],
        "calls": [number for number, kind in kinds if kind in CALLS],
        "settlement": None if session.settlement is None else _settlement(session.settlement),
        "captures": [fields_of(report) for report in captures],
        "deliveries": [dict(each) for each in deliveries],
    }
    sealed_by = None if session.journal.seal is None else session.journal.seal.key_id
    return sealer.signed(bundle, sealed_by)


def _chain(head: JournalHead) -> Json:
    """The chain's end, and the seal of the session as it ended; null while it runs."""
    seal = None if head.seal is None else fields_of(head.seal)
    return {"algorithm": ALGORITHM, "lines": head.lines, "head": head.hash, "seal": seal}


def _settlement(settlement: Settlement) -> Json:
    """Without what follows from the captures, which the bundle has, too."""
    return {name: value for name, value in fields_of(settlement).items() if name not in DERIVED}


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
    } | ({} if session.soc_limit is None else {"soc_limit": session.soc_limit})


def _line(each: Linked) -> Json:
    line = each.line
    return {
        "number": line.number,
        "at": plain(line.at),
        "kind": line.kind,
        "source": line.source,
        "detail": dict(line.detail),
        "hash": each.hash,
    }
