"""Provisions the operators of a world: one account at Monta and one terminal each."""

from dataclasses import dataclass

from app.domain.units.ids import ChargePointId, OperatorId
from app.flows.admin import provision
from app.flows.admin.provision import NewOperator
from app.flows.context import Context
from app.simulator.config import SimulatorConfig
from tests.world.replicas import PUBLIC_URL

TOP_UP_MAX = 5000
"""Minor units."""


@dataclass(frozen=True, slots=True)
class Added:
    operator_id: OperatorId
    terminal_key: str
    webhook_url: str


async def add(context: Context, name: str, config: SimulatorConfig, host: str, *, tops_up: bool) -> Added:
    """Provisions an operator whose Monta is at `host`, with a terminal for all of its charge points."""
    added = await provision.add_operator(
        context,
        NewOperator(
            name=name,
            monta_url=f"http://{host}/api/v1",
            client_id=config.client_id,
            client_secret=config.client_secret,
            paying_team_id=str(config.paying_team_ids[0]),
        ),
    )
    points = [ChargePointId(str(point.id)) for point in config.points]
    terminal = await provision.add_terminal(
        context, added.operator_id, provider="tapwatt", name="lane", charge_point_ids=points
    )
    if tops_up:
        await provision.set_top_up_max(context, added.operator_id, TOP_UP_MAX)
    return Added(added.operator_id, terminal.api_key, f"{PUBLIC_URL}{added.webhook_path}")
