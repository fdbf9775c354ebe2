"""Encrypts all secrets anew with another TAPWATT_SECRET_KEY. Row by row, while everything runs."""

from collections.abc import Sequence

import structlog

from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId
from app.flows.context import Context
from app.store.db.database import retry_on_serialization_failure
from app.store.db.secret_box import SecretUnreadable
from app.store.events import endpoints
from app.store.operators import monta_access, secret_keys

log = structlog.get_logger("secret_key")


@frozen
class Rotated:
    """What a rotation did. `left` is why operators keep secrets under an older key; empty: the older keys can be
    removed. `evidence_key_id` names the key that evidence is signed with now."""

    key_id: str
    evidence_key_id: str
    operators: int
    left: Sequence[str]


async def rotate_secret_key(context: Context) -> Rotated:
    """Activates TAPWATT_SECRET_KEY, then encrypts all secrets anew with it. Each operator's secrets and tokens, and
    its endpoints' signing secrets.

    From the first commit on, all that is encrypted anywhere uses the new key, so no row can be missed. Repeatable: a
    run that was ended goes on where it was. Raises WrongSecretKey unless this process also has the key before.
    """
    box = context.operators.box
    async with context.database.transaction() as connection:
        await secret_keys.activate(connection, box)
        todo = await secret_keys.operators_under_another_key(connection, box.key_id)
    left = []
    for operator_id in todo:
        try:
            await _reseal(context, operator_id)
        except SecretUnreadable as error:
            log.error("secret_not_rotated", operator_id=operator_id, why=str(error))
            left.append(str(error))
    async with context.database.transaction() as connection:
        if not await secret_keys.operators_under_another_key(connection, box.key_id):
            await secret_keys.retire_others(connection, box.key_id)
        await secret_keys.check(connection, box)
    return Rotated(box.key_id, box.sealer.key.id, len(todo) - len(left), left)


@retry_on_serialization_failure
async def _reseal(context: Context, operator_id: OperatorId) -> None:
    box = context.operators.box
    async with context.database.transaction() as connection:
        await context.operators.reseal(connection, operator_id, box.key_id)
        await monta_access.reseal_tokens(connection, operator_id, box, box.key_id)
        await endpoints.reseal(connection, operator_id, box, box.key_id)
