"""The most that a charge can have given: by the charge point's rating, our own clock and the meter's own history."""

from datetime import datetime, timedelta

from app.domain.charge import ENDED, ChargeReport, ChargeState
from app.domain.payment_session import PaymentSession
from app.domain.policy import Policy

BELIEVED_FACTOR = 3
"""Energy above what the rating gives by more than this factor, and a price above what the tariff allows by more, is
not believed. Ratings are wrong by as much where one phase was entered for three; idle fees are often missing in a
tariff."""
SHOWN_FACTOR = 10
"""Since the last reading no more flowed than so many times the power that the meter has shown in this charge."""
SLACK_WH = 1000
"""One step of the coarsest meters, which may come early by rounding."""


def began_at(session: PaymentSession) -> datetime:
    """The earliest moment, by our own clock, at which our charge can have begun: no date of Monta's counts."""
    start = session.start
    return start.intent_at if start.posts == 1 and start.intent_at is not None else session.created_at


def most_power_w(session: PaymentSession, policy: Policy) -> int:
    """The highest power that is believed at all."""
    rated_w = session.power_bound_w if session.power_bound_w is not None else policy.unknown_power_w
    return min(BELIEVED_FACTOR * rated_w, policy.highest_power_w)


def most_energy_wh(session: PaymentSession, until: datetime, policy: Policy) -> int:
    """The most energy that the charge can have given at `until` (our own clock), in Wh.

    A last reading counts from when it was first shown, of a paused charge from when it last was, and may be as old as a
    silent meter is believed to be.
    """
    power_w = most_power_w(session, policy)
    most_wh = _flowed_wh(power_w, until - began_at(session))
    if session.trail.points:
        last = session.trail.points[-1]
        shown_w = min(power_w, SHOWN_FACTOR * session.trail.peak_w or power_w)
        charge, last_at = session.charge, last.at
        if charge is not None and charge.state is ChargeState.PAUSED and charge.metered_at is not None:
            last_at = max(last_at, charge.metered_at)
        unseen = until - last_at + timedelta(seconds=policy.meter_silence_s)
        most_wh = min(most_wh, last.energy_wh + _flowed_wh(shown_w, unseen))
    return most_wh + SLACK_WH


def energy_until(session: PaymentSession, report: ChargeReport) -> datetime:
    """Until when energy can have flowed into what a report shows, by our own clock: its arrival; of an ended charge
    not later than when it was first known to have ended, however often its record is read again."""
    arrived_at, ended_at = report.arrived_at or report.seen_at, session.charge_ended_at
    return arrived_at if ended_at is None or report.state not in ENDED else min(arrived_at, ended_at)


def started_at(session: PaymentSession, report: ChargeReport, policy: Policy) -> datetime:
    """When the charge began to count time: Monta's date where it can be, else our own."""
    began, skew = began_at(session), timedelta(seconds=policy.clock_skew_s)
    for date in (report.started_at, report.created_at):
        if date is not None and began - skew <= date <= report.seen_at + skew:
            return date
    return began


def _flowed_wh(power_w: int, length: timedelta) -> int:
    return power_w * max(0, length // timedelta(seconds=1) + 1) // 3600
