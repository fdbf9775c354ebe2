"""The figures that decisions depend on; seconds unless the name says otherwise. Settings override the first block."""

from dataclasses import dataclass
from enum import StrEnum

from app.domain.charging.charge_point import CurrentType


class SmallAuthorizations(StrEnum):
    """What becomes of an authorization that is below the least limit that Monta takes."""

    REFUSE = "refuse"
    WATCH = "watch"
    """It runs, guarded by our watcher alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Defaults are those of the contract; all of them are bounds, none is a promise of Monta's."""

    start_deadline_s: float = 300
    quiet_window_s: float = 120
    send_guard_s: float = 5
    stop_grace_s: float = 60
    """A stop has so long to end a charge, even when its hold is about to die, before it is settled as it is."""
    silence_s: float = 60
    stop_retry_s: float = 10
    settle_poll_s: float = 10
    stop_latency_s: float = 15
    """A usual stop, from the call to no power; what is assumed until a charge point's own is learned."""

    unknown_latency_factor: float = 2
    """Where nothing was learned a stop may take so many times the usual: 30 s."""
    settled_sample_s: float = 1.5
    """So long after a sample of the meter is due, Monta is expected to show it."""
    least_read_s: float = 1
    """A read that is due just before a stop has so long to be answered; then the stop goes first."""
    limit_reaction_s: float = 2
    """What Monta's own limits may take to act; they are set below the authorization by as much at full power."""
    limit_trial_s: float = 4
    """To see whether Monta's limits act at once they are set once so much ahead of where our own stop ends, where"""
    limit_trial_share: float = 0.05
    """this share of the authorization pays for that."""
    idle_reserve_s: int = 300
    """Where a cable that is left in costs money, so long a time of it is kept back from the authorization."""
    idle_reserve_share: float = 0.1
    """But never more than this share of it."""
    small_authorizations: SmallAuthorizations = SmallAuthorizations.REFUSE
    max_ambiguous_posts: int = 2
    """A POST whose effect is unknown is repeated once: after the quiet window and an empty search."""
    duplicate_watch_s: float = 1200
    """How long further charges of ours may turn up after an ambiguous POST or an early release (Monta is late)."""
    duplicate_search_s: float = 30
    stop_attention_attempts: int = 3
    """So many stops without effect: a person is told, and repeats slow down `stop_slow_factor` times."""
    stop_slow_factor: float = 3
    first_energy_factor: float = 3.5
    """A charge that Monta calls `charging` may take so many start deadlines to its first reading: with 300 s, a meter
    that counts whole kWh shows its first one at 3.7 kW after 16 minutes."""
    meter_interval_s: float = 300
    """A reading that Monta confirms is believed to be at most so old (the slowest meters we know of)."""
    webhook_grace: float = 0.2
    """A share of the silence that a webhook may still be on its way: without it, each meter that reports once in
    exactly that time would be read each time as well."""
    sweep_patience_s: float = 60
    """A silent charge that no sweep has brought news of for so long is read by its session itself."""
    meter_silence_s: float = 1800
    """A running charge whose meter shows nothing new for longer than this is no longer believed to stand still: full
    power is assumed from then on (1 kWh at 2.3 kW, the slowest step of the slowest meters, takes 26 minutes)."""
    read_ahead_s: float = 4
    """Before a stop that rests on an old reading the charge is read once more, so long before the stop is due."""
    reaction_s: float = 0.5
    """From a stop that is due to the call on its way: claim, commit, connection. Counted besides the stop latency."""
    fresh_s: float = 5
    """A reading of this age needs no second look."""
    settle_poll_max_s: float = 300
    idle_reads: int = 2
    """Spaced reads that must agree that an ended charge gave no energy before its hold is released."""
    finishing_attention_s: float = 1800
    """An ended charge that is not completed after this long (Monta's own measure for a stuck one)."""
    hold_margin_s: float = 600
    """A session is ended so long before its hold expires."""
    hold_days: int = 2
    """How long a hold is good when the terminal does not say (schemes: two days and less with the card present)."""
    hold_max_eur: int = 1000
    """The most that one session may hold, where the operator has no ceiling of its own; other currencies alike."""
    unknown_ac_power_w: int = 43_000
    """What an AC charge point may give when Monta does not say: the most that a type 2 plug carries."""
    unknown_power_w: int = 400_000
    """The same when not even the kind of current is known, or it is DC."""
    highest_power_w: int = 4_000_000
    """No charger gives more (megawatt chargers: 3.75 MW): a reading that says so is a fault of the meter."""
    highest_ac_power_w: int = 100_000
    """A rating above this of an AC charge point is a fault (the largest for buses: 86 kW)."""
    lowest_power_w: int = 1_000
    """A rating below this is a fault: no vehicle charges as slowly."""
    report_skew_s: float = 5
    """A report's `updatedAt` may lie so far ahead of our clock; a later one is taken for this."""
    clock_skew_s: float = 10
    """Monta's clock may differ from ours by so much before it is told; what it tells decides nothing by that."""
    answer_s: float = 30
    """An answer may tell of what happened so long after it was asked for."""
    backoff_max_s: float = 65
    """Between failed calls of one kind; with it no session makes more than 60 calls an hour that bring nothing."""
    stop_pause_max_s: float = 240
    """Between stops (each with a read) of a charge of which nothing changes."""
    stop_idle_pause_s: float = 300
    """The same once it counts as lost, and for charges that nobody pays for."""
    duplicate_search_live_s: float = 240
    """Between searches while a charge that nobody pays for does not stop."""
    duplicate_stop_for_s: float = 172_800
    """A charge that nobody pays for is stopped on for so long; then a person is asked."""
    gone_answers: int = 4
    gone_after_s: float = 180
    """So many answers 404 in a row over so long a time: the charge is gone."""
    stalled_answers: int = 4
    stalled_after_s: float = 300
    """So many stops that Monta answered over so long a time in which nothing of the charge changed: it has stalled."""
    unreadable_answers: int = 8
    unreadable_after_s: float = 1800
    """So many refused reads over so long a time of a charge that has ended: its record will not come."""
    odd_state_s: float = 240
    """A charge with energy in a state that should soon pass, or that we do not know, is stopped after so long."""
    restart_window_s: float = 300
    """An ended charge may be restarted within so long; afterwards its charge point is free for the next payment."""

    @property
    def silent_after_s(self) -> float:
        """A running charge without news for this long is silent."""
        return self.silence_s * (1 + self.webhook_grace)


def power_bound_w(rated_w: int | None, current: CurrentType | None, policy: Policy) -> int:
    """The most that a charge point can give, by what Monta says of it; a rating that cannot be says nothing."""
    is_ac = current is CurrentType.AC
    highest_w = policy.highest_ac_power_w if is_ac else policy.highest_power_w
    if rated_w is not None and policy.lowest_power_w <= rated_w <= highest_w:
        return rated_w
    return policy.unknown_ac_power_w if is_ac else policy.unknown_power_w


def growing_s(pause_s: float, times: int, policy: Policy) -> float:
    """Half as long again each time, so that what does not change is asked for more and more seldom."""
    return float(min(pause_s * 1.5 ** min(max(0, times), 20), policy.settle_poll_max_s))


def stop_pause_s(attempts: int, unchanged: int, policy: Policy) -> float:
    """Seconds from one stop to the next: `attempts` so far, `unchanged` of them since the charge last changed."""
    if attempts <= policy.stop_attention_attempts:
        return policy.stop_retry_s
    slow = policy.stop_retry_s * policy.stop_slow_factor
    doublings = max(0, unchanged - policy.stop_attention_attempts - 1)
    return max(slow, min(policy.stop_pause_max_s, slow * float(2 ** min(doublings, 10))))


def duplicate_pause_s(attempts: int, policy: Policy) -> float:
    """Seconds from one stop of a charge that nobody pays for to the next, after so many."""
    if attempts <= policy.stop_attention_attempts:
        return policy.stop_retry_s
    slow = policy.stop_retry_s * policy.stop_slow_factor
    doublings = min(attempts - policy.stop_attention_attempts - 1, 10)
    return min(policy.stop_idle_pause_s, slow * float(2**doublings))


def backoff_s(failures: int, policy: Policy) -> float:
    """Seconds to wait after so many failures in a row: 2, 4, 8, ... up to the policy's bound."""
    return float(min(policy.backoff_max_s, 2 ** min(failures, 10)))
