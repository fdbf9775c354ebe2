"""Whether Monta refuses an operator's credential for good: found out by asking, not by counting refusals."""

from datetime import datetime, timedelta

import structlog

from app.domain.scopes import CONTROL, may_control
from app.flows.tools import Tools
from app.monta.client import MontaClient
from app.monta.errors import MontaError, Refused, Unauthorized
from app.monta.ports import Purpose
from app.store import duties, operator_state
from app.store.duties import DutyLease
from app.store.operator_state import Standing

log = structlog.get_logger("probe")

LASTING = timedelta(seconds=30)
"""Two probes so far apart must agree before new sessions are refused: Monta may stumble."""
AGAIN = timedelta(seconds=30)
WHILE_REFUSED = timedelta(seconds=60)


class _Refusal(Exception):
    """Monta does not let us work."""


async def probe(tools: Tools, lease: DutyLease) -> None:
    """1. Ask. 2. Refused twice: no new sessions (running ones go on under Monta's limit); taken again: all is well."""
    async with tools.database.transaction() as connection:
        operator = await tools.operators.get(connection, lease.operator_id)
        standing = await operator_state.standing(connection, lease.operator_id)
    if operator is None:
        return
    now = tools.clock.now()
    due_at: datetime | None
    try:
        await _ask(tools.monta.of(operator), now)
    except _Refusal as refusal:
        standing, due_at = _refused(standing, str(refusal), now)
        log.error("monta_refuses_the_credential", operator_id=operator.id, why=str(refusal))
    except MontaError as error:
        due_at = now + AGAIN
        log.warning("probe_without_answer", operator_id=operator.id, error=str(error))
    else:
        if standing.problem is not None:
            log.info("monta_takes_the_credential_again", operator_id=operator.id)
        standing, due_at = Standing(doubted_at=None, problem=None), None
    async with tools.database.transaction() as connection:
        if await duties.held(connection, lease):
            await operator_state.note_standing(connection, operator.id, standing)
            await duties.give_back(connection, lease, due_at)


def _refused(standing: Standing, why: str, now: datetime) -> tuple[Standing, datetime]:
    doubted_at = standing.doubted_at or now
    if now - doubted_at < LASTING:
        return Standing(doubted_at=doubted_at, problem=standing.problem), now + AGAIN
    return Standing(doubted_at=doubted_at, problem=why), now + WHILE_REFUSED


async def _ask(monta: MontaClient, now: datetime) -> None:
    """Who are we, may we read charges, may we start them. Raises _Refusal; MontaError when there is no clear answer.

    One charge point that refuses us (403) is no refusal of the credential, so no start or stop is tried; and only a
    list of scopes that names permissions is believed to be whole.
    """
    try:
        consumer = await monta.me()
        await monta.list_charges(now, purpose=Purpose.SWEEP, max_pages=1)
    except Unauthorized as error:
        raise _Refusal(f"Monta does not take the credential any more ({error})") from None
    except Refused as error:
        if error.status == 403:
            raise _Refusal(f"Monta does not show charges any more ({error}): is a scope gone?") from None
        raise
    if not may_control(consumer.scopes):
        raise _Refusal(f"the credential may not start charges any more: the scope {CONTROL.words} is gone")
