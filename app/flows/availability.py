"""Reads a month's availability and outages of charge points and terminals."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from app.domain.charging.availability import Availability, Outage, Window, availability, month_of, silence
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId
from app.flows.context import Context
from app.store import outages
from app.store.outages import Equipment

MOST_READ = 1000
"""Charge points, and terminals, of one answer: the first by name."""


@frozen(kw_only=True)
class Watched:
    """One charge point or terminal with its outages. Those that reach into the month, oldest first."""

    equipment: Equipment
    availability: Availability
    outages: tuple[Outage, ...]


@frozen(kw_only=True)
class Month:
    """MOST_READ charge points and terminals at most."""

    window: Window
    now: datetime
    points: Sequence[Watched]
    terminals: Sequence[Watched]

    def longer_than(self, least: timedelta) -> Iterator[tuple[Watched, list[Outage]]]:
        """Equipment with an outage that lasted longer, and those outages; terminals first."""
        for each in (*self.terminals, *self.points):
            found = [outage for outage in each.outages if outage.lasted(self.now) > least]
            if found:
                yield each, found


async def read_month(context: Context, operator_id: OperatorId | None, of: datetime | None = None) -> Month:
    """Reads the calendar month (UTC) of a time. By default the present one; of one operator or of all (None)."""
    now = context.clock.now()
    window = month_of(of or now)
    async with context.database.read() as connection:
        points = await outages.points_watched(connection, operator_id, limit=MOST_READ)
        terminals = await outages.terminals_watched(connection, operator_id, limit=MOST_READ)
        known = await outages.outages_within(connection, operator_id, window)

    def watched(each: Equipment) -> Watched:
        found = tuple(known.get((each.operator_id, each.charge_point_id, each.terminal_id), ()))
        silent = silence(each.reported_at, found, now)
        if silent is not None and silent.began_at < window.end:
            found += (silent,)
        return Watched(
            equipment=each,
            availability=availability(window, each.known_since, found, now),
            outages=found,
        )

    return Month(
        window=window,
        now=now,
        points=[watched(each) for each in points],
        terminals=[watched(each) for each in terminals],
    )
