"""Tells terminal makers of charge points whose state or price has changed."""

from app.domain.events.event import EventType
from app.domain.units.ids import OperatorId
from app.flows.context import Context
from app.store.db.database import retry_on_serialization_failure
from app.store.events import charge_point_news, outbox
from app.store.events.outbox import Event
from app.store.operators import charge_points

AT_ONCE = 100
MOST_BATCHES = 20
"""Batches of one run; the next run goes on."""


async def announce_charge_points(context: Context, operator_id: OperatorId) -> None:
    """Writes `charge_point.changed` for each charge point that is not as it was last told.

    Whatever changed it: a webhook, a read, a tariff that was set. What was told last is kept with the event, so that
    a run that dies is repeated. The first look at a charge point is no news.
    """
    async with context.database.read() as connection:
        if not await outbox.has_endpoints(connection, operator_id):
            return
    for _ in range(MOST_BATCHES):
        if await _batch(context, operator_id) < AT_ONCE:
            return


@retry_on_serialization_failure
async def _batch(context: Context, operator_id: OperatorId) -> int:
    now = context.clock.now()
    async with context.database.transaction() as connection:
        found = await charge_point_news.changed(connection, operator_id, limit=AT_ONCE)
        news: list[Event] = []
        for each in found:
            if not each.is_known:
                continue
            price = await charge_points.tariff_for(connection, operator_id, each.point.id, now)
            data = context.views.charge_point(each.point, price).decode()
            news += [
                Event(
                    id=context.ids.new("evt"),
                    operator_id=operator_id,
                    terminal_id=terminal_id,
                    type=EventType.CHARGE_POINT_CHANGED,
                    charge_point_id=each.point.id,
                    created_at=now,
                    data=data,
                )
                for terminal_id in each.terminal_ids
            ]
        if news:
            await outbox.record(connection, news)
        await charge_point_news.note_told(
            connection, operator_id, {each.point.id: each.digest for each in found}
        )
    return len(found)
