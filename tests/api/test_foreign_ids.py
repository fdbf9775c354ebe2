"""Tests of app/api/routes.

Every endpoint, with every id of another operator, and the other operator's webhook: nothing is shown or changed.
"""

import asyncpg
import pytest

from tests.api.endpoints import OPERATIONS, endpoints, tried
from tests.api.orphan_charges import lose
from tests.api.service import LOOK, charge_entry, delivery, open_service, payment, sign
from tests.postgres import as_superuser

pytestmark = pytest.mark.anyio

FEWEST_TRIES = 130
FILTERS = ("reference", "terminal_id", "charge_point_id", "charge_id", "display_reference", "last4")
TABLES = """
SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY relname
"""


async def contents(database_url: str) -> dict[str, str]:
    """A digest of every table's rows, as the superuser sees them."""
    connection = await asyncpg.connect(as_superuser(database_url))
    try:
        names = [row["relname"] for row in await connection.fetch(TABLES)]
        query = "SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {} AS t"
        return {name: await connection.fetchval(query.format(name)) for name in names}
    finally:
        await connection.close()


async def test_no_endpoint_shows_or_changes_anything_by_an_id_of_another_operator(kept_apart: str) -> None:
    async with open_service(kept_apart) as service:
        theirs = service.other
        foreign = await service.call(
            "POST", "/v1/payment-sessions", payment("101", "A-theirs"), key=theirs.terminal.api_key
        )
        session_id = foreign.json()["id"]
        await service.charging(session_id, "77")
        await service.change(session_id, attention=LOOK)
        await lose(service, "88", theirs)
        own_point = await service.add_terminal(theirs.operator.operator_id, "999")
        ids = (session_id, "77", "88", "999", "A-theirs", theirs.operator.operator_id, own_point.id)
        before, tries = await contents(kept_apart), 0
        for method, path in endpoints(service.apps[0]):
            if "{" not in path:
                continue
            key = service.one.ops.api_key if path.startswith(OPERATIONS) else service.one.terminal.api_key
            for foreign_id in ids:
                answer = await tried(service, method, path, key, foreign_id, charge_id=foreign_id)
                assert answer.status_code == 404, f"{method} {path} {foreign_id}: {answer.text}"
                assert session_id not in answer.text
                tries += 1
        for name in FILTERS:
            for foreign_id in ids:
                path = f"/v1/ops/payment-sessions?{name}={foreign_id}"
                answer = await service.call("GET", path, key=service.one.ops.api_key)
                assert answer.status_code == 422 or answer.json()["data"] == [], path
                tries += 1
        for body in (delivery(charge_entry(77)), delivery(charge_entry(88)), b"{}", b""):
            signature = sign(service.one.operator.webhook_secret, body)
            answer = await service.webhook(body, path=theirs.operator.webhook_path, signature=signature)
            assert answer.status_code == 401
            tries += 1
        assert await contents(kept_apart) == before
        assert tries >= FEWEST_TRIES, f"{tries} tries"
