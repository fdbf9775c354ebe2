"""The faults of a plan: each changes the plan, at random where there is a choice."""

from collections.abc import Callable
from random import Random

from tests.world.faults import misreports, monta, service, site
from tests.world.plan import Plan

Befall = Callable[[Random, Plan], Plan]
FAULTS: tuple[Befall, ...] = (
    service.crashes,
    service.crashes,
    service.freezes,
    service.freezes,
    service.stalls,
    service.lost_commits,
    service.lost_lines,
    service.hang_ups,
    service.lock_waits,
    service.lock_waits,
    service.restored_backup,
    monta.outage,
    monta.outage,
    monta.start_trouble,
    monta.start_trouble,
    monta.start_trouble,
    monta.throttled_starts,
    site.stops_ignored,
    site.limits_ignored,
    site.restart_by_others,
    site.meter_falls,
    monta.price_waived,
    site.ground_fault,
    monta.bad_webhooks,
    monta.lossy_webhooks,
    monta.forger,
    monta.closed_webhooks,
    monta.slow_search,
    monta.low_quota,
    monta.price_change,
    site.happening,
    site.second_card,
    site.impatience,
    site.change_of_mind,
    site.top_up,
    site.full_house,
    misreports.wrong_clock_at_monta,
    misreports.wrong_clock_at_the_terminal,
    misreports.lifetime_reading,
    misreports.gone,
    misreports.endless_state,
    misreports.negative_price,
    misreports.foreign_currency,
)
