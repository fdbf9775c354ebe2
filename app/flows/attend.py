"""What people and terminals may do to a session that exists: stop it, or say what the PSP did with its hold."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from app.domain.attention import Acknowledgement
from app.domain.capture_reports import MAX_REPORTS, CaptureReport, same_report
from app.domain.change import Change, Source
from app.domain.conclusion import closed_by_person, may_be_settled_by_person, settled_by_person
from app.domain.ids import ChargePointId, SessionId
from app.domain.outcome import reported
from app.domain.payment_session import PaymentSession, Status, StopReason, Wish
from app.domain.settlement import CaptureOutcome, HoldUnknown, Settlement, SettlementBasis
from app.flows.tools import Tools
from app.store import captures, payment_sessions
from app.store.captures import Capture
from app.store.conflicts import again_after_conflict
from app.store.database import outlive_the_primary
from app.store.payment_sessions import Condition
from app.store.terminals import Terminal


class SessionUnknown(Exception):
    """There is no such session, or it is not the caller's."""


class SeveralSessions(Exception):
    """Several sessions of one card run, and nothing says which is meant."""

    def __init__(self, sessions: Sequence[PaymentSession]) -> None:
        super().__init__("several sessions of this card are running; name the charge point of one")
        self.sessions = sessions


class AttentionUnknown(Exception):
    """The session does not ask for a person for this reason, or does no more."""


class NotSettled(Exception):
    """There is nothing to capture or release yet."""


class CaptureConflict(Exception):
    """The same report came with another amount, or it contradicts one that was confirmed."""


class NotEnded(Exception):
    """The charge has not ended: its amount cannot be decided yet."""


class AlreadySettled(Exception):
    """It was settled with another amount; a settlement is never changed."""


class AlreadyEnded(Exception):
    """The session has ended, and not by this very call."""


class AboveAuthorized(Exception):
    """More than was authorized can never be captured."""


STOPPABLE = frozenset({Status.AUTHORIZED, Status.STARTING, Status.CHARGING})
MAX_OF_ONE_CARD = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCard:
    """A card by one of its tokens or both, and at which charge point it is meant."""

    fingerprint: str | None = None
    account_reference: str | None = None
    charge_point_id: ChargePointId | None = None


@again_after_conflict
async def request_stop(
    tools: Tools, session_id: SessionId, owner: Condition, *, reason: StopReason, note: str | None = None
) -> PaymentSession:
    """Wish for a stop; the watcher fulfils it, after the start is resolved if need be. Repeating changes nothing."""
    now = tools.clock.now()
    async with tools.database.transaction() as connection:
        if await payment_sessions.get(connection, session_id, owner) is None:
            raise SessionUnknown
        before = await payment_sessions.lock(connection, session_id)
        if before is None:
            raise SessionUnknown
        if before.ended or before.wish is not None:
            await outlive_the_primary(connection)
            return before
        source = Source.OPERATIONS if reason is StopReason.OPERATIONS else Source.TERMINAL
        change = Change(replace(before, wish=Wish(reason=reason, at=now, note=note)))
        change = change.note("stop_requested", source, reason=reason, note=note)
        session = await payment_sessions.save(connection, before, change, now)
        await payment_sessions.wake(connection, session_id, now)
    return session


async def stop_by_card(tools: Tools, terminal: Terminal, card: ShownCard) -> PaymentSession:
    """The same card shown again stops its own session at this terminal.

    Those that are ending already are no choice to make: one of them is told only when nothing else runs, so that a
    repeated call finds what the first one stopped. Raises SessionUnknown, SeveralSessions.
    """
    owner = payment_sessions.of_terminal(terminal.id)
    wanted = [owner, payment_sessions.of_card(card.fingerprint, card.account_reference)]
    if card.charge_point_id is not None:
        wanted.append(payment_sessions.matching("charge_point_id", card.charge_point_id))
    async with tools.database.transaction() as connection:
        found = await payment_sessions.find(
            connection, *wanted, payment_sessions.active(), limit=MAX_OF_ONE_CARD
        )
    if not found:
        raise SessionUnknown
    running = [s for s in found if s.status in STOPPABLE and s.wish is None]
    if len(running) > 1:
        raise SeveralSessions(running)
    return await request_stop(tools, (running or found)[0].id, owner, reason=StopReason.DRIVER)


@again_after_conflict
async def report_capture(
    tools: Tools, session_id: SessionId, owner: Condition, report: CaptureReport
) -> PaymentSession:
    """Record what the PSP did, in pieces or as a whole: the settlement's status follows the sum of it. Idempotent.

    Raises SessionUnknown, NotSettled, CaptureConflict.
    """
    now = tools.clock.now()
    async with tools.database.transaction() as connection:
        if await payment_sessions.get(connection, session_id, owner) is None:
            raise SessionUnknown
        before = await payment_sessions.lock(connection, session_id)
        if before is None:
            raise SessionUnknown
        if before.settlement is None:
            raise NotSettled("this payment session is not settled yet; wait for its settlement")
        known = [_as_reported(capture) for capture in await captures.of_session(connection, session_id)]
        earlier = next((r for r in known if same_report(r, report)), None)
        if earlier is not None:
            if earlier.amount_minor != report.amount_minor:
                raise CaptureConflict("this outcome was reported with another amount before")
            await outlive_the_primary(connection)
            return before
        if len(known) >= MAX_REPORTS:
            raise CaptureConflict(f"{MAX_REPORTS} outcomes of this payment session were reported already")
        try:
            change = reported(Change(before), [*known, report], now)
        except HoldUnknown:
            raise CaptureConflict("this payment session has no authorization with this reference") from None
        await captures.add(connection, session_id, _to_keep(report, now))
        return await payment_sessions.save(connection, before, change, now)


def _as_reported(capture: Capture) -> CaptureReport:
    return CaptureReport(
        outcome=CaptureOutcome(capture.outcome),
        amount_minor=capture.amount_minor,
        reference=capture.reference,
        authorization_reference=capture.authorization_reference,
    )


def _to_keep(report: CaptureReport, now: datetime) -> Capture:
    return Capture(
        outcome=report.outcome,
        amount_minor=report.amount_minor,
        reference=report.reference,
        authorization_reference=report.authorization_reference,
        reported_at=now,
    )


@again_after_conflict
async def settle_by_hand(
    tools: Tools, session_id: SessionId, owner: Condition, *, amount_minor: int, reason: str
) -> PaymentSession:
    """A person decides what an ended charge costs, up to the reservation (more is cut). Idempotent by amount.

    Raises SessionUnknown, NotEnded, AlreadySettled.
    """
    now = tools.clock.now()
    async with tools.database.transaction() as connection:
        if await payment_sessions.get(connection, session_id, owner) is None:
            raise SessionUnknown
        before = await payment_sessions.lock(connection, session_id)
        if before is None:
            raise SessionUnknown
        if before.settlement is not None:
            settled = before.settlement
            if settled.to_capture_minor + settled.shortfall_minor == amount_minor:
                return before
            raise AlreadySettled("this payment session is settled, and a settlement is never changed")
        if not may_be_settled_by_person(before):
            raise NotEnded("the charge has not ended; stop it first, and wait until the session is finishing")
        change = settled_by_person(Change(before), amount_minor, reason, now=now, policy=tools.policy)
        session = await payment_sessions.save(connection, before, change, now)
        await payment_sessions.wake(connection, session_id, now)
    return session


@again_after_conflict
async def acknowledge(
    tools: Tools, session_id: SessionId, owner: Condition, *, code: str, by: str, note: str
) -> PaymentSession:
    """Somebody has seen why a session asks for a person, and says so. Repeating changes nothing.

    Raises SessionUnknown, AttentionUnknown.
    """
    now = tools.clock.now()
    async with tools.database.transaction() as connection:
        if await payment_sessions.get(connection, session_id, owner) is None:
            raise SessionUnknown
        before = await payment_sessions.lock(connection, session_id)
        if before is None:
            raise SessionUnknown
        if all(item.code != code for item in before.attention):
            raise AttentionUnknown
        change = Change(before).acknowledge(code, Acknowledgement(at=now, by=by, note=note))
        return await payment_sessions.save(connection, before, change, now)


@again_after_conflict
async def close_by_hand(
    tools: Tools, session_id: SessionId, owner: Condition, *, amount_minor: int, reason: str, by: str
) -> PaymentSession:
    """A person ends a session in any state: settled by that amount, its charge stopped if one may run. Idempotent.

    Raises SessionUnknown, AlreadyEnded, AboveAuthorized.
    """
    now = tools.clock.now()
    async with tools.database.transaction() as connection:
        if await payment_sessions.get(connection, session_id, owner) is None:
            raise SessionUnknown
        before = await payment_sessions.lock(connection, session_id)
        if before is None:
            raise SessionUnknown
        if before.ended:
            if not _decided_so(before.settlement, amount_minor):
                raise AlreadyEnded("this payment session has ended, and its settlement is never changed")
            await outlive_the_primary(connection)
            return before
        if amount_minor > before.reserved_minor:
            raise AboveAuthorized("must not be more than what was authorized")
        change = closed_by_person(Change(before), amount_minor, reason, by=by, now=now, policy=tools.policy)
        session = await payment_sessions.save(connection, before, change, now)
        await payment_sessions.wake(connection, session_id, now)
    return session


def _decided_so(settlement: Settlement | None, amount_minor: int) -> bool:
    """Whether a person has decided on this very amount before."""
    if settlement is None or settlement.basis is not SettlementBasis.PERSON:
        return False
    return settlement.to_capture_minor + settlement.shortfall_minor == amount_minor
