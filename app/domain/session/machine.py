"""The state machine (status, command) -> status, its steps and changes. Each change carries its journal lines."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from app.domain.session.attention import Acknowledgement, Attention, AttentionCode, acknowledged, raised
from app.domain.session.payment_session import Lost, NotStartedReason, PaymentSession, Status, StopReason
from app.domain.session.states.journal import JournalKind
from app.domain.units.frozen import frozen, replace
from app.domain.units.ids import ChargeId

S = Status


class Command(StrEnum):
    """What we decide. What Monta reports only leads to a command, see `reports`."""

    ADOPT = "adopt"
    """Monta has a charge for this session."""
    RUN = "run"
    """Energy flows."""
    STOP = "stop"
    """We ask Monta to stop."""
    FINISH = "finish"
    """Monta says that no energy flows any more."""
    COMPLETE = "complete"
    """The final record is in and settled."""
    CLOSE = "close"
    """The hold is about to expire, and no stop ends the charge: settled as it is, and stopped on as a duplicate."""
    END = "end"
    """Operations end the session, whatever state it is in."""
    GIVE_UP = "give_up"
    """No charge ran and none will: release the hold."""


class NotAllowed(Exception):
    """This command is not possible in this status; nothing was changed."""

    def __init__(self, status: Status, command: Command) -> None:
        super().__init__(f"{command} is not possible while a payment session is {status}")
        self.status = status
        self.command = command


class Source(StrEnum):
    """Who brought the fact or took the decision."""

    TERMINAL = "terminal"
    MONTA_WEBHOOK = "monta_webhook"
    MONTA_API = "monta_api"
    WATCHER = "watcher"
    OPERATIONS = "operations"


@frozen
class Transition:
    """One row of the table: in `status`, `command` leads to `to`. `issuers` may issue it; `cause` says why."""

    status: Status
    command: Command
    to: Status
    issuers: tuple[Source, ...]
    cause: str


C = Command
_MONTA = (Source.MONTA_WEBHOOK, Source.MONTA_API)
_WATCHER, _OPERATIONS = (Source.WATCHER,), (Source.OPERATIONS,)
_STOP_DUE = (
    "a reason to stop is due: a request, the limit, no energy by the start deadline, the hold's expiry"
)
_ENDED = "a report shows that the charge has ended, or it counts as lost"
_CLOSED = "operations end the session; a charge that may still run is stopped"

TRANSITIONS: tuple[Transition, ...] = (
    Transition(
        S.AUTHORIZED, C.ADOPT, S.STARTING, _MONTA, "a report or a search shows a charge with our reference"
    ),
    Transition(
        S.AUTHORIZED,
        C.GIVE_UP,
        S.NOT_STARTED,
        _WATCHER + _OPERATIONS,
        "the start was refused, requested to stop, or not done by its deadline, or operations end the session",
    ),
    Transition(S.AUTHORIZED, C.END, S.COMPLETED, _OPERATIONS, "operations end the session with an amount"),
    Transition(S.STARTING, C.RUN, S.CHARGING, _MONTA, "a report shows energy or the state `charging`"),
    Transition(S.STARTING, C.STOP, S.STOPPING, _WATCHER, _STOP_DUE),
    Transition(S.STARTING, C.FINISH, S.FINISHING, _MONTA + _WATCHER, _ENDED),
    Transition(S.STARTING, C.END, S.COMPLETED, _OPERATIONS, _CLOSED),
    Transition(S.CHARGING, C.STOP, S.STOPPING, _WATCHER, _STOP_DUE),
    Transition(S.CHARGING, C.FINISH, S.FINISHING, _MONTA + _WATCHER, _ENDED),
    Transition(S.CHARGING, C.END, S.COMPLETED, _OPERATIONS, _CLOSED),
    Transition(S.STOPPING, C.STOP, S.STOPPING, _WATCHER, "the stop is not confirmed: it is repeated"),
    Transition(S.STOPPING, C.FINISH, S.FINISHING, _MONTA + _WATCHER, _ENDED),
    Transition(
        S.STOPPING,
        C.CLOSE,
        S.COMPLETED,
        _WATCHER,
        "no stop ended the charge and the hold is about to expire: settled by what is known, stopped on",
    ),
    Transition(S.STOPPING, C.END, S.COMPLETED, _OPERATIONS, _CLOSED),
    Transition(
        S.FINISHING, C.STOP, S.FINISHING, _WATCHER, "the charge runs although it has ended or counts as lost"
    ),
    Transition(
        S.FINISHING,
        C.COMPLETE,
        S.COMPLETED,
        _WATCHER + _OPERATIONS,
        "settled by the final record, by what is known before the hold expires, or by operations' amount",
    ),
    Transition(
        S.FINISHING,
        C.GIVE_UP,
        S.NOT_STARTED,
        _WATCHER,
        "the charge ended without energy: the hold is released",
    ),
    Transition(S.FINISHING, C.END, S.COMPLETED, _OPERATIONS, _CLOSED),
)
"""Status never goes back: a charge that is restarted after its end is stopped again while `finishing`."""

TABLE: Mapping[tuple[Status, Command], Status] = {(row.status, row.command): row.to for row in TRANSITIONS}


def after(status: Status, command: Command) -> Status:
    """The status that `command` leads to. Raises NotAllowed for a pair that is not in the table."""
    try:
        return TABLE[status, command]
    except KeyError:
        raise NotAllowed(status, command) from None


@frozen
class SendStart:
    """POST /charges, once, guarded."""


@frozen
class SearchCharges:
    """Search Monta for charges with our reference."""


@frozen
class ReadCharge:
    charge_id: ChargeId


@frozen
class AskSweep:
    """Have a long silent charge read with all others of the operator."""

    charge_id: ChargeId


@frozen
class SendStop:
    reason: StopReason


@frozen
class StopDuplicate:
    charge_id: ChargeId


@frozen
class GiveUp:
    """No charge ran and none will: release the hold."""

    reason: NotStartedReason


@frozen
class Settle:
    """The final record is known and can be billed."""


@frozen
class SettleUnfinished:
    """Settle by what is known, since the hold is about to expire. There is no believable final record."""


@frozen
class CountLost:
    """Count the charge as ended, since Monta never ends it."""

    why: Lost


@frozen
class Wait:
    """Nothing before `until`; None: nothing ever, unless news comes."""

    until: datetime | None
    stop_at: datetime | None = field(default=None, compare=False)
    """When a stop falls due, unless news comes. From then on the session is claimed before all others."""
    for_silence: bool = field(default=False, compare=False)
    """Nothing but a read of a silent charge is due at `until`: readings that are kept beside the session put it off."""


Call: TypeAlias = SendStart | SearchCharges | ReadCharge | SendStop | StopDuplicate
Step: TypeAlias = Call | AskSweep | GiveUp | Settle | SettleUnfinished | CountLost | Wait


def soonest(*waits: Wait) -> Wait:
    """Returns the earliest wait, with the earliest stop of all."""
    return Wait(
        min((wait.until for wait in waits if wait.until is not None), default=None),
        min((wait.stop_at for wait in waits if wait.stop_at is not None), default=None),
    )


def until_stop(at: datetime) -> Wait:
    """Waits until a stop is due."""
    return Wait(at, at)


def when(step: Call, due: datetime, now: datetime) -> Call | Wait:
    """The call if it is due, else the wait for it."""
    return step if due <= now else Wait(due)


Detail: TypeAlias = Mapping[str, str | int | bool | None]


@frozen
class Caller:
    """Who acts: an API key (id and name) or the command line. Never the key itself."""

    id: str
    name: str | None = None


_CALLERS = frozenset({Source.TERMINAL, Source.OPERATIONS})
"""Sources whose journal lines name the caller."""


@frozen
class JournalLine:
    """One journal line: a fact, a decision or a call. `detail` holds no secret and no card data."""

    kind: JournalKind
    source: Source
    detail: Detail


@frozen
class Change:
    """A session's change from one committed row to the next. With the lines written so far."""

    session: PaymentSession
    lines: tuple[JournalLine, ...] = ()
    by: Caller | None = None
    """Who asked for this change; named in each line of a terminal or of operations."""

    def note(self, kind: JournalKind, source: Source, **detail: str | int | bool | None) -> "Change":
        if self.by is not None and source in _CALLERS:
            detail["by"] = self.by.id
            if self.by.name is not None:
                detail["by_name"] = self.by.name
        return replace(self, lines=(*self.lines, JournalLine(kind, source, detail)))

    def to(self, session: PaymentSession) -> "Change":
        return replace(self, session=session)

    def apply(self, command: Command, source: Source) -> "Change":
        """Applies a command by the table. Raises NotAllowed for a pair that is absent."""
        old, new = self.session.status, after(self.session.status, command)
        if new is old:
            return self
        return self.to(replace(self.session, status=new)).note(
            JournalKind.STATUS_CHANGED, source, old=old, new=new, command=command
        )

    def raise_attention(
        self, code: AttentionCode, detail: str, source: Source, *, about: str = ""
    ) -> "Change":
        """Raises attention, in words without secrets; `about` distinguishes several causes of one code. Raising it
        again changes nothing."""
        items = raised(self.session.attention, Attention(code=code, detail=detail, about=about))
        if items == self.session.attention:
            return self
        session = replace(self.session, attention=items)
        return self.to(session).note(JournalKind.ATTENTION_NEEDED, source, code=code, why=detail)

    def clear_attention(self, code: AttentionCode, source: Source, *, about: str | None = None) -> "Change":
        """Clears attention whose cause is gone. `about` None: all of this code."""
        gone = [i for i in self.session.attention if i.code == code and about in (None, i.about)]
        if not gone:
            return self
        session = replace(self.session, attention=tuple(i for i in self.session.attention if i not in gone))
        change = self.to(session)
        for item in gone:
            change = change.note(JournalKind.ATTENTION_ENDED, source, code=code, why=item.detail)
        return change

    def set_attention(
        self, code: AttentionCode, detail: str | None, source: Source, *, about: str = ""
    ) -> "Change":
        """Brings this code's items up to what holds now. To this one cause and no other. `detail` None: no cause at
        all."""
        change = self
        for item in self.session.attention:
            if item.code == code and (detail is None or item.about != about):
                change = change.clear_attention(code, source, about=item.about)
        return change if detail is None else change.raise_attention(code, detail, source, about=about)

    def acknowledge(self, code: str, seen: Acknowledgement) -> "Change":
        """Acknowledges attention: it stays in the list, but is no longer open."""
        items = acknowledged(self.session.attention, code, seen)
        if items == self.session.attention:
            return self
        session = replace(self.session, attention=items)
        return self.to(session).note(
            JournalKind.ATTENTION_ACKNOWLEDGED, Source.OPERATIONS, code=code, by=seen.by, note=seen.note
        )
