"""Says which payment sessions a query means, in plain values. Only the store turns it into SQL."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeAlias, cast

from sqlalchemy import (
    ARRAY,
    BindParameter,
    ColumnElement,
    Text,
    and_,
    any_,
    bindparam,
    func,
    literal,
    literal_column,
    or_,
    select,
    union,
)

from app.domain.session.payment_session import ENDED_STATUSES, Status
from app.domain.session.settlement import SettlementStatus
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId, TerminalId
from app.store.sessions import holds
from app.store.tables import payment_sessions, settlements

P = payment_sessions


@frozen(kw_only=True)
class CardTokens:
    """One card, or one account behind several cards. A session matches by either. Without both, none does."""

    fingerprint: str | None = None
    account_reference: str | None = None


@frozen(kw_only=True)
class SessionFilter:
    """Sessions for which everything that is given holds; None asks for nothing.

    Raises ValueError for a `hold_reference` or `open_for_terminal` without the terminal.
    """

    ids: Sequence[str] | None = None
    operator_id: OperatorId | None = None
    terminal_id: TerminalId | None = None
    charge_point_id: str | None = None
    charge_id: str | None = None
    charge_ids: Sequence[str] | None = None
    """Those whose own charge is one of these."""
    status: Status | None = None
    active: bool = False
    """Only those that have not ended."""
    open_for_terminal: bool = False
    """Only those that have not ended, or whose settlement its terminal still has to report."""
    occupying: bool = False
    """Only those of which a charge can still run at their charge point."""
    reference: str | None = None
    """The first authorization's."""
    hold_reference: str | None = None
    """Of any authorization that pays for the session, the first or a later one."""
    display_reference: str | None = None
    any_id: str | None = None
    """Its own id, its charge's, its display reference, or the reference of any of its holds."""
    card: CardTokens | None = None
    card_last4: str | None = None
    needs_attention: bool | None = None
    settlement_status: SettlementStatus | None = None
    created_from: datetime | None = None
    """Inclusive."""
    created_before: datetime | None = None

    def __post_init__(self) -> None:
        if self.hold_reference is not None and self.terminal_id is None:
            raise ValueError("a hold's reference is unique within its terminal only")
        if self.open_for_terminal and self.terminal_id is None:
            raise ValueError("a session is open for a terminal; name it")


EVERY_SESSION = SessionFilter()

_EQUAL = {
    "operator_id": P.c.operator_id,
    "terminal_id": P.c.terminal_id,
    "charge_point_id": P.c.charge_point_id,
    "charge_id": P.c.charge_id,
    "reference": P.c.reference,
    "display_reference": P.c.display_reference,
    "card_last4": P.c.card_last4,
}
_LISTS = {"ids": P.c.id, "charge_ids": P.c.charge_id}
_CARD = {"fingerprint": P.c.card_fingerprint, "account_reference": P.c.card_account_reference}
_LITERAL = ("status", "needs_attention", "settlement_status", "active", "open_for_terminal", "occupying")
"""Fields of few values, which stand in the statement itself, so that PostgreSQL can use partial indexes."""

_NAMES = tuple(each.name for each in fields(SessionFilter))

Shape: TypeAlias = tuple[tuple[str, object], ...]
"""What is asked for: fields with the values that stand in the statement, None for parameters."""
Given: TypeAlias = dict[str, Any]


def shape_of(wanted: SessionFilter) -> tuple[Shape, Given]:
    """Splits a filter into the shape of its statement and the parameters."""
    shape: list[tuple[str, object]] = []
    given: Given = {}
    for name in _NAMES:
        value = getattr(wanted, name)
        if value is None or (value is False and name != "needs_attention"):
            continue
        if name == "card":
            tokens = {token: getattr(value, token) for token in _CARD if getattr(value, token) is not None}
            shape.append(("card", tuple(tokens)))
            given |= {f"card_{token}_is": one for token, one in tokens.items()}
        elif name in _LITERAL:
            shape.append((name, value))
        else:
            shape.append((name, None))
            given[f"{name}_is"] = list(value) if name in _LISTS else value
    return tuple(shape), given


def conditions(shape: Shape) -> list[ColumnElement[bool]]:
    """Builds the WHERE clause of a query over payment sessions. Joined to their settlements."""
    return [_condition(name, value) for name, value in shape]


def is_active() -> ColumnElement[bool]:
    """Builds the condition for active sessions in literal words. So that PostgreSQL sees that the partial index has
    them all."""
    return P.c.status.not_in([_word(status) for status in sorted(ENDED_STATUSES)])


def _condition(name: str, value: object) -> ColumnElement[bool]:
    if name in _EQUAL:
        return _EQUAL[name] == bindparam(f"{name}_is")
    if name in _LISTS:
        return _LISTS[name] == any_(bindparam(f"{name}_is", type_=ARRAY(Text)))
    if name == "card":
        names = cast(tuple[str, ...], value)
        return or_(literal(False), *(_CARD[each] == bindparam(f"card_{each}_is") for each in names))
    return _OTHERS[name](value)


_OTHERS: dict[str, Callable[[Any], ColumnElement[bool]]] = {
    "status": lambda value: P.c.status == _word(Status(value)),
    "settlement_status": lambda value: settlements.c.status == _word(SettlementStatus(value)),
    "needs_attention": lambda value: P.c.needs_attention if value else ~P.c.needs_attention,
    "active": lambda _: is_active(),
    "open_for_terminal": lambda _: _open_for_terminal(),
    "occupying": lambda _: P.c.occupies_charge_point,
    "created_from": lambda _: P.c.created_at >= bindparam("created_from_is"),
    "created_before": lambda _: P.c.created_at < bindparam("created_before_is"),
    "any_id": lambda _: _any_id(),
    "hold_reference": lambda _: P.c.id.in_(
        holds.session_ids(bindparam("terminal_id_is"), bindparam("hold_reference_is"))
    ),
}


def _open_for_terminal() -> ColumnElement[bool]:
    """Each part by a partial index of what is open. A terminal's ended sessions are not read."""
    running = sorted(set(Status) - ENDED_STATUSES)
    unreported = (
        settlements.c.status == _word(SettlementStatus.DUE),
        and_(settlements.c.status == _word(SettlementStatus.FAILED), settlements.c.retry_at.is_not(None)),
    )
    return P.c.id.in_(
        union(
            select(P.c.id).where(
                P.c.terminal_id == bindparam("terminal_id_is"), P.c.status.in_([_word(s) for s in running])
            ),
            *(select(settlements.c.session_id).where(condition) for condition in unreported),
        )
    )


def _any_id() -> ColumnElement[bool]:
    """People type display references in small letters too."""
    wanted: BindParameter[str] = bindparam("any_id_is", type_=Text)
    found = (
        P.c.id == wanted,
        P.c.charge_id == wanted,
        P.c.display_reference == wanted,
        P.c.display_reference == func.upper(wanted),
    )
    # Each by its own index: joined by OR, they would be checked for every session.
    ids = (select(P.c.id).where(condition) for condition in found)
    return P.c.id.in_(union(*ids, holds.sessions_of_any_terminal(wanted)))


def _word(value: Status | SettlementStatus) -> ColumnElement[str]:
    """Writes a word of ours as a constant. An enum's value holds no quote."""
    return literal_column(f"'{value}'", Text)
