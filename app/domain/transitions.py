"""The one table of what may happen to a payment session: (status, command) -> status."""

from collections.abc import Mapping
from enum import StrEnum

from app.domain.payment_session import Status

S = Status


class Command(StrEnum):
    """What we decide; what Monta reports only leads to a command, see progress."""

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
    """The hold is about to die, and no stop ends the charge: settled as it is, stopped on as one that nobody pays."""
    END = "end"
    """A person ends the session, whatever state it is in."""
    GIVE_UP = "give_up"
    """No charge ran and none will: release the hold."""


class NotAllowed(Exception):
    """This command is not possible in this status; nothing was changed."""

    def __init__(self, status: Status, command: Command) -> None:
        super().__init__(f"{command} is not possible while a payment session is {status}")
        self.status = status
        self.command = command


TABLE: Mapping[tuple[Status, Command], Status] = {
    (S.AUTHORIZED, Command.ADOPT): S.STARTING,
    (S.AUTHORIZED, Command.GIVE_UP): S.NOT_STARTED,
    (S.STARTING, Command.RUN): S.CHARGING,
    (S.STARTING, Command.STOP): S.STOPPING,
    (S.STARTING, Command.FINISH): S.FINISHING,
    (S.CHARGING, Command.STOP): S.STOPPING,
    (S.CHARGING, Command.FINISH): S.FINISHING,
    (S.STOPPING, Command.STOP): S.STOPPING,
    (S.STOPPING, Command.FINISH): S.FINISHING,
    (S.STOPPING, Command.CLOSE): S.COMPLETED,
    (S.FINISHING, Command.STOP): S.FINISHING,
    (S.FINISHING, Command.COMPLETE): S.COMPLETED,
    (S.FINISHING, Command.GIVE_UP): S.NOT_STARTED,
    (S.AUTHORIZED, Command.END): S.COMPLETED,
    (S.STARTING, Command.END): S.COMPLETED,
    (S.CHARGING, Command.END): S.COMPLETED,
    (S.STOPPING, Command.END): S.COMPLETED,
    (S.FINISHING, Command.END): S.COMPLETED,
}
"""Status never goes back: a charge that somebody restarts after it ended is stopped again while `finishing`."""


def after(status: Status, command: Command) -> Status:
    """The status that `command` leads to; raises NotAllowed for a pair that is not in the table."""
    try:
        return TABLE[status, command]
    except KeyError:
        raise NotAllowed(status, command) from None
