"""Formats sessions and orphans as tables, a session as time line."""

import shutil
from collections.abc import Mapping, Sequence
from io import StringIO
from textwrap import fill
from typing import TYPE_CHECKING

from app.console.views.troubles import Trouble, troubles_of
from app.domain.limit.policy import Policy
from app.domain.session.attention import Attention, row_of
from app.domain.session.limit import amount_used_minor
from app.domain.session.payment_session import PaymentSession
from app.domain.units.money import format_minor, to_major
from app.flows.console.session import SessionRead
from app.store.operators.orphans import Orphan
from app.store.sessions.journal import JournalEntry

if TYPE_CHECKING:
    from rich.table import Table

WIDE = 140
"""Columns where nothing says how many there are, as in a file."""
GAP = 2
ID_WIDTH = len("ps_") + 26
EVERY_COLUMN_FROM = 120
"""In fewer columns a list of sessions leaves out when each was recorded, and why it ended."""
JOURNAL_TABLE_FROM = 96
"""In fewer columns the detail of a journal's line stands below it."""
ENERGY_FROM = 72
"""In fewer columns it leaves out the energy too, rather than cut a status."""


def width() -> int:
    """Columns to print in: those of the terminal, COLUMNS, or WIDE."""
    return shutil.get_terminal_size((WIDE, 24)).columns


def plain_table(*columns: str, gap: int = GAP) -> "Table":
    """Makes a table without lines, whose identifiers are never cut. rich is imported by commands that print one,
    not by every process."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0))
    for name in columns:
        table.add_column(name, no_wrap=name == "id", min_width=ID_WIDTH if name == "id" else None)
    return table


def fitted(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Formats one line a row, or one a value if too wide. So no identifier is cut."""
    widths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
    if sum(widths) + GAP * (len(widths) - 1) <= width():
        table = plain_table(*columns)
        for row in rows:
            table.add_row(*row)
        return rendered(table)
    return "\n\n".join(_block(columns, row) for row in rows)


def _block(columns: Sequence[str], row: Sequence[str]) -> str:
    indent = max(len(name) for name in columns) + GAP
    return "\n".join(
        fill(
            cell,
            width(),
            initial_indent=f"{name:<{indent}}",
            subsequent_indent=" " * indent,
            break_on_hyphens=False,
            break_long_words=False,
        )
        for name, cell in zip(columns, row, strict=True)
        if cell
    )


def session_table(sessions: Sequence[PaymentSession], policy: Policy) -> str:
    """Formats one line a session."""
    if not sessions:
        return "No payment sessions."
    columns = width()
    table = plain_table(*session_columns(columns), gap=GAP if columns >= EVERY_COLUMN_FROM else 1)
    for session in sessions:
        table.add_row(*session_cells(session, policy, columns))
    return rendered(table)


def session_columns(columns: int) -> tuple[str, ...]:
    """The headings of a list of sessions that fit in this many columns."""
    first = ("recorded",) if columns >= EVERY_COLUMN_FROM else ()
    energy = ("kWh",) if columns >= ENERGY_FROM else ()
    return (*first, "id", "point", "status", *energy, "used / authorized")


def session_cells(session: PaymentSession, policy: Policy, columns: int) -> tuple[str, ...]:
    """One session under these headings. The reason of its end stands beside its status."""
    used, currency = amount_used_minor(session, policy), session.authorization.currency
    every = columns >= EVERY_COLUMN_FROM
    why = _why(session) if every else ""
    return (
        *((session.created_at.strftime("%Y-%m-%d %H:%M:%S"),) if every else ()),
        session.id,
        session.charge_point_id,
        f"{session.status} {why}".rstrip(),
        *((_kwh(session),) if columns >= ENERGY_FROM else ()),
        f"{to_major(used, currency):f} / {format_minor(session.authorized_minor, currency)}",
    )


def orphan_table(orphans: Sequence[Orphan]) -> str:
    """Formats one line a charge."""
    if not orphans:
        return "No charges that no payment session knows."
    columns = ("found", "charge", "for session", "charge point", "state", "kWh", "price", "slip", "what")
    rows = [
        (
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
        for o in orphans
    ]
    return fitted(columns, rows)


def facts_table(rows: Sequence[Mapping[str, str | None]], shown: Sequence[str], *, empty: str) -> str:
    """Formats one line a row; columns without any value are left out."""
    if not rows:
        return empty
    columns = [name for name in shown if any(row.get(name) for row in rows)]
    headings = [name.replace("_", " ") for name in columns]
    return fitted(headings, [[row.get(name) or "" for name in columns] for row in rows])


def time_line(read: SessionRead, policy: Policy) -> str:
    """Formats the session, what is wrong with it, its chart, then its journal, oldest line first."""
    from app.cli.output.chart import chart_lines

    session, lines = read.session, read.lines
    held = session.authorization
    head = [
        f"{session.id}  {session.status}  {_why(session)}".rstrip(),
        f"charge point {session.charge_point_id}, terminal {session.terminal_id}",
        f"reference {held.reference}, display reference {session.display_reference}",
        f"authorized {format_minor(session.authorized_minor, held.currency)},"
        f" used {format_minor(amount_used_minor(session, policy), held.currency)}, {_kwh(session)} kWh",
    ]
    if session.settlement:
        head += _settlement(session)
    head += [_attention(item) for item in session.attention]
    head += [_trouble(trouble) for trouble in troubles_of(read, policy)]
    head += chart_lines(session, lines, policy, min(width(), WIDE))
    rows = [_journal_cells(session, line) for line in lines]
    if width() < JOURNAL_TABLE_FROM:
        told = "\n".join(_journal_lines(row) for row in rows)
    else:
        table = plain_table("time (UTC)", "+ s", "what", "by", "detail")
        for row in rows:
            table.add_row(*row)
        told = rendered(table)
    if read.cut:
        told += f"\nThese are the newest {len(lines)} lines; `tapwatt session evidence {session.id}` has all."
    return "\n".join(head) + "\n\n" + told


def _journal_cells(session: PaymentSession, line: JournalEntry) -> tuple[str, str, str, str, str]:
    since = (line.at - session.created_at).total_seconds()
    detail = " ".join(f"{k}={v}" for k, v in line.detail.items() if v is not None)
    return line.at.strftime("%H:%M:%S.%f")[:-3], f"{since:.1f}", line.kind, line.source, detail


def _journal_lines(cells: tuple[str, str, str, str, str]) -> str:
    """Formats a journal line for narrow screens, its detail below."""
    at, since, kind, source, detail = cells
    below = fill(detail, width(), initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join(line for line in (f"{at}  +{since}  {kind}  {source}", below) if line)


def _settlement(session: PaymentSession) -> list[str]:
    settled, currency = session.settlement, session.authorization.currency
    if settled is None:
        return []
    found = [
        f"{settled.action}: capture {format_minor(settled.to_capture_minor, currency)}, release"
        f" {format_minor(settled.to_release_minor, currency)}, {settled.status}"
    ]
    if settled.attempts:
        again = settled.retry_at
        when = f"tried again at {again:%Y-%m-%d %H:%M} UTC" if again else "not tried again"
        found.append(f"refused by the PSP {settled.attempts} times, {when}")
    return found


def _attention(item: Attention) -> str:
    seen, text = item.acknowledged, f"attention {item.code}: {item.detail}"
    if seen is not None:
        return f"{text} (acknowledged by {seen.by}: {seen.note})"
    return _with_action(text, row_of(item.code).action)


def _trouble(trouble: Trouble) -> str:
    text = f"{trouble.severity}: {trouble.title.removesuffix('.')}: {trouble.detail}".replace("\u202f", "")
    return _with_action(text, trouble.action)


def _with_action(text: str, action: str) -> str:
    """Says what is wrong, and below what to do."""
    columns = min(width(), WIDE)
    return "\n".join(
        fill(part, columns, initial_indent=indent, subsequent_indent="    ", break_on_hyphens=False)
        for part, indent in ((text, ""), (action, "    "))
    )


def _why(session: PaymentSession) -> str:
    return str(session.not_started_reason or session.stop_reason or "")


def _kwh(session: PaymentSession) -> str:
    wh = session.settlement.energy_wh if session.settlement else session.energy_wh
    return f"{wh / 1000:.3f}"


def rendered(table: "Table") -> str:
    """Renders a table as plain text. Without colours and without blanks at the ends of lines."""
    out = StringIO()
    from rich.console import Console

    Console(file=out, width=width(), color_system=None).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
