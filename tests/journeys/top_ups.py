"""Top-ups of a session, as a terminal reports them."""

from app.flows.admin import provision
from tests.journeys.rig import Json, Rig


async def more(
    rig: Rig, session: Json, amount: int, reference: str = "T-1", **duplicate: object
) -> tuple[int, Json]:
    path = f"/v1/payment-sessions/{session['id']}/authorizations"
    answer = await rig.call("POST", path, body={"reference": reference, "amount": amount} | duplicate)
    return answer.status_code, answer.json()


async def allow_top_ups(rig: Rig, most: int = 15_000) -> None:
    await provision.set_top_up_max(rig.context, rig.operator.operator_id, most)
