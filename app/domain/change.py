"""A change of a payment session together with the journal lines that tell why."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from app.domain.payment_session import PaymentSession
from app.domain.transitions import Command, after

Detail: TypeAlias = Mapping[str, str | int | bool | None]


class Source(StrEnum):
    """Who brought the fact or took the decision."""

    TERMINAL = "terminal"
    MONTA_WEBHOOK = "monta_webhook"
    MONTA_API = "monta_api"
    WATCHER = "watcher"
    OPERATIONS = "operations"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a session's journal: a fact, a decision or a call. `detail` holds no secret and no card data."""

    kind: str
    source: Source
    detail: Detail


@dataclass(frozen=True, slots=True)
class Change:
    """A session on its way from one committed row to the next, with the lines written so far."""

    session: PaymentSession
    lines: tuple[Line, ...] = ()

    def note(self, kind: str, source: Source, **detail: str | int | bool | None) -> "Change":
        return replace(self, lines=(*self.lines, Line(kind, source, detail)))

    def to(self, session: PaymentSession) -> "Change":
        return replace(self, session=session)

    def obey(self, command: Command, source: Source) -> "Change":
        """Take the table's way; raises NotAllowed when there is none."""
        old, new = self.session.status, after(self.session.status, command)
        if new is old:
            return self
        return self.to(replace(self.session, status=new)).note("status_changed", source, old=old, new=new)

    def alarm(self, why: str, source: Source) -> "Change":
        """Ask a person to look; the same reason is asked once."""
        if why in self.session.attention:
            return self
        session = replace(self.session, attention=(*self.session.attention, why))
        return self.to(session).note("attention_needed", source, why=why)

    def relieve(self, why: str, source: Source) -> "Change":
        """A person need not look for this reason any more."""
        if why not in self.session.attention:
            return self
        session = replace(self.session, attention=tuple(w for w in self.session.attention if w != why))
        return self.to(session).note("attention_ended", source, why=why)
