"""Three sessions of one day, for the tests of the books."""

from tests.api.service import Json, Service


async def three_sessions(service: Service) -> list[str]:
    """Captured as settled, settled without a report, and running."""
    ids = [(await service.authorize(point, f"A-{point}"))["id"] for point in ("101", "102", "103")]
    for charge, session_id in enumerate(ids, 1):
        await service.charging(session_id, str(charge))
    await service.settle(ids[0], 790)
    await service.settle(ids[1], 1234)
    report: Json = {"outcome": "captured", "amount": 790, "reference": "P-1"}
    done = await service.call("POST", f"/v1/payment-sessions/{ids[0]}/captures", body=report)
    assert done.status_code == 200, done.text
    return ids
