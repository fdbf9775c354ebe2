"""Records a process's payments. Calls that arrive together share a statement."""

from dataclasses import dataclass

from app.domain.session.payment_session import PaymentAuthorized, PaymentSession
from app.domain.units.ids import OperatorId
from app.store.db.group_commit import GroupCommit, Write
from app.store.operators.terminals import Terminal


@dataclass(slots=True, eq=False)
class PaymentCall:
    """A terminal's call while it waits, then what came of it. Neither `session` nor `refusal`: a key was in use."""

    terminal: Terminal
    payment: PaymentAuthorized
    traceparent: str | None = None
    """Of the call's own span."""
    session: PaymentSession | None = None
    refusal: Exception | None = None

    def excludes(self, other: "PaymentCall") -> bool:
        """Whether two calls to an operator exclude each other. They share a charge point, a reference or a key."""
        mine, theirs = self.payment, other.payment
        if mine.charge_point_id == theirs.charge_point_id:
            return True
        if self.terminal.id != other.terminal.id:
            return False
        same_key = mine.idempotency_key is not None and mine.idempotency_key == theirs.idempotency_key
        return same_key or mine.authorization.reference == theirs.authorization.reference


class Payments:
    """A process's group commits of payments, one an operator. A transaction sees one operator's rows only.

    One at a time, of what has arrived: what a transaction costs, whatever is in it, is half of what a payment does.
    """

    def __init__(self) -> None:
        self._groups: dict[OperatorId, GroupCommit[PaymentCall]] = {}

    def group(self, operator_id: OperatorId, write: Write[PaymentCall]) -> GroupCommit[PaymentCall]:
        """The group commit of one operator's payments. `write` is used when it is new."""
        return self._groups.setdefault(operator_id, GroupCommit(write, gathers=True))
