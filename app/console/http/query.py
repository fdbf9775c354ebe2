"""Reads a page's filters from its address. Says in words what is wrong with them."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import TypeVar
from urllib.parse import urlencode

from fastapi import Request

from app.domain.session.payment_session import Status
from app.domain.session.settlement import SettlementStatus
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId, TerminalId
from app.store.sessions.session_filter import SessionFilter

MOST_CHARS = 128
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
FIELDS = (
    *("q", "status", "settlement_status", "needs_attention", "terminal_id", "charge_point_id"),
    *("last4", "from", "to"),
)
FIRST_YEAR, LAST_YEAR = 2020, 9000

E = TypeVar("E", Status, SettlementStatus)


@frozen(kw_only=True)
class Filters:
    """An address's filters as written, and each wrong one's problem."""

    given: Mapping[str, str]
    wrong: Mapping[str, str]
    wanted: SessionFilter

    @property
    def query(self) -> str:
        """The same filters for another address."""
        return urlencode(self.given)


def filters_of(request: Request, operator_id: OperatorId | None) -> Filters:
    """Reads the filters; `wanted` leaves out those that are wrong and keeps the key's operator."""
    given = {
        name: value.strip()[:MOST_CHARS]
        for name in FIELDS
        if (value := request.query_params.get(name, "")).strip()
    }
    wrong: dict[str, str] = {
        name: "has a control character" for name, v in given.items() if CONTROL.search(v)
    }
    read = {name: value for name, value in given.items() if name not in wrong}
    wanted = SessionFilter(
        operator_id=operator_id,
        any_id=read.get("q"),
        status=_one_of(Status, "status", read, wrong),
        settlement_status=_one_of(SettlementStatus, "settlement_status", read, wrong),
        needs_attention=True if read.get("needs_attention") == "true" else None,
        terminal_id=TerminalId(read["terminal_id"]) if "terminal_id" in read else None,
        charge_point_id=read.get("charge_point_id"),
        card_last4=_last4(read, wrong),
        created_from=_midnight(read, "from", wrong),
        created_before=_after(_midnight(read, "to", wrong)),
    )
    return Filters(given=given, wrong=wrong, wanted=wanted)


def _one_of(kind: type[E], name: str, read: Mapping[str, str], wrong: dict[str, str]) -> E | None:
    if name not in read:
        return None
    try:
        return kind(read[name])
    except ValueError:
        wrong[name] = f"is one of {', '.join(kind)}"
        return None


def _last4(read: Mapping[str, str], wrong: dict[str, str]) -> str | None:
    value = read.get("last4")
    if value is not None and not re.fullmatch("[0-9]{4}", value):
        wrong["last4"] = "has four digits"
        return None
    return value


def _midnight(read: Mapping[str, str], name: str, wrong: dict[str, str]) -> datetime | None:
    if name not in read:
        return None
    day = day_of(read[name])
    if day is None:
        wrong[name] = "is a date such as 2026-11-22"
        return None
    return datetime.combine(day, time(), UTC)


def _after(midnight: datetime | None) -> datetime | None:
    """The end of a day: `to` includes it."""
    return None if midnight is None else midnight + timedelta(days=1)


def day_of(text: str) -> date | None:
    """A date as forms send it; None: it is none."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if FIRST_YEAR <= day.year <= LAST_YEAR else None
