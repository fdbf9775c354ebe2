"""Following a charge: webhooks are kept and answered, the record is read when they are silent."""

import asyncio
from collections.abc import Coroutine
from datetime import datetime

from app.domain import attempts, late_facts
from app.domain.change import Change
from app.domain.charge import ChargeReport
from app.domain.ids import ChargeId
from app.domain.limit_watch import limit_at
from app.domain.payment_session import PaymentSession
from app.flows.tools import Tools, commit, keep_entries, monta_of
from app.monta.errors import MontaError, refusal_of, retry_at_of
from app.monta.ports import Purpose
from app.monta.webhook import Delivery, read_delivery, signature_is_valid
from app.monta.wire import PriceUnit
from app.store.conflicts import again_after_conflict
from app.store.leases import Lease

NOT_FOUND = 404


class UnknownEndpoint(Exception):
    """No operator has this webhook endpoint."""


class StopIsDue(Exception):
    """A read was given up, since a stop cannot wait for it."""


class BadSignature(Exception):
    """The body was not signed with the operator's webhook secret, nor with one that was changed lately."""


async def read(tools: Tools, lease: Lease, session: PaymentSession, charge_id: ChargeId) -> None:
    """Read the charge; when a stop hangs on it, as deep into the budget as a start may reach."""
    monta = await monta_of(tools, session.operator_id)
    purpose = Purpose.START if session.stop is not None and not session.ended else Purpose.READ
    try:
        report = await _in_time(tools, session, monta.get_charge(charge_id, purpose=purpose))
    except StopIsDue as due:
        why = str(due)
        now = tools.clock.now()
        await commit(tools, lease, lambda change: attempts.read_cut_short(change, why, now=now))
        return
    except MontaError as error:
        failed = error
        await commit(tools, lease, lambda change: _read_failed(tools, change, failed))
        return
    now = tools.clock.now()
    await commit(tools, lease, lambda change: attempts.read(change, report, now=now, policy=tools.policy))


async def _in_time(
    tools: Tools, session: PaymentSession, reading: Coroutine[None, None, ChargeReport]
) -> ChargeReport:
    """The answer, unless a stop falls due before it comes: no stop ever waits for a slow read. Raises StopIsDue."""
    charge = session.charge
    if charge is None or charge.ended or session.ended or session.stop is not None:
        return await reading
    limit = limit_at(session, charge, tools.policy)
    left_s = None if limit is None else (limit - tools.clock.now()).total_seconds()
    try:
        # Real seconds: it is the network that is waited for.
        async with asyncio.timeout(None if left_s is None else max(tools.policy.least_read_s, left_s)):
            return await reading
    except TimeoutError:
        raise StopIsDue("the stop fell due before Monta answered") from None


def _read_failed(tools: Tools, change: Change, error: MontaError) -> Change:
    change = attempts.read_failed(
        change,
        str(error),
        now=tools.clock.now(),
        not_before=retry_at_of(error),
        policy=tools.policy,
        status=refusal_of(error),
    )
    gone = change.session.ended and refusal_of(error) == NOT_FOUND
    return late_facts.record_gone(change) if gone else change


async def receive(tools: Tools, endpoint_id: str, body: bytes, signature: str | None) -> int:
    """Keep every entry of a signed delivery durably; returns how many were new. The watcher gives them effect.

    Raises UnknownEndpoint, BadSignature, UnreadableDelivery: then nothing was kept.
    """
    now = tools.clock.now()
    try:
        delivery, new = await _keep(tools, endpoint_id, body, signature, now=now)
    except BadSignature:
        tools.telemetry.webhook_refused("bad_signature")
        raise
    tools.telemetry.webhook_kept(_lag_s(delivery, now), len(delivery.entries))
    return new


@again_after_conflict
async def _keep(
    tools: Tools, endpoint_id: str, body: bytes, signature: str | None, *, now: datetime
) -> tuple[Delivery, int]:
    """In one transaction: a delivery is kept whole or not at all."""
    async with tools.database.transaction() as connection:
        operator = await tools.operators.by_endpoint(connection, endpoint_id)
        if operator is None:
            raise UnknownEndpoint
        secrets = operator.webhook_secrets(now)
        if not any(signature_is_valid(secret, body, signature) for secret in secrets):
            raise BadSignature
        delivery = read_delivery(body, now, price_unit=PriceUnit(operator.price_unit))
        return delivery, await keep_entries(connection, operator.id, delivery.entries, now)


def _lag_s(delivery: Delivery, now: datetime) -> float | None:
    times = [entry.event_time for entry in delivery.entries if entry.event_time is not None]
    return max(0.0, (now - min(times)).total_seconds()) if times else None
