"""Sessions with evidence, their bundles, and changed copies of these."""

import copy
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from app.flows.admin import provision
from app.strict_json import load_json
from tests.journeys.checks import ended
from tests.journeys.rig import Json, Rig, energy_tariff


async def evidence_of(rig: Rig, session_id: str) -> tuple[Json, bytes]:
    """The bundle as it is read again, and as it was sent."""
    path = f"/v1/ops/payment-sessions/{session_id}/evidence"
    answer = await rig.call("GET", path, key=rig.ops.api_key)
    assert answer.status_code == 200, answer.text
    assert (await rig.call("GET", path)).status_code == 401, "a terminal's key sees none"
    bundle: Any = load_json(answer.content, max_bytes=10**8)
    return bundle, answer.content


async def captured_with_two_holds(rig: Rig) -> Json:
    """A session with a tariff, a top-up, and a capture in two parts."""
    await provision.set_top_up_max(rig.context, rig.operator.operator_id, 15_000)
    await rig.set_tariff(energy_tariff("0.79") | {"id": "ü", "x": Decimal("1.50"), "y": Decimal("1e-7")})
    card = {"last4": "4242", "fingerprint": "f-1"}
    session = await rig.authorize(106, 1000, authorization={"card": card}, metadata={"lane": "3"})
    await rig.pass_time(60)
    path = f"/v1/payment-sessions/{session['id']}"
    assert (
        await rig.call("POST", f"{path}/authorizations", body={"reference": "T-1", "amount": 700})
    ).status_code == 201
    settlement = (await ended(rig, session))["settlement"]
    for share in settlement["authorizations"]:
        report = {
            "outcome": "captured",
            "amount": share["amount_to_capture"],
            "reference": f"psp-{share['reference']}",
            "authorization_reference": share["reference"],
        }
        assert (await rig.call("POST", f"{path}/captures", body=report)).status_code == 200
    return session


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of everything that has no parts; an empty list or object counts."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    found = False
    for name, child in children:
        found = True
        yield from leaves(child, (*path, name))
    if not found:
        yield path


def with_change(bundle: Json, path: tuple[Any, ...], *, remove: bool = False) -> Json:
    """A copy in which one leaf is another value, or is missing."""
    other = copy.deepcopy(bundle)
    parent: Any = other
    for name in path[:-1]:
        parent = parent[name]
    if remove:
        del parent[path[-1]]
        return other
    was = parent[path[-1]]
    match was:
        case bool() | None:
            parent[path[-1]] = not was
        case int() | Decimal():
            parent[path[-1]] = was + 1
        case str():
            parent[path[-1]] = was[:-1] + ("0" if was[-1:] != "0" else "1")
        case _:
            parent[path[-1]] = ["more"]
    return other
