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

    def names(self) -> set[tuple[str, ...]]:
        """Names what only one call can have. Its charge point, its reference, its key."""
        terminal_id, payment = self.terminal.id, self.payment
        names: set[tuple[str, ...]] = {
            (payment.charge_point_id,),
            ("reference", terminal_id, payment.authorization.reference),
        }
        if payment.idempotency_key is not None:
            names.add(("key", terminal_id, payment.idempotency_key))
        return names


AT_ONCE = 2
"""Transactions of one operator's payments: while one is written, the next is judged."""
BESIDE = 7
"""Payments with which the second one begins at once: what a transaction costs, whatever is in it, is half of what
a payment does."""


class Payments:
    """A process's group commits of payments, one an operator. A transaction sees one operator's rows only."""

    def __init__(self) -> None:
        self._groups: dict[OperatorId, GroupCommit[PaymentCall]] = {}

    def group(self, operator_id: OperatorId, write: Write[PaymentCall]) -> GroupCommit[PaymentCall]:
        """The group commit of one operator's payments. `write` is used when it is new."""
        return self._groups.setdefault(
            operator_id, GroupCommit(write, at_once=AT_ONCE, beside=BESIDE, gathers=True)
        )
