"""From when to when a tariff prices at all: OCPI's start_date_time and end_date_time, the end excluded."""

from datetime import datetime

from app.domain.tariff.model import Tariff


def in_force(tariff: Tariff, at: datetime) -> bool:
    """Whether the tariff prices a session that begins at this moment."""
    return out_of_force(tariff, at) is None


def out_of_force(tariff: Tariff, at: datetime) -> str | None:
    """Why the tariff prices nothing at this moment, in words; None: it does."""
    start, end = tariff.start_date_time, tariff.end_date_time
    if start is not None and end is not None and end <= start:
        return "it ends before it begins"
    if end is not None and at >= end:
        return f"it ended at {end:%Y-%m-%d %H:%M} UTC"
    if start is not None and at < start:
        return f"it begins at {start:%Y-%m-%d %H:%M} UTC"
    return None


def expired(tariff: Tariff, at: datetime) -> bool:
    """Whether the tariff will never price anything from this moment on."""
    start, end = tariff.start_date_time, tariff.end_date_time
    return end is not None and (at >= end or (start is not None and end <= start))
