"""The constants that decisions depend on; seconds unless the name says otherwise. Settings override the first block."""

from enum import StrEnum

from app.domain.charging.charge_point import CurrentType
from app.domain.units.frozen import frozen


class SmallAuthorizations(StrEnum):
    """How to treat an authorization below the least limit of Monta."""

    REFUSE = "refuse"
    WATCH = "watch"
    """Start it, limited by our watcher alone."""


@frozen(kw_only=True)
class Policy:
    """The defaults are those of the contract. All are bounds, none is a promise of Monta's."""

    start_deadline_s: float = 300
    quiet_window_s: float = 120
    send_guard_s: float = 5
    stop_grace_s: float = 60
    """Time for a stop to end a charge before it is settled as it is, even when its hold is about to expire."""
    silence_s: float = 60
    stop_retry_s: float = 10
    settle_poll_s: float = 10
    stop_latency_s: float = 15
    """The usual stop latency, from the call to no power. Assumed until a charge point's own is learned."""

    unknown_latency_factor: float = 2
    """Where nothing was learned a stop may take this multiple of the usual latency: 30 s."""
    settled_sample_s: float = 1.5
    """Delay after a meter sample is due until Monta is expected to show it."""
    least_read_s: float = 1
    """Timeout of a read just before a stop; then the stop goes first."""
    limit_reaction_s: float = 2
    """Reaction time of Monta's own limits. They are set below the authorization by the energy of this time at full
    power."""
    limit_trial_s: float = 4
    """Trial of Monta's limits: once they are set to act this long before our own stop does, where"""
    limit_trial_share: float = 0.05
    """this share of the authorization pays for that."""
    idle_reserve_s: int = 300
    """Where a cable that is left in costs money, the authorization keeps a reserve for this time,"""
    idle_reserve_share: float = 0.1
    """but never more than this share of it."""
    small_authorizations: SmallAuthorizations = SmallAuthorizations.REFUSE
    max_ambiguous_posts: int = 2
    """Number of ambiguous POSTs: one is repeated once, after the quiet window and an empty search."""
    duplicate_watch_s: float = 1200
    """Duration of the search for duplicate charges after an ambiguous POST or an early release (Monta is late)."""
    duplicate_search_s: float = 30
    stop_attention_attempts: int = 3
    """After this many ineffective stops, raise an alert and retry less often (`stop_slow_factor`)."""
    stop_slow_factor: float = 3
    first_energy_factor: float = 3.5
    """Start deadlines that a charge in state `charging` may take to its first reading: with 300 s, a meter that counts
    whole kWh shows its first one at 3.7 kW after 16 minutes."""
    meter_interval_s: float = 300
    """The greatest age of a reading that Monta confirms (the slowest meters we know of)."""
    webhook_grace: float = 0.2
    """Share of the silence that a webhook may still be under way: without it, each meter that reports once in exactly
    that time would also be read each time."""
    sweep_patience_s: float = 60
    """A silent charge without news from a sweep for this long is read by its own session."""
    meter_silence_s: float = 1800
    """After this long without a new reading a running charge is assumed to draw full power (1 kWh at 2.3 kW, the
    slowest step of the slowest meters, takes 26 minutes)."""
    read_ahead_s: float = 4
    """Lead time of the extra read before a stop that rests on an old reading."""
    reaction_s: float = 0.5
    """From a due stop to its call on the way: claim, commit, connection. Counted besides the stop latency."""
    fresh_s: float = 5
    """A reading of at most this age needs no further read."""
    settle_poll_max_s: float = 300
    idle_reads: int = 2
    """Spaced reads without energy of an ended charge before its hold is released."""
    finishing_attention_s: float = 1800
    """An ended charge not completed after this long raises an alert (Monta's own measure for a stuck one)."""
    hold_margin_s: float = 600
    """A session is ended this long before its hold expires."""
    capture_retry_s: tuple[float, ...] = (60, 300, 1_800, 7_200, 21_600, 86_400)
    """Pauses after each refusal of a capture until the terminal tries again; the last one repeats."""
    capture_retry_margin_s: float = 120
    """The last attempt to capture is this long before the hold expires."""
    hold_days: int = 2
    """Days for which a hold is valid without `expires_at` (schemes: two days and less with the card present)."""
    hold_max_eur: int = 1000
    """The most that one session may hold, where the operator has no ceiling of its own. Other currencies alike."""
    unknown_ac_power_w: int = 43_000
    """What an AC charge point may give when Monta does not say: the most that a type 2 plug carries."""
    unknown_power_w: int = 400_000
    """The same when not even the kind of current is known, or it is DC."""
    highest_power_w: int = 4_000_000
    """No charger gives more (megawatt chargers: 3.75 MW): such a reading is a fault of the meter."""
    highest_ac_power_w: int = 100_000
    """A rating above this of an AC charge point is a fault (the largest for buses: 86 kW)."""
    lowest_power_w: int = 1_000
    """A rating below this is a fault: no vehicle charges as slowly."""
    report_skew_s: float = 5
    """A report's `updatedAt` may be this far ahead of our clock. A later one is cut to this."""
    clock_skew_s: float = 10
    """Difference of Monta's clock from ours above which it is reported. No decision depends on it."""
    answer_s: float = 30
    """The longest delay between a request and the moment that its answer describes."""
    backoff_max_s: float = 65
    """Upper bound of the backoff between failed calls. With it a session makes at most 60 fruitless calls an hour."""
    stop_pause_max_s: float = 240
    """Upper bound of the pause between stops (each with a read) of a charge that does not change."""
    stop_idle_pause_s: float = 300
    """The same once it counts as lost, and for duplicate charges."""
    duplicate_search_live_s: float = 240
    """Pause between searches while a duplicate charge does not stop."""
    duplicate_stop_for_s: float = 172_800
    """Time after which stops of a duplicate charge end, with an alert for operations."""
    gone_answers: int = 4
    gone_after_s: float = 180
    """This many 404 answers in a row over this time: the charge is gone."""
    stalled_answers: int = 4
    stalled_after_s: float = 300
    """This many answered stops over this time without any change of the charge: it has stalled."""
    stalled_release_s: float = 3600
    """Time until the hold of a stalled charge without energy is released that Monta shows as begun. Its charge point
    may be offline: then it runs, and shows its energy when it comes back."""
    unreadable_answers: int = 8
    unreadable_after_s: float = 1800
    """This many refused reads over this time of an ended charge: its record will not come."""
    odd_state_s: float = 200
    """A charge with energy in a passing or unknown state is stopped after this time."""
    restart_window_s: float = 300
    """Time in which an ended charge may be restarted. Afterwards its charge point is free for the next payment."""

    @property
    def silent_after_s(self) -> float:
        """Time without news after which a running charge is silent."""
        return self.silence_s * (1 + self.webhook_grace)


def power_bound_w(rated_w: int | None, current: CurrentType | None, policy: Policy) -> int:
    """The highest power of a charge point by Monta's rating. An impossible rating is ignored."""
    is_ac = current is CurrentType.AC
    highest_w = policy.highest_ac_power_w if is_ac else policy.highest_power_w
    if rated_w is not None and policy.lowest_power_w <= rated_w <= highest_w:
        return rated_w
    return policy.unknown_ac_power_w if is_ac else policy.unknown_power_w


def growing_s(pause_s: float, times: int, policy: Policy) -> float:
    """A pause that grows by half each time. What does not change is polled less and less often."""
    return float(min(pause_s * 1.5 ** min(max(0, times), 20), policy.settle_poll_max_s))


def stop_pause_s(attempts: int, unchanged: int, policy: Policy) -> float:
    """Returns seconds until the next stop is sent. `attempts` so far, `unchanged` of them since the charge last
    changed."""
    if attempts <= policy.stop_attention_attempts:
        return policy.stop_retry_s
    slow = policy.stop_retry_s * policy.stop_slow_factor
    doublings = max(0, unchanged - policy.stop_attention_attempts - 1)
    return max(slow, min(policy.stop_pause_max_s, slow * float(2 ** min(doublings, 10))))


def duplicate_pause_s(attempts: int, policy: Policy) -> float:
    """Returns seconds until a duplicate charge is stopped again. `attempts` so far."""
    if attempts <= policy.stop_attention_attempts:
        return policy.stop_retry_s
    slow = policy.stop_retry_s * policy.stop_slow_factor
    doublings = min(attempts - policy.stop_attention_attempts - 1, 10)
    return min(policy.stop_idle_pause_s, slow * float(2**doublings))


def backoff_s(failures: int, policy: Policy) -> float:
    """Exponential backoff in seconds after failures in a row: 2, 4, 8, ... up to the policy's bound."""
    return float(min(policy.backoff_max_s, 2 ** min(failures, 10)))
