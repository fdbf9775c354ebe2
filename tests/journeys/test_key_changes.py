"""Tests of app/flows/admin/rotate_secret_key, app/flows/admin/manage_keys.

The secret key and a terminal's key are changed while charges run: nothing is lost.
"""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import text

from app.domain.units.ids import TerminalId
from app.flows.admin import manage_keys
from app.flows.admin.rotate_secret_key import rotate_secret_key
from app.flows.make_key import KeyTerms
from app.store.db.secret_box import SecretBox
from app.store.operators.keys import KeyKind
from app.store.operators.operators import Operators
from tests.build_context import SECRET_KEY
from tests.journeys.checks import minor, nothing_is_left
from tests.journeys.rig import energy_tariff, open_rig

pytestmark = pytest.mark.anyio

NEXT = "the next one: hT4mQ9xK2vB7nZ1cW8rL5pD3"
POINTS = (101, 102, 103, 104, 105)


async def test_F90_both_keys_change_while_charges_run_and_each_is_settled_to_the_cent(
    database_url: str,
) -> None:
    async with open_rig(database_url, older_secret_keys=[NEXT]) as rig:
        await rig.set_tariff(energy_tariff("0.79"))
        sessions = [await rig.authorize(point, 300) for point in POINTS]
        await rig.pass_time(60)
        first = rig.terminal
        rig.terminal = await manage_keys.add_terminal_key(
            rig.context, TerminalId(first.id), KeyTerms(name="second")
        )
        command = replace(rig.context, operators=Operators(SecretBox(NEXT, [SECRET_KEY])))
        rotated, *_ = await asyncio.gather(
            rotate_secret_key(command),
            manage_keys.revoke_key(rig.context, first.key_id, KeyKind.TERMINAL),
            rig.pass_time(120),
        )
        assert (rotated.operators, rotated.left) == (1, [])
        refused = await rig.call("GET", "/v1/charge-points", key=first.api_key)
        assert refused.status_code == 401
        sessions.append(await rig.authorize(106, 300))
        for session in sessions:
            await rig.until(session["id"], "completed")
        await nothing_is_left(rig)

        prices = {str(charge.id): minor(charge.price) for charge in rig.monta.charges()}
        assert len(prices) == len(sessions)
        for session in sessions:
            last = await rig.session(session["id"])
            settlement = last["settlement"]
            assert settlement["amount_to_capture"] == prices[last["charge"]["id"]] > 0
            assert settlement["amount_to_capture"] + settlement["amount_to_release"] == 300
        async with rig.context.database.read() as connection:
            keys = await connection.execute(text("SELECT key_id FROM secret_keys"))
            assert keys.scalars() == [SecretBox(NEXT).key_id]
