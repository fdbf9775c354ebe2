"""Formats amounts and journal lines for narrow tables."""

from collections.abc import Callable, Mapping

from app.domain.session.states.journal import JournalKind

Detail = Mapping[str, str | int | bool | None]


def money(amount_minor: int) -> str:
    """Formats 1234 cents as `12.34`."""
    sign, amount_minor = ("-", -amount_minor) if amount_minor < 0 else ("", amount_minor)
    return f"{sign}{amount_minor // 100}.{amount_minor % 100:02d}"


def kwh(energy_wh: int) -> str:
    """Formats 2091 Wh as `2.1`."""
    return f"{energy_wh / 1000:.1f}"


def in_words(kind: str, source: str, detail: Detail) -> str:
    """Describes one journal line; an unknown kind is shown as it is."""
    words = WORDS.get(kind)
    if words is None:
        return kind.replace("_", " ")
    return words({**detail, "source": "webhook" if source == "monta_webhook" else "read"})


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
    JournalKind.PAYMENT_AUTHORIZED: lambda _: "hold recorded",
    JournalKind.START_INTENDED: lambda _: "POST /charges",
    JournalKind.START_ACCEPTED: lambda _: "Monta has a charge",
    JournalKind.START_REFUSED: lambda _: "Monta refuses",
    JournalKind.START_NOT_DONE: lambda _: "start not sent",
    JournalKind.START_UNKNOWN: lambda _: "start: no answer",
    JournalKind.SEARCH_FAILED: lambda _: "search failed",
    JournalKind.SEARCHED: lambda d: f"looked up: {d.get('found')} found",
    JournalKind.CHARGE_ADOPTED: lambda _: "charge adopted",
    JournalKind.CHARGE_REPORTED: lambda d: f"{d['source']}: {d.get('state')}",
    JournalKind.STOP_REQUESTED: lambda _: "stop asked for",
    JournalKind.STOP_DECIDED: lambda d: f"to stop: {_words(d.get('reason'))}",
    JournalKind.STOP_INTENDED: lambda d: f"stop no. {d.get('attempt')}",
    JournalKind.STOP_ACCEPTED: lambda d: f"stop taken: {d.get('state')}",
    JournalKind.SETTLEMENT_DECIDED: _settled,
    JournalKind.CAPTURE_REPORTED: lambda d: f"{d.get('outcome')} {_amount(d, 'amount_minor')}",
    JournalKind.ATTENTION_NEEDED: lambda d: f"look: {d.get('why')}",
}
UNREMARKABLE = frozenset({JournalKind.STATUS_CHANGED, JournalKind.CHARGE_REPORTED, JournalKind.SEARCHED})
"""Kinds that are not shown: the status has its own column, and meter readings are frequent."""
