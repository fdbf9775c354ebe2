"""Decides when operations get a message, and what it holds. Grouped, without what they know already."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256

from app.domain.alerts.causes import Cause, words
from app.domain.session.attention import Severity
from app.domain.units.control_chars import escaped
from app.domain.units.frozen import frozen

GROUP = timedelta(minutes=15)
"""Warnings, infos and ends wait until this long after the last message; what is critical does not wait."""
REPEAT = timedelta(hours=4)
"""What is critical and still open is said again after this time."""
MAX_LISTED = 50
"""Alerts in one message; the rest is counted, and follows in the next one."""


@frozen(kw_only=True)
class Alert:
    """A stored cause, open until `closed_at`, last sent at `sent_at`."""

    id: int
    cause: Cause
    opened_at: datetime
    closed_at: datetime | None = None
    sent_at: datetime | None = None


@frozen(kw_only=True)
class Message:
    """What is sent at once. Empty groups are possible, but never all three."""

    id: str
    """The same for the same news: a repeated delivery can be recognized."""
    opened: tuple[Alert, ...] = ()
    still_open: tuple[Alert, ...] = ()
    closed: tuple[Alert, ...] = ()
    not_listed: int = 0

    @property
    def alerts(self) -> tuple[Alert, ...]:
        return (*self.opened, *self.still_open, *self.closed)


def message_due(alerts: Sequence[Alert], now: datetime, last_sent_at: datetime | None) -> Message | None:
    """The message that is due now. None: there is nothing to say, or it can wait.

    `alerts`: those that are open, and those that were closed after they had been in a message.
    """
    opened = [a for a in alerts if a.sent_at is None and a.closed_at is None]
    closed = [a for a in alerts if a.sent_at is not None and a.closed_at is not None]
    repeated = [a for a in alerts if _is_critical(a) and _is_old(a, now)]
    may_group = last_sent_at is None or now - last_sent_at >= GROUP
    if not (repeated or any(map(_is_critical, opened)) or (may_group and (opened or closed))):
        return None
    order = sorted(opened, key=lambda a: (list(Severity).index(a.cause.severity), a.opened_at, a.id))
    listed = [*order, *repeated, *closed][:MAX_LISTED]
    chosen = {a.id for a in listed}
    return Message(
        id=_message_id(listed),
        opened=tuple(a for a in order if a.id in chosen),
        still_open=tuple(a for a in repeated if a.id in chosen),
        closed=tuple(a for a in closed if a.id in chosen),
        not_listed=len(opened) + len(repeated) + len(closed) - len(listed),
    )


def _is_critical(alert: Alert) -> bool:
    return alert.cause.severity is Severity.CRITICAL


def _is_old(alert: Alert, now: datetime) -> bool:
    return alert.closed_at is None and alert.sent_at is not None and now - alert.sent_at >= REPEAT


def _message_id(alerts: Sequence[Alert]) -> str:
    said = "\n".join(f"{a.id} {a.sent_at} {a.closed_at}" for a in alerts)
    return f"alert_{sha256(said.encode()).hexdigest()[:32]}"


def subject(message: Message) -> str:
    """One line: what is worst, and how much there is."""
    worst = (message.opened or message.still_open or message.closed)[0].cause
    state = "" if message.opened else "still open: " if message.still_open else "closed: "
    more = len(message.alerts) + message.not_listed - 1
    return f"[Tapwatt] {worst.severity}: {state}{worst.code}{f' and {more} more' if more else ''}"


def text(message: Message, *, console_url: str | None) -> str:
    """The message for people, in plain text."""
    lines: list[str] = []
    for title, group in (
        ("New", message.opened),
        ("Still open", message.still_open),
        ("Closed", message.closed),
    ):
        if group:
            lines += [f"{title}:", *(line for alert in group for line in _lines(alert, console_url)), ""]
    if message.not_listed:
        lines.append(f"{message.not_listed} more are not listed here.")
    return "\n".join(lines).rstrip() + "\n"


def _lines(alert: Alert, console_url: str | None) -> list[str]:
    of, row = alert.cause, words(alert.cause.code)
    whose = " ".join(filter(None, (of.operator_id, of.session_id)))
    lines = [f"- {of.severity}: {of.code} {whose}".rstrip(), f"  {row.meaning}", f"  {escaped(of.detail)}"]
    if alert.closed_at is None:
        lines.append(f"  What to do: {row.action}")
    if of.session_id is not None and console_url is not None:
        lines.append(f"  {console_url}/sessions/{of.session_id}")
    if alert.closed_at is None and console_url is not None:
        lines.append(f"  {console_url}/runbook#{of.code}")
    lines.append(f"  since {alert.opened_at.isoformat(timespec='seconds')}")
    return lines


def data(message: Message) -> dict[str, object]:
    """The message for machines: the body of the webhook."""
    return {
        "opened": [_item(a) for a in message.opened],
        "still_open": [_item(a) for a in message.still_open],
        "closed": [_item(a) for a in message.closed],
        "not_listed": message.not_listed,
    }


def _item(alert: Alert) -> dict[str, object]:
    of, row = alert.cause, words(alert.cause.code)
    return {
        "code": of.code,
        "severity": of.severity,
        "operator_id": of.operator_id,
        "session_id": of.session_id,
        "detail": of.detail,
        "meaning": row.meaning,
        "what_to_do": row.action,
        "since": alert.opened_at,
        "closed_at": alert.closed_at,
    }
