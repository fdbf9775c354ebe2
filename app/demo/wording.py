"""Amounts, bars and journal lines in the few words that fit into a table."""

from collections.abc import Callable, Mapping

Detail = Mapping[str, str | int | bool | None]

FULL, EMPTY = "█", "░"
EIGHTHS = "▏▎▍▌▋▊▉"
ASCII_FULL, ASCII_EMPTY = "#", "-"


def money(amount_minor: int) -> str:
    """`12.34` for 1234 cents."""
    sign, amount_minor = ("-", -amount_minor) if amount_minor < 0 else ("", amount_minor)
    return f"{sign}{amount_minor // 100}.{amount_minor % 100:02d}"


def kwh(energy_wh: int) -> str:
    """`2.1` for 2091 Wh."""
    return f"{energy_wh / 1000:.1f}"


def bar(used: int, authorized: int, width: int, *, ascii_only: bool = False) -> str:
    """`width` cells for used of authorized; it is full only when all is used, and never empty once some is."""
    steps = 1 if ascii_only else 8
    filled = 0 if authorized <= 0 else max(0, min(used, authorized)) * width * steps // authorized
    if filled == 0 and used > 0 and authorized > 0 and not ascii_only:
        filled = 1
    whole, part = divmod(filled, steps)
    if ascii_only:
        return ASCII_FULL * whole + ASCII_EMPTY * (width - whole)
    drawn = FULL * whole + (EIGHTHS[part - 1] if part else "")
    return drawn + EMPTY * (width - len(drawn))


def in_words(kind: str, source: str, detail: Detail) -> str:
    """One journal line; a kind that the demo does not know is shown as it is."""
    tell = WORDS.get(kind)
    if tell is None:
        return kind.replace("_", " ")
    return tell({**detail, "source": "webhook" if source == "monta_webhook" else "read"})


def _amount(detail: Detail, name: str) -> str:
    value = detail.get(name)
    return money(value) if isinstance(value, int) else "?"


def _settled(detail: Detail) -> str:
    if detail.get("action") == "release":
        return "release all"
    return f"capture {_amount(detail, 'to_capture_minor')}"


def _words(text: object) -> str:
    return str(text).replace("_", " ")


WORDS: Mapping[str, Callable[[Detail], str]] = {
    "payment_authorized": lambda _: "hold recorded",
    "start_intended": lambda _: "POST /charges",
    "start_accepted": lambda _: "Monta has a charge",
    "start_refused": lambda _: "Monta refuses",
    "start_not_done": lambda _: "start not sent",
    "start_unknown": lambda _: "start: no answer",
    "search_failed": lambda _: "search failed",
    "searched": lambda d: f"looked up: {d.get('found')} found",
    "charge_adopted": lambda _: "charge adopted",
    "charge_reported": lambda d: f"{d['source']}: {d.get('state')}",
    "stop_requested": lambda _: "stop asked for",
    "stop_decided": lambda d: f"to stop: {_words(d.get('reason'))}",
    "stop_intended": lambda d: f"stop no. {d.get('attempt')}",
    "stop_accepted": lambda d: f"stop taken: {d.get('state')}",
    "settlement_decided": _settled,
    "capture_reported": lambda d: f"{d.get('outcome')} {_amount(d, 'amount_minor')}",
    "attention_needed": lambda d: f"look: {d.get('why')}",
}
UNREMARKABLE = frozenset({"status_changed", "charge_reported", "searched"})
"""Kinds that are no news of their own: the status has its column, meters tick all the time."""
