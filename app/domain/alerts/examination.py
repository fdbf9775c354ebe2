"""Judges an installation: what was examined, its verdict, what to do."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.alerts.causes import ALERTS, AlertCode, OperatorHealth, of_clocks, of_operator
from app.domain.session.attention import Severity
from app.domain.units.frozen import frozen

EXPIRES_SOON = timedelta(days=14)
LOW_QUOTA = 0.2
"""Share of the quota below which calls are kept back for stops."""
RESTORE_WEBHOOK = (
    "Find out who changed it. With TAPWATT_PUBLIC_URL the next sync restores it; without, enter"
    " webhook_path and webhook_secret at Monta by hand."
)
FULL = 0.8
"""Share of the server's connections above which little is left for another replica."""


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@frozen(kw_only=True)
class Finding:
    """One thing that was examined; `what_to_do` is empty when all is well."""

    about: str
    verdict: Verdict
    found: str
    what_to_do: str = ""


ADVICE = {
    "database": "See that the server runs, takes writes and is reached without a pooler that drops settings.",
    "schema": "Run `tapwatt migrate`.",
    "clock": "See that this machine keeps time by NTP.",
    "watcher": "Start `tapwatt watch`, or `tapwatt serve` with its watcher.",
    "secrets": "Set TAPWATT_SECRET_KEY to the key that the secrets were encrypted with.",
}


def of_process(problems: Mapping[str, str | None]) -> list[Finding]:
    """By the names of ADVICE: the problem that readiness found, or None."""
    return [
        Finding(about=name, verdict=Verdict.OK, found="as it should be")
        if problem is None
        else Finding(about=name, verdict=Verdict.WRONG, found=problem, what_to_do=ADVICE[name])
        for name, problem in problems.items()
    ]


def of_isolation(*, bound: bool) -> Finding:
    """Whether row level security binds the user that the service connects as."""
    about = "row level security"
    if bound:
        return Finding(about=about, verdict=Verdict.OK, found="binds the service's user")
    return Finding(
        about=about,
        verdict=Verdict.WARNING,
        found="does not bind the service's user, who owns the tables or is a superuser",
        what_to_do="Let TAPWATT_DATABASE_URL name another user than TAPWATT_OWNER_DATABASE_URL, and migrate.",
    )


def of_connections(used: int, most: int) -> Finding:
    """How many of the server's connections are in use."""
    found, about = f"{used} of {most} in use", "database connections"
    if used <= FULL * most:
        return Finding(about=about, verdict=Verdict.OK, found=found)
    return Finding(
        about=about,
        verdict=Verdict.WARNING,
        found=found,
        what_to_do="Raise the server's max_connections, or put PgBouncer before it (docs/scaling.md).",
    )


def of_transport(setting: str, unverified: Sequence[str]) -> Finding:
    """Whether the way to the database is encrypted, and its server proven. `unverified`: hosts that are not."""
    about = f"connections of {setting}"
    if not unverified:
        return Finding(about=about, verdict=Verdict.OK, found="on this machine, or with sslmode=verify-full")
    return Finding(
        about=about,
        verdict=Verdict.WARNING,
        found=f"whoever is on the way to {', '.join(unverified)} can read and change everything",
        what_to_do=(
            "Set TLS up on the server, add ?sslmode=verify-full to the URL, and let PGSSLROOTCERT name the file with"
            " the certificate of its authority. Only a network that nobody else is on may go without."
        ),
    )


def of_certificate(about: str, expires_at: datetime, advice: str, now: datetime) -> Finding:
    """When a certificate expires that a connection of now has accepted."""
    soon = expires_at - now < EXPIRES_SOON
    return Finding(
        about=about,
        verdict=Verdict.WARNING if soon else Verdict.OK,
        found=f"expires at {expires_at:%Y-%m-%d %H:%M} UTC",
        what_to_do=advice if soon else "",
    )


def of_quota(operator_id: str, left: int, quota: int) -> Finding:
    """Examines how many calls to Monta are left. In the window of the last one."""
    low = left <= LOW_QUOTA * quota
    return Finding(
        about=f"quota of {operator_id}",
        verdict=Verdict.WARNING if low else Verdict.OK,
        found=f"{left} of {quota} calls left as of the last one",
        what_to_do=ALERTS[AlertCode.QUOTA_SPENT].action if low else "",
    )


def of_webhook(operator_id: str, difference: str | None) -> list[Finding]:
    """A webhook configuration at Monta that is not ours."""
    if difference is None:
        return []
    return [
        Finding(
            about=f"webhook of {operator_id}",
            verdict=Verdict.WRONG,
            found=difference,
            what_to_do=RESTORE_WEBHOOK,
        )
    ]


def of_watchers(ahead: Mapping[str, timedelta]) -> list[Finding]:
    """Watchers whose clocks are wrong, by the watcher's id."""
    return [_cause(f"watcher {cause.about}", cause.detail, cause.code) for cause in of_clocks(ahead)]


def of_account(health: OperatorHealth, warnings: Sequence[str], now: datetime) -> list[Finding]:
    """Examines an operator's stored account with Monta's present records."""
    about = f"operator {health.id}"
    found = [_cause(about, cause.detail, cause.code) for cause in of_operator(health, now)]
    advice = ALERTS[AlertCode.SETUP_DIFFERS].action
    found += [
        Finding(about=about, verdict=Verdict.WARNING, found=words, what_to_do=advice) for words in warnings
    ]
    if health.paused_endpoints:
        found.append(
            Finding(
                about=about,
                verdict=Verdict.WARNING,
                found=f"endpoints are paused: {health.paused_endpoints}",
                what_to_do="Resume each with `tapwatt endpoint resume`: events older than 7 days are not sent.",
            )
        )
    newest = health.newest_delivery_at
    shown = "no webhook yet" if newest is None else f"last webhook at {newest:%Y-%m-%d %H:%M} UTC"
    return found or [Finding(about=about, verdict=Verdict.OK, found=f"Monta takes the credential; {shown}")]


def of_key(key_id: str, name: str, expires_at: datetime | None, now: datetime) -> list[Finding]:
    """A key that expires within EXPIRES_SOON, or has."""
    if expires_at is None or expires_at - now >= EXPIRES_SOON:
        return []
    over = expires_at <= now
    return [
        Finding(
            about=f"key {key_id} ({name})",
            verdict=Verdict.WRONG if over else Verdict.WARNING,
            found=f"{'expired' if over else 'expires'} at {expires_at:%Y-%m-%d %H:%M} UTC",
            what_to_do="Add a new key, put it into use, then revoke this one.",
        )
    ]


def worst(found: Sequence[Finding]) -> Verdict:
    """The worst verdict of all."""
    return max((f.verdict for f in found), key=list(Verdict).index, default=Verdict.OK)


def _cause(about: str, found: str, code: str) -> Finding:
    row = ALERTS[AlertCode(code)]
    verdict = Verdict.WRONG if row.severity is Severity.CRITICAL else Verdict.WARNING
    return Finding(about=about, verdict=verdict, found=found, what_to_do=row.action)
