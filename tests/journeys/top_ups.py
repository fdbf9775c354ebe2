"""Top-ups of a session, as a terminal reports them."""

from app.flows.admin import provision
from tests.journeys.rig import Json, Rig, energy_tariff


async def more(
    rig: Rig, session: Json, amount: int, reference: str = "T-1", **duplicate: object
) -> tuple[int, Json]:
    path = f"/v1/payment-sessions/{session['id']}/authorizations"
    answer = await rig.call("POST", path, body={"reference": reference, "amount": amount} | duplicate)
    return answer.status_code, answer.json()


async def allow_top_ups(rig: Rig, most: int = 15_000) -> None:
    await provision.set_top_up_max(rig.context, rig.operator.operator_id, most)


async def charging(rig: Rig) -> Json:
    """A session of 10 EUR that takes top-ups and has charged for a minute."""
    await allow_top_ups(rig)
    await rig.set_tariff(energy_tariff("0.79"))
    session = await rig.authorize(106, 1000)
    await rig.pass_time(60)
    return session
