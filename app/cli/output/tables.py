"""Formats sessions and orphans as tables, a session as time line."""

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING

from app.domain.limit.policy import Policy
from app.domain.session.attention import Attention
from app.domain.session.limit import amount_used_minor
from app.domain.session.payment_session import PaymentSession
from app.domain.units.money import format_minor
from app.store.operators.orphans import Orphan
from app.store.sessions.journal import JournalEntry

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 140


def plain_table(*columns: str) -> "Table":
    """Makes a table without lines. rich is imported by commands that print one, not by every process."""
    from rich.table import Table

    return Table(*columns, box=None, pad_edge=False)


def session_table(sessions: Sequence[PaymentSession], policy: Policy) -> str:
    """Formats one line a session."""
    if not sessions:
        return "No payment sessions."
    table = plain_table(
        "recorded",
        "id",
        "charge point",
        "status",
        "kWh",
        "used",
        "authorized",
        "why",
    )
    for s in sessions:
        held = s.authorization
        table.add_row(
            s.created_at.strftime("%Y-%m-%d %H:%M:%S"),
            s.id,
            s.charge_point_id,
            s.status,
            _kwh(s),
            format_minor(amount_used_minor(s, policy), held.currency),
            format_minor(s.authorized_minor, held.currency),
            _why(s),
        )
    return rendered(table)


def orphan_table(orphans: Sequence[Orphan]) -> str:
    """Formats one line a charge."""
    if not orphans:
        return "No charges that no payment session knows."
    columns = ("found", "charge", "for session", "charge point", "state", "kWh", "price", "slip", "what")
    table = plain_table(*columns)
    for o in orphans:
        table.add_row(
            o.found_at.strftime("%Y-%m-%d %H:%M"),
            o.charge_id,
            o.session_reference,
            o.charge_point_id or "",
            o.state,
            "" if o.energy_wh is None else f"{o.energy_wh / 1000:.3f}",
            "" if o.price is None else f"{o.price} {o.currency or ''}",
            f"{o.display_reference or ''} {o.card_last4 or ''}".strip(),
            o.closed_because or o.problem or ("stopped by us" if o.stops else "ours"),
        )
    return rendered(table)


def facts_table(rows: Sequence[Mapping[str, str | None]], shown: Sequence[str], *, empty: str) -> str:
    """Formats one line a row; columns without any value are left out."""
    if not rows:
        return empty
    columns = [name for name in shown if any(row.get(name) for row in rows)]
    table = plain_table(*(name.replace("_", " ") for name in columns))
    for row in rows:
        table.add_row(*(row.get(name) or "" for name in columns))
    return rendered(table)


def time_line(session: PaymentSession, lines: Sequence[JournalEntry], policy: Policy) -> str:
    """Formats the session, then its journal, oldest line first."""
    held = session.authorization
    head = [
        f"{session.id}  {session.status}  {_why(session)}".rstrip(),
        f"charge point {session.charge_point_id}, terminal {session.terminal_id}, reference {held.reference},"
        f" display reference {session.display_reference}",
        f"authorized {format_minor(session.authorized_minor, held.currency)},"
        f" used {format_minor(amount_used_minor(session, policy), held.currency)}, {_kwh(session)} kWh",
    ]
    if session.settlement:
        settled = session.settlement
        head.append(
            f"{settled.action}: capture {format_minor(settled.to_capture_minor, held.currency)}, release"
            f" {format_minor(settled.to_release_minor, held.currency)}, {settled.status}"
        )
    head += [_attention(item) for item in session.attention]
    table = plain_table("time (UTC)", "+ s", "what", "by", "detail")
    for line in lines:
        since = (line.at - session.created_at).total_seconds()
        detail = " ".join(f"{k}={v}" for k, v in line.detail.items() if v is not None)
        table.add_row(line.at.strftime("%H:%M:%S.%f")[:-3], f"{since:.1f}", line.kind, line.source, detail)
    return "\n".join(head) + "\n\n" + rendered(table)


def _attention(item: Attention) -> str:
    seen = item.acknowledged
    text = f"attention {item.code}: {item.detail}"
    return text if seen is None else f"{text} (acknowledged by {seen.by}: {seen.note})"


def _why(session: PaymentSession) -> str:
    return str(session.not_started_reason or session.stop_reason or "")


def _kwh(session: PaymentSession) -> str:
    wh = session.settlement.energy_wh if session.settlement else session.energy_wh
    return f"{wh / 1000:.3f}"


def rendered(table: "Table") -> str:
    out = StringIO()
    from rich.console import Console

    Console(file=out, width=WIDTH, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
