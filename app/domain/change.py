"""A change of a payment session together with the journal lines that tell why."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from app.domain.attention import Acknowledgement, Attention, AttentionCode, acknowledged, raised
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

    def raise_attention(
        self, code: AttentionCode, detail: str, source: Source, *, about: str = ""
    ) -> "Change":
        """Ask a person to look, in words without secrets; `about` tells several causes of one code apart. What stands
        already is not raised again."""
        items = raised(self.session.attention, Attention(code=code, detail=detail, about=about))
        if items == self.session.attention:
            return self
        session = replace(self.session, attention=items)
        return self.to(session).note("attention_needed", source, code=code, why=detail)

    def clear_attention(self, code: AttentionCode, source: Source, *, about: str | None = None) -> "Change":
        """The cause is gone: nobody need look any more. `about` None: all of this code."""
        gone = [i for i in self.session.attention if i.code == code and about in (None, i.about)]
        if not gone:
            return self
        session = replace(self.session, attention=tuple(i for i in self.session.attention if i not in gone))
        change = self.to(session)
        for item in gone:
            change = change.note("attention_ended", source, code=code, why=item.detail)
        return change

    def set_attention(
        self, code: AttentionCode, detail: str | None, source: Source, *, about: str = ""
    ) -> "Change":
        """Bring this code up to what holds now: this one cause and no other; `detail` None: no cause at all."""
        change = self
        for item in self.session.attention:
            if item.code == code and (detail is None or item.about != about):
                change = change.clear_attention(code, source, about=item.about)
        return change if detail is None else change.raise_attention(code, detail, source, about=about)

    def acknowledge(self, code: str, seen: Acknowledgement) -> "Change":
        """Somebody has seen it: it stays as it is, but no longer asks for anybody."""
        items = acknowledged(self.session.attention, code, seen)
        if items == self.session.attention:
            return self
        session = replace(self.session, attention=items)
        return self.to(session).note(
            "attention_acknowledged", Source.OPERATIONS, code=code, by=seen.by, note=seen.note
        )

    def alarm(self, why: str, source: Source) -> "Change":
        """Ask a person to look, for a reason that has no code of its own yet; closed by acknowledging only."""
        return self.raise_attention(AttentionCode.OTHER, why, source, about=why)
