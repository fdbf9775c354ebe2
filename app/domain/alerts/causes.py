"""Causes of alerts in an operator's account or the installation."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.charging.availability import OFFLINE_AFTER
from app.domain.session.attention import CodeRow, Severity, row_of
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId, SessionId


class AlertCode(StrEnum):
    """What is wrong; `ALERTS` has the words. Alerts of sessions have the codes of AttentionCode."""

    CREDENTIAL_REFUSED = "credential_refused"
    STOPS_LATE = "stops_late"
    WEBHOOK_SILENT = "webhook_silent"
    WEBHOOK_NOT_SET = "webhook_not_set"
    QUOTA_SPENT = "quota_spent"
    CHARGES_WITHOUT_SESSION = "charges_without_session"
    RECONCILIATION_FAILS = "reconciliation_fails"
    SYNC_FAILS = "sync_fails"
    SETUP_DIFFERS = "setup_differs"
    ENDPOINT_FAILS = "endpoint_fails"
    TERMINAL_OFFLINE = "terminal_offline"
    CLOCK_WRONG = "clock_wrong"


SILENT_AFTER = timedelta(minutes=15)
"""Time without any delivery although a charge ran all the time: Monta's meters report each few minutes."""
LATE_AFTER = timedelta(seconds=5)
"""A due stop that no watcher has taken up by then."""
ENDPOINT_FAILS_AFTER = timedelta(minutes=15)
"""Time without any event that a terminal maker's endpoint took, after its first attempts have all failed."""
CLOCK_TOLERANCE = timedelta(seconds=2)
"""As for readiness."""

_A, _CRITICAL, _WARNING = AlertCode, Severity.CRITICAL, Severity.WARNING
ALERTS: Mapping[AlertCode, CodeRow] = {
    _A.CREDENTIAL_REFUSED: CodeRow(
        _CRITICAL,
        "Monta refuses the operator's credential: new payments are refused, running charges end by Monta's limits.",
        "Make a new credential in Monta's portal, and set it with `tapwatt operator set`.",
        "when Monta takes the credential again",
    ),
    _A.STOPS_LATE: CodeRow(
        _CRITICAL,
        "A stop has been due for more than 5 seconds, and no watcher has taken it up.",
        "See that watchers run and that the database answers; start another watcher.",
        "when no stop is late",
    ),
    _A.WEBHOOK_SILENT: CodeRow(
        _WARNING,
        "Charges run, and Monta has delivered nothing for 15 minutes: they are followed by reads alone.",
        "See in Monta's portal whether the webhook is active and what its deliveries are answered.",
        "with the next delivery, or when no charge runs",
    ),
    _A.WEBHOOK_NOT_SET: CodeRow(
        _WARNING,
        "The webhook could not be registered at Monta.",
        "Read the problem; check TAPWATT_PUBLIC_URL and the credential's scopes.",
        "when the registration succeeds",
    ),
    _A.QUOTA_SPENT: CodeRow(
        _WARNING,
        "Monta refuses calls since the account's quota is spent; stops have a reserve of their own.",
        "Find out what else uses the account's credential; ask Monta for a larger quota.",
        "when the quota's window ends",
    ),
    _A.CHARGES_WITHOUT_SESSION: CodeRow(
        _WARNING,
        "Charges with our reference have no payment session here: they are stopped and never captured.",
        "Look at `tapwatt orphans`; close each one when it is dealt with.",
        "when all of them are closed",
    ),
    _A.RECONCILIATION_FAILS: CodeRow(
        _WARNING,
        "Monta's list of charges could not be compared with the payment sessions.",
        "Read the problem; see whether Monta answers and the credential may list charges.",
        "when a comparison succeeds",
    ),
    _A.SYNC_FAILS: CodeRow(
        _WARNING,
        "Charge points or prices could not be read from Monta.",
        "Read the problem; see whether Monta answers and the credential has its scopes.",
        "when a sync succeeds",
    ),
    _A.SETUP_DIFFERS: CodeRow(
        _WARNING,
        "What Monta shows of teams, charge points and prices does not fit what was configured.",
        "Read the problem, and correct the operator's or the terminal's configuration.",
        "when the next sync finds no difference",
    ),
    _A.ENDPOINT_FAILS: CodeRow(
        _WARNING,
        "A terminal maker's endpoint has taken no event for 15 minutes; each is given up when it is 7 days old.",
        "Read the problem; tell the maker. `tapwatt endpoint test` tries it, `tapwatt endpoint pause` leaves it alone.",
        "when the endpoint takes an event again, or is paused or removed",
    ),
    _A.TERMINAL_OFFLINE: CodeRow(
        _WARNING,
        "A terminal that sends heartbeats has sent none for 5 minutes: nobody can pay there.",
        "Bring it online: power, network, key. One that was taken away: `tapwatt terminal remove`.",
        "with its next heartbeat, or when the terminal is removed",
    ),
    _A.CLOCK_WRONG: CodeRow(
        _CRITICAL,
        "A watcher's clock differs from the database's by more than 2 seconds: it may stop charges late.",
        "Restart the watcher, and see that its machine keeps time by NTP.",
        "when the watcher's clock agrees again, or it has ended",
    ),
}


@frozen(kw_only=True)
class OperatorHealth:
    """What is known of an operator's account, as of one moment."""

    id: OperatorId
    access_problem: str | None = None
    webhook_problem: str | None = None
    sync_problem: str | None = None
    setup_problem: str | None = None
    reconcile_problem: str | None = None
    newest_delivery_at: datetime | None = None
    charging_since: datetime | None = None
    """When the oldest session that charges now was made. None: nothing charges."""
    blocked_until: datetime | None = None
    """Monta has refused calls for want of quota until then."""
    oldest_stop_due_at: datetime | None = None
    open_orphans: int = 0
    endpoints_failing_since: datetime | None = None
    """Since when the first of its endpoints that fail and are not paused fails."""
    failing_endpoints: str | None = None
    """They and their problems, in words."""
    paused_endpoints: str | None = None
    oldest_heartbeat_at: datetime | None = None
    """The last one of the terminal that has sent none for longest, of those that send any."""
    silent_terminal: str | None = None
    """That terminal, in words."""


@frozen(kw_only=True)
class Cause:
    """One thing that is wrong now. `operator_id` None: of the installation. Code, operator, session and `about` are its
    identity."""

    code: str
    severity: Severity
    detail: str
    operator_id: OperatorId | None = None
    session_id: SessionId | None = None
    about: str = ""


def of_operator(health: OperatorHealth, now: datetime) -> list[Cause]:
    """What is wrong with an operator's account."""
    return [
        Cause(
            code=code,
            severity=ALERTS[code].severity,
            detail=detail or ALERTS[code].meaning,
            operator_id=health.id,
        )
        for code, detail in _problems(health, now)
    ]


def _problems(health: OperatorHealth, now: datetime) -> Iterator[tuple[AlertCode, str]]:
    said = (
        (_A.CREDENTIAL_REFUSED, health.access_problem),
        (_A.WEBHOOK_NOT_SET, health.webhook_problem),
        (_A.SYNC_FAILS, health.sync_problem),
        (_A.SETUP_DIFFERS, health.setup_problem),
        (_A.RECONCILIATION_FAILS, health.reconcile_problem),
    )
    yield from ((code, problem) for code, problem in said if problem)
    if is_silent(health, now):
        yield _A.WEBHOOK_SILENT, ""
    if health.blocked_until is not None and health.blocked_until > now:
        yield _A.QUOTA_SPENT, f"until {health.blocked_until.isoformat(timespec='seconds')}"
    late = health.oldest_stop_due_at
    if late is not None and now - late > LATE_AFTER:
        yield _A.STOPS_LATE, f"the oldest was due at {late.isoformat(timespec='seconds')}"
    if health.open_orphans:
        yield _A.CHARGES_WITHOUT_SESSION, f"{health.open_orphans} charges"
    failing = health.endpoints_failing_since
    if failing is not None and now - failing > ENDPOINT_FAILS_AFTER:
        yield _A.ENDPOINT_FAILS, health.failing_endpoints or ""
    heard = health.oldest_heartbeat_at
    if heard is not None and now - heard > OFFLINE_AFTER:
        since = heard.isoformat(timespec="seconds")
        yield _A.TERMINAL_OFFLINE, f"{health.silent_terminal} since {since}; `tapwatt terminal list` has all"


def is_silent(health: OperatorHealth, now: datetime) -> bool:
    """Whether Monta's webhook should have reported something by now."""
    since = health.charging_since
    if since is None or now - since < SILENT_AFTER:
        return False
    return health.newest_delivery_at is None or now - health.newest_delivery_at >= SILENT_AFTER


def of_clocks(ahead: Mapping[str, timedelta]) -> list[Cause]:
    """Watchers whose clocks differ from the database's, by the watcher's id."""
    return [
        Cause(
            code=_A.CLOCK_WRONG,
            severity=ALERTS[_A.CLOCK_WRONG].severity,
            detail=f"watcher {watcher}: {difference.total_seconds():+.1f} s",
            about=watcher,
        )
        for watcher, difference in sorted(ahead.items())
        if abs(difference) > CLOCK_TOLERANCE
    ]


def words(code: str) -> CodeRow:
    """Returns the row of an account's or a session's alert code."""
    return ALERTS[AlertCode(code)] if code in set(AlertCode) else row_of(code)


def identity(of: Cause) -> tuple[str, str | None, str | None, str]:
    return of.code, of.operator_id, of.session_id, of.about


def changes(open_now: Sequence[tuple[int, Cause]], wanted: Sequence[Cause]) -> tuple[list[Cause], list[int]]:
    """Returns what to open, and the ids of alerts to close. Each cause is open once, for as long as it lasts."""
    known = {identity(c) for _, c in open_now}
    lasting = {identity(c) for c in wanted}
    opened = {identity(c): c for c in wanted if identity(c) not in known}
    return list(opened.values()), [number for number, c in open_now if identity(c) not in lasting]
