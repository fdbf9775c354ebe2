"""Checks whether Monta refuses an operator's credential permanently."""

from datetime import datetime, timedelta

import structlog

from app.domain.charging.setup_check import CONTROL, may_control
from app.flows.context import Context
from app.monta.client import MontaClient
from app.monta.errors import MontaError, Refused, Unauthorized
from app.monta.ports import Purpose
from app.store.operators import jobs, operator_state
from app.store.operators.jobs import JobLease
from app.store.operators.operator_state import CredentialStatus

log = structlog.get_logger("check_credential")

LASTING = timedelta(seconds=30)
"""Two checks this far apart must agree before new sessions are refused: an outage may look alike."""
AGAIN = timedelta(seconds=30)
WHILE_REFUSED = timedelta(seconds=60)


class _Refusal(Exception):
    """Monta refuses the credential."""


async def check_credential(context: Context, lease: JobLease) -> None:
    """Checks the credential; two refusals in a row stop new sessions. Running ones go on under Monta's limit; an
    accepted check clears the refusal."""
    async with context.database.transaction() as connection:
        operator = await context.operators.get(connection, lease.operator_id)
        credential_status = await operator_state.credential_status(connection, lease.operator_id)
    if operator is None:
        return
    now = context.clock.now()
    due_at: datetime | None
    try:
        await _ask(context.monta.of(operator), now)
    except _Refusal as refusal:
        credential_status, due_at = _refused(credential_status, str(refusal), now)
        log.error("monta_refuses_the_credential", operator_id=operator.id, why=str(refusal))
    except MontaError as error:
        due_at = now + AGAIN
        log.warning("credential_check_without_answer", operator_id=operator.id, error=str(error))
    else:
        if credential_status.problem is not None:
            log.info("monta_takes_the_credential_again", operator_id=operator.id)
        credential_status, due_at = CredentialStatus(refused_since=None, problem=None), None
    async with context.database.transaction() as connection:
        if await jobs.held(connection, lease):
            await operator_state.note_credential_status(connection, operator.id, credential_status)
            await jobs.release(connection, lease, due_at)


def _refused(
    credential_status: CredentialStatus, why: str, now: datetime
) -> tuple[CredentialStatus, datetime]:
    refused_since = credential_status.refused_since or now
    if now - refused_since < LASTING:
        return CredentialStatus(refused_since=refused_since, problem=credential_status.problem), now + AGAIN
    return CredentialStatus(refused_since=refused_since, problem=why), now + WHILE_REFUSED


async def _ask(monta: MontaClient, now: datetime) -> None:
    """Requests the account, its scopes and a charge list. Raises _Refusal; MontaError when the answer is not
    conclusive.

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
