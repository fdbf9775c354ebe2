"""The troubles that may befall a plan: each changes it, by chance where there is a choice."""

from collections.abc import Callable
from random import Random

from tests.world.plan import Plan
from tests.world.troubles import misreports, monta, ours, people

Befall = Callable[[Random, Plan], Plan]
TROUBLES: tuple[Befall, ...] = (
    ours.crashes,
    ours.crashes,
    ours.freezes,
    ours.freezes,
    ours.stalls,
    ours.lost_commits,
    ours.lost_lines,
    ours.hang_ups,
    ours.lock_waits,
    ours.lock_waits,
    ours.restored_backup,
    monta.outage,
    monta.outage,
    monta.start_trouble,
    monta.start_trouble,
    monta.start_trouble,
    monta.throttled_starts,
    people.stops_ignored,
    people.limits_ignored,
    people.restart_by_others,
    people.meter_falls,
    monta.price_waived,
    people.ground_fault,
    monta.bad_webhooks,
    monta.lossy_webhooks,
    monta.forger,
    monta.closed_webhooks,
    monta.slow_search,
    monta.low_quota,
    monta.price_change,
    people.happening,
    people.second_card,
    people.impatience,
    people.change_of_mind,
    people.top_up,
    people.full_house,
    misreports.wrong_clock_at_monta,
    misreports.wrong_clock_at_the_terminal,
    misreports.lifetime_reading,
    misreports.gone,
    misreports.endless_state,
    misreports.negative_price,
    misreports.foreign_currency,
)
