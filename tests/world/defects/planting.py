"""Plants defects: each replaces one safeguard while a block lasts."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain.limit.policy import Policy
from app.domain.session import next_step
from app.domain.session.machine import Step
from app.domain.session.payment_session import PaymentSession
from app.flows.session import advance
from app.monta import transport
from app.monta.errors import Outcome
from tests.world.faults import Befall

Plant = Callable[[ExitStack], None]
Decide = Callable[[PaymentSession, Policy, datetime], Step]


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """A defect, and the number of seeds within which some rule must detect it."""

    name: str
    plant: Plant = lambda _: None
    policy: Policy | None = None
    """Instead of the plan's own."""
    schema: tuple[str, ...] = ()
    """Constraints that are removed from the database."""
    under: tuple[Befall, ...] = ()
    """Faults added to every seed: those that the safeguard is there for."""
    seeds: int = 25
    noticed_in: int = 1
    """The seed that is tried first, since a rule detected it there when it was planted."""


def substitute(where: Any, name: str, new: Any) -> Plant:
    """Replaces one attribute and restores it."""

    def plant(stack: ExitStack) -> None:
        old = getattr(where, name)
        setattr(where, name, new)
        stack.callback(setattr, where, name, old)

    return plant


def all_of(*plants: Plant) -> Plant:
    def plant(stack: ExitStack) -> None:
        for each in plants:
            each(stack)

    return plant


@contextmanager
def planted(defect: Defect) -> Iterator[None]:
    with ExitStack() as stack:
        defect.plant(stack)
        yield


def deciding(new: Callable[[Step, PaymentSession, Policy, datetime], Step]) -> Plant:
    """Passes every decision through `new`."""

    def decide(session: PaymentSession, policy: Policy, now: datetime) -> Step:
        return new(next_step.decide(session, policy, now), session, policy, now)

    return substitute(advance, "decide", decide)


def sorting(new: Callable[[int | Exception], Outcome]) -> Plant:
    """Classifies answers and failures of Monta by `new`."""
    return all_of(substitute(transport, "outcome_of", new), substitute(transport, "outcome_of", new))
