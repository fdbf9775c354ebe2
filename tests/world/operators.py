"""Provisions the operators of a world: one account at Monta and one terminal each."""

from dataclasses import dataclass

from app.domain.units.ids import ChargePointId, OperatorId
from app.flows.admin import provision
from app.flows.admin.manage_keys import add_ops_key
from app.flows.admin.provision import NewOperator
from app.flows.context import Context
from app.simulator.config import SimulatorConfig
from tests.world.outsiders import Keys
from tests.world.replicas import PUBLIC_URL


@dataclass(frozen=True, slots=True)
class Added:
    operator_id: OperatorId
    terminal_key: str
    webhook_url: str


async def add(
    context: Context, name: str, config: SimulatorConfig, host: str, *, top_up_max: int | None
) -> Added:
    """Provisions an operator whose Monta is at `host`, with a terminal for all of its charge points."""
    added = await provision.add_operator(
        context,
        NewOperator(
            name=name,
            monta_url=f"http://{host}/api/v1",
            client_id=config.client_id,
            client_secret=config.client_secret,
            paying_team_id=str(config.paying_team_ids[0]),
            price_unit="minor" if config.prices_in_minor_units else "major",
        ),
    )
    terminal_key = await add_terminal(context, added.operator_id, config)
    if top_up_max is not None:
        await provision.set_top_up_max(context, added.operator_id, top_up_max)
    return Added(added.operator_id, terminal_key, f"{PUBLIC_URL}{added.webhook_path}")


async def add_terminal(context: Context, operator_id: OperatorId, config: SimulatorConfig) -> str:
    """Adds a terminal for all charge points of the operator; returns its key."""
    points = [ChargePointId(str(point.id)) for point in config.points]
    added = await provision.add_terminal(
        context, operator_id, provider="tapwatt", name="lane", charge_point_ids=points
    )
    return added.api_key


async def give_out(context: Context, operator_id: OperatorId, config: SimulatorConfig) -> Keys:
    """Adds a second terminal for the same charge points, and a key for operations."""
    sibling = await add_terminal(context, operator_id, config)
    return Keys(sibling, (await add_ops_key(context, operator_id)).api_key)
