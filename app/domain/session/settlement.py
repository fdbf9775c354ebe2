"""Computes capture, release, and the status after the PSP's reports."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.limit.policy import Policy
from app.domain.units.canonical import digest
from app.domain.units.frozen import frozen, replace
from app.domain.units.money import format_minor


class SettlementAction(StrEnum):
    CAPTURE = "capture"
    RELEASE = "release"


class SettlementStatus(StrEnum):
    DUE = "due"
    CONFIRMED = "confirmed"
    FAILED = "failed"


class SettlementBasis(StrEnum):
    """What the amount rests on."""

    FINAL_PRICE = "final_price"
    LAST_PRICE = "last_price"
    """Monta did not complete the charge before the hold would expire: the last plausible price."""
    TARIFF_MINIMUM = "tariff_minimum"
    """Monta showed no plausible price: the tariff's lower bound for the energy."""
    NOTHING_KNOWN = "nothing_known"
    """Neither: released, with an alert for operations."""
    NOTHING_RAN = "nothing_ran"
    PERSON = "person"
    """Operations decided the amount."""
    BELOW_LEAST = "below_least"
    """Monta's final price or energy is below the operator's least: released."""


class CaptureOutcome(StrEnum):
    """What the PSP did."""

    CAPTURED = "captured"
    RELEASED = "released"
    FAILED = "failed"


@frozen(kw_only=True)
class HoldShare:
    """The part of one hold, named by its authorization's reference. Capture and release are its amount, always."""

    reference: str
    amount_minor: int
    to_capture_minor: int
    to_release_minor: int
    status: SettlementStatus = SettlementStatus.DUE


@frozen(kw_only=True)
class Settlement:
    """Amounts in minor units; `to_capture_minor + to_release_minor` is the authorized amount, always."""

    action: SettlementAction
    to_capture_minor: int
    to_release_minor: int
    shortfall_minor: int
    """What the charge cost beyond the authorization: the operator's loss, never the driver's."""
    energy_wh: int
    decided_at: datetime
    deadline: datetime
    """The first of the holds is no longer good after this."""
    session_date: datetime
    """The receipt's date."""
    status: SettlementStatus = SettlementStatus.DUE
    basis: SettlementBasis = SettlementBasis.FINAL_PRICE
    shares: tuple[HoldShare, ...] = ()
    """Hold by hold, the first to expire first."""
    overdue_since: datetime | None = None
    """When it was flagged for operations, since its capture was not reported."""
    captured_minor: int = 0
    """What the PSP captured so far, by its reports."""
    attempts: int = 0
    """Captures that the PSP refused, as reported; of several holds the one that has most."""
    retry_at: datetime | None = None
    """When the terminal tries a refused capture again. None: nothing is refused, or no attempt is left."""

    @property
    def report_due_at(self) -> datetime:
        """Returns when the capture's report is due: after half the remaining validity."""
        return self.decided_at + max(timedelta(), self.deadline - self.decided_at) / 2


DERIVED = ("captured_minor", "attempts", "retry_at")
"""What follows from the reports."""
_AFTERWARDS = ("status", "overdue_since", *DERIVED)
"""What changes of a settlement once it is decided."""


def decided_digest(settlement: Mapping[str, object]) -> str:
    """Hashes a settlement's decided fields. What the PSP has done since does not count."""
    decided = {name: value for name, value in settlement.items() if name not in _AFTERWARDS}
    shares = decided["shares"]
    if isinstance(shares, list | tuple):
        decided["shares"] = [{n: v for n, v in share.items() if n != "status"} for share in shares]
    return digest(decided)


class HoldUnknown(ValueError):
    """A report names an authorization that is not of this payment session."""


def settle(
    authorized_minor: int,
    price_minor: int,
    *,
    energy_wh: int,
    at: datetime,
    deadline: datetime,
    session_date: datetime,
    basis: SettlementBasis = SettlementBasis.FINAL_PRICE,
) -> Settlement:
    """Captures the price but never more than was authorized. A price of 0 is a release.

    Raises ValueError for a negative price or authorization: those are held for operations, not settled.
    """
    if price_minor < 0 or authorized_minor < 0:
        raise ValueError("neither a price nor an authorization can be negative")
    capture_minor = min(price_minor, authorized_minor)
    return Settlement(
        action=SettlementAction.CAPTURE if capture_minor else SettlementAction.RELEASE,
        to_capture_minor=capture_minor,
        to_release_minor=authorized_minor - capture_minor,
        shortfall_minor=price_minor - capture_minor,
        energy_wh=energy_wh,
        decided_at=at,
        deadline=deadline,
        session_date=session_date,
        basis=basis,
    )


MAX_REPORTS = 20
"""Captures and releases of one session, and one more for each top-up; further reports are refused."""
MAX_FAILURES = 20
"""The same for refusals: they leave room to report a capture."""
MAX_ATTEMPTS = 15
"""Refused attempts with one hold after which none follows. Visa allows as many for one transaction in 30 days."""


@frozen(kw_only=True)
class CaptureReport:
    """One thing that the PSP did. Amounts in minor units, `reference` is the PSP's."""

    outcome: CaptureOutcome
    amount_minor: int
    reference: str
    authorization_reference: str | None = None
    """The hold that it was done with. None: the only one, or all of them."""
    retryable: bool = field(default=True, compare=False)
    """Of a refusal: False when it is final, such as for a cancelled card."""
    reported_at: datetime | None = field(default=None, compare=False)


@dataclass(slots=True)
class _Moved:
    """What was done with one hold so far."""

    captured: int = 0
    released: int = 0
    closed: bool = False
    """A capture or a release of 0 was reported: a released hold holds nothing any more."""
    failed: bool = False
    most_released: int = 0
    """The largest single release: repeats of one free nothing more, but at least this was released."""


def same_report(one: CaptureReport, other: CaptureReport) -> bool:
    """Whether one repeats the other. The same act under the same reference, if it does not name another hold."""
    if (one.outcome, one.reference) != (other.outcome, other.reference):
        return False
    holds = {one.authorization_reference, other.authorization_reference}
    return len(holds) == 1 or None in holds


def after_reports(settlement: Settlement, reports: Iterable[CaptureReport]) -> Settlement:
    """Applies the sums of all reports to the settlement, hold by hold. Raises HoldUnknown.

    Confirmed: exactly what was settled has been captured, or all is released. Failed: more was captured, what was to be
    captured was released, or the PSP refused and nothing made up for it. Due: there is more to come.
    """
    shares = settlement.shares or (_whole(settlement),)
    moved = _moved(shares, set(reports), named={s.reference for s in settlement.shares})
    if _paid_otherwise(settlement, shares, moved):
        shares = tuple(replace(s, status=SettlementStatus.CONFIRMED) for s in shares)
    else:
        shares = tuple(replace(s, status=_status(s, m)) for s, m in zip(shares, moved, strict=True))
    return replace(
        settlement,
        status=_together(settlement, shares),
        shares=shares if settlement.shares else (),
        captured_minor=sum(m.captured for m in moved),
    )


def with_retry(
    settlement: Settlement,
    reports: Collection[CaptureReport],
    valid_until: Mapping[str, datetime],
    policy: Policy,
) -> Settlement:
    """Sets when refused captures are tried again. Hold by hold, the earliest counts.

    `valid_until` is by hold. None is tried again once anything but a refusal went wrong: operations decide then.
    """
    shares = settlement.shares or (_whole(settlement),)
    moved = _moved(shares, set(reports), named={s.reference for s in settlement.shares})
    attempts, times, is_refused = [0], [], True
    for share, done in zip(shares, moved, strict=True):
        refusals = _refusals(share, reports)
        attempts.append(len(refusals))
        if share.status is SettlementStatus.FAILED:
            until = valid_until.get(share.reference, settlement.deadline)
            times += [at] if (at := _next_attempt(refusals, until, policy)) is not None else []
            is_refused &= not _moved_too_much(share, done) and done.released <= share.to_release_minor
    return replace(
        settlement,
        attempts=max(attempts),
        retry_at=min(times, default=None) if is_refused else None,
    )


def retry_time(attempts: int, failed_at: datetime, valid_until: datetime, policy: Policy) -> datetime | None:
    """Returns when a refused capture is tried again; None: never. It was refused `attempts` times, the last time at
    `failed_at`.

    The pauses grow by the policy's table, whose last one repeats. The last attempt is the policy's margin before the
    hold expires, if the shortest pause fits before it.
    """
    pauses = [timedelta(seconds=s) for s in policy.capture_retry_s]
    last = valid_until - timedelta(seconds=policy.capture_retry_margin_s)
    if attempts >= MAX_ATTEMPTS or failed_at + pauses[0] > last:
        return None
    return min(failed_at + pauses[min(attempts, len(pauses)) - 1], last)


def _next_attempt(
    refusals: Collection[CaptureReport], valid_until: datetime, policy: Policy
) -> datetime | None:
    times = [r.reported_at for r in refusals if r.reported_at is not None]
    if not times or not all(r.retryable for r in refusals):
        return None
    return retry_time(len(refusals), max(times), valid_until, policy)


def _refusals(share: HoldShare, reports: Iterable[CaptureReport]) -> set[CaptureReport]:
    """Returns one hold's refused captures. A release is not tried again, since a hold ends by itself."""
    if not share.to_capture_minor:
        return set()
    refused = {r for r in reports if r.outcome is CaptureOutcome.FAILED}
    return {r for r in refused if r.authorization_reference in (None, share.reference)}


def what_differs(settlement: Settlement, reports: Collection[CaptureReport], currency: str) -> str | None:
    """How the PSP's reports differ from the settlement, in words. None: it did not fail."""
    if settlement.status is not SettlementStatus.FAILED:
        return None
    captured, released = _sum(reports, CaptureOutcome.CAPTURED), _sum(reports, CaptureOutcome.RELEASED)
    captured_of, released_of = settlement.to_capture_minor, settlement.to_release_minor
    done = f"captured {format_minor(captured, currency)} of {format_minor(captured_of, currency)}"
    done += f", released {format_minor(released, currency)} of {format_minor(released_of, currency)}"
    failed = any(r.outcome is CaptureOutcome.FAILED for r in reports)
    return f"the PSP did not do what was settled: {done}{', a failure was reported' if failed else ''}"


def _whole(settlement: Settlement) -> HoldShare:
    return HoldShare(
        reference="",
        amount_minor=settlement.to_capture_minor + settlement.to_release_minor,
        to_capture_minor=settlement.to_capture_minor,
        to_release_minor=settlement.to_release_minor,
        status=settlement.status,
    )


def _moved(shares: tuple[HoldShare, ...], reports: set[CaptureReport], *, named: set[str]) -> list[_Moved]:
    """What was done with each hold. A report without a hold applies to all, each in turn as far as it was settled."""
    moved = {share.reference: _Moved() for share in shares}
    pooled = _Moved()
    for report in reports:
        hold = report.authorization_reference
        if hold is not None and hold not in named:
            raise HoldUnknown(hold)
        _add(pooled if hold is None else moved[hold], report)
    _spread(shares, moved, pooled)
    return [moved[share.reference] for share in shares]


def _add(moved: _Moved, report: CaptureReport) -> None:
    match report.outcome:
        case CaptureOutcome.FAILED:
            moved.failed = True
        case CaptureOutcome.CAPTURED:
            moved.captured += report.amount_minor
            moved.closed |= not report.amount_minor
        case CaptureOutcome.RELEASED:
            moved.released += report.amount_minor
            moved.most_released = max(moved.most_released, report.amount_minor)
            moved.closed |= not report.amount_minor


def _spread(shares: tuple[HoldShare, ...], moved: dict[str, _Moved], pooled: _Moved) -> None:
    too_much = pooled.most_released > sum(s.to_release_minor for s in shares)
    for share in shares:
        mine = moved[share.reference]
        mine.failed |= pooled.failed
        mine.closed |= pooled.closed
        if too_much:
            mine.most_released = share.amount_minor + 1
        taken = min(pooled.captured, max(0, share.to_capture_minor - mine.captured))
        mine.captured, pooled.captured = mine.captured + taken, pooled.captured - taken
        freed = min(pooled.released, max(0, share.to_release_minor - mine.released))
        mine.released, pooled.released = mine.released + freed, pooled.released - freed
    last = moved[shares[-1].reference]
    last.captured += pooled.captured
    last.released += pooled.released


def _status(share: HoldShare, moved: _Moved) -> SettlementStatus:
    if _moved_too_much(share, moved):
        return SettlementStatus.FAILED
    if share.to_capture_minor:
        done = moved.captured == share.to_capture_minor
        lost = moved.released > share.to_release_minor
    else:
        done, lost = moved.closed or moved.released >= share.to_release_minor, False
    if done:
        return SettlementStatus.CONFIRMED
    return SettlementStatus.FAILED if moved.failed or lost else SettlementStatus.DUE


def _moved_too_much(share: HoldShare, moved: _Moved) -> bool:
    return moved.captured > share.to_capture_minor or moved.most_released > share.to_release_minor


def _paid_otherwise(settlement: Settlement, shares: tuple[HoldShare, ...], moved: list[_Moved]) -> bool:
    """Whether other holds than planned paid the exact amount."""
    if not settlement.to_capture_minor or sum(m.captured for m in moved) != settlement.to_capture_minor:
        return False
    return all(m.captured + m.most_released <= s.amount_minor for s, m in zip(shares, moved, strict=True))


def _together(settlement: Settlement, shares: tuple[HoldShare, ...]) -> SettlementStatus:
    """Confirmed when each hold that is captured is. Without a capture, when each is released."""
    if any(s.status is SettlementStatus.FAILED for s in shares):
        return SettlementStatus.FAILED
    asked = [s for s in shares if s.to_capture_minor or settlement.action is SettlementAction.RELEASE]
    done = all(s.status is SettlementStatus.CONFIRMED for s in asked)
    return SettlementStatus.CONFIRMED if done else SettlementStatus.DUE


def _sum(reports: Iterable[CaptureReport], outcome: CaptureOutcome) -> int:
    return sum(r.amount_minor for r in reports if r.outcome is outcome)
