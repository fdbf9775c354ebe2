"""Actions of drivers and hardware at charge points, and of operators in Monta's portal."""

from decimal import Decimal

from app.domain.units.ids import ChargePointId
from app.simulator.simulator import Simulator
from tests.world.plan import PRICE_CHANGES, Happening
from tests.world.story import Story


def happen(happening: Happening, simulator: Simulator, story: Story) -> None:
    """Performs it now; without effect where it is impossible."""
    story.add("people", f"{happening.what} at {happening.point} of operator {happening.operator}")
    try:
        _do(happening, simulator)
    except Exception as error:  # nothing to stop there: drivers also press buttons without effect
        story.add("people", f"no effect: {type(error).__name__}")


def _do(happening: Happening, simulator: Simulator) -> None:
    point = ChargePointId(str(happening.point))
    match happening.what:
        case "offline" | "online":
            simulator.set_offline(point, happening.what == "offline")
        case what if what in PRICE_CHANGES:
            _change_price(simulator, happening.point, PRICE_CHANGES[what])
        case what:
            getattr(simulator, what)(point)


def _change_price(simulator: Simulator, point_id: int, by: Decimal) -> None:
    group_id = next(point.price_group_id for point in simulator.config.points if point.id == point_id)
    group = next(group for group in simulator.config.price_groups if group.id == group_id)
    simulator.set_kwh_price(group.id, group.kwh_price * by)
