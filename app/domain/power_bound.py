"""What a plan counts with: power and stop latency, each from the hardware or from what was shown, by evidence."""

from dataclasses import dataclass
from enum import StrEnum

from app.domain.charge import Charge
from app.domain.habits import latency_bound_s, usual_peak_w
from app.domain.money import to_major
from app.domain.payment_session import PaymentSession
from app.domain.policy import Policy
from app.domain.possible import most_power_w


class PowerBasis(StrEnum):
    """What bounds the power until the next reading.

    SHOWN: what this car and charger have shown, since Monta confirms a limit of its own. HARDWARE: the most that the
    charge point can give, since nobody else guards, nothing was shown yet, or its power jumps.
    """

    SHOWN = "shown"
    HARDWARE = "hardware"


@dataclass(frozen=True, slots=True)
class Bound:
    """The worst case that a plan counts with."""

    power_w: int
    basis: PowerBasis
    latency_s: float
    latency_learned: bool


def max_power_w(session: PaymentSession, policy: Policy) -> int:
    """What may flow at any moment: the charge point's rating, or more when more was seen, as far as that can be."""
    rated = session.power_bound_w if session.power_bound_w is not None else policy.unknown_power_w
    return max(rated, min(session.seen_power_w, most_power_w(session, policy)))


def guarded(session: PaymentSession, charge: Charge) -> bool:
    """Whether Monta confirms a limit that keeps within the reservation as it is now, and keeps its limits here: a limit
    that starts where top-ups may lead to is no guard below that."""
    limits, latest = session.limits, charge.latest
    if limits is None or (session.habits is not None and session.habits.limit_missed):
        return False
    if limits.reserved_minor <= session.reserved_minor and limits.confirmed_by(
        latest.kwh_limit, latest.price_limit
    ):
        return True
    usable = to_major(session.reserved_minor - limits.kept_back_minor, session.authorization.currency)
    return latest.price_limit is not None and latest.price_limit <= usable


def prompt(session: PaymentSession) -> bool:
    """Whether Monta's limits were seen to act at once at this charge point."""
    return session.habits is not None and session.habits.limit_prompt > 0


def power_bound(session: PaymentSession, charge: Charge, policy: Policy) -> tuple[int, PowerBasis]:
    """The most that may flow until the next reading, in W, and what says so."""
    most, trail, habits = max_power_w(session, policy), session.trail, session.habits
    shared = trail.jumped or (habits is not None and habits.shares_power > 0)
    if shared or not guarded(session, charge):
        return most, PowerBasis.HARDWARE
    if trail.shown_w is None:
        usual_w = usual_peak_w(habits) if prompt(session) else None
        return (most, PowerBasis.HARDWARE) if usual_w is None else (min(most, usual_w), PowerBasis.SHOWN)
    shown = max(trail.shown_w, trail.held_w) if trail.held_back else trail.shown_w
    return min(most, shown), PowerBasis.SHOWN


def bound_of(session: PaymentSession, charge: Charge, policy: Policy) -> Bound:
    """Power and stop latency as they are counted with now; a latency that was learned counts where Monta guards too,
    and was seen to do so at once: alone we expect the worst, since behaviour may change at any stop."""
    power_w, basis = power_bound(session, charge, policy)
    learned_s, worst_s = latency_bound_s(session.habits, policy), latency_bound_s(None, policy)
    known = session.habits is not None and bool(session.habits.stop_latencies_ms)
    if known and prompt(session) and guarded(session, charge):
        return Bound(power_w, basis, learned_s, latency_learned=True)
    return Bound(power_w, basis, max(learned_s, worst_s), latency_learned=learned_s > worst_s)
