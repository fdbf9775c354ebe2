"""Keeps one operator in sync with Monta: webhook registration, charge points, prices."""

from collections.abc import Sequence
from datetime import timedelta
from typing import cast
from urllib.parse import urlsplit

import structlog

from app.domain.charging.charge_point import ChargePoint
from app.domain.charging.price_group import to_tariff
from app.domain.charging.setup_check import (
    ConfiguredChargePoint,
    charge_point_warnings,
    paying_team_warnings,
    scope_warnings,
    summary_of,
    unknown_to_monta,
)
from app.domain.tariff import InvalidTariff, parse_tariff
from app.domain.units.ids import ChargePointId, OperatorId
from app.flows.context import Context
from app.flows.erasure import erase_old
from app.flows.events.announce import announce_charge_points
from app.flows.ingest import keep_entries
from app.monta.account import DeliveryStatus, WebhookConfig
from app.monta.client import MontaClient
from app.monta.errors import MontaError, Refused
from app.monta.webhook import PRICE_GROUP, delivery_path, read_entry
from app.store import outages
from app.store.db.database import retry_on_serialization_failure
from app.store.db.secret_box import SecretUnreadable
from app.store.events import endpoints, outbox
from app.store.operators import charge_points, jobs, operators, price_groups
from app.store.operators.jobs import JobLease
from app.store.operators.operator_state import (
    CredentialStatus,
    note_credential_status,
    note_setup,
    note_sync,
    note_webhook_mended,
)
from app.store.operators.operators import Operator
from app.store.sessions import deliveries, inbox
from app.strict_json import JsonIn

log = structlog.get_logger("sync")

EVERY_S = 900
"""Interval of the comparison of charge points and webhook configuration: some calls an hour and credential."""
RETRY_S = 60
PRICES_EVERY_S = 1800
"""Interval at which a price group is read again; one call each."""
MAX_SEARCHED = 30
"""Charge points missing from Monta's list that one sync reads one by one."""
MAX_PRICE_GROUPS = 30
"""Price groups of one operator read by one sync. The others follow at the next."""
KEPT_AT_ONCE = 200
PRUNED_AT_ONCE = 1000
MAX_PRUNINGS = 20
MAX_DELIVERY_PRUNINGS = 300
"""Every EVERY_S: more than 300 deliveries a second, since each is kept once."""
MAX_BATCHES = 50
MAX_OUTDATED = 5
"""Outdated charge points of one operator read by one run. Sync finds the others."""
OUTAGES_KEPT = timedelta(days=400)
"""A year of months, and the one that runs."""
EVENT_TYPES = ("charges", "charge-points")


async def sync_operator(context: Context, lease: JobLease) -> None:
    """Synchronizes one operator with Monta. Never raises for a Monta failure: the problem is noted for operations and
    retried after a minute."""
    try:
        async with context.database.read() as connection:
            operator = await context.operators.get(connection, lease.operator_id)
    except SecretUnreadable as error:
        await _note_unreadable(context, lease, error)
        return
    if operator is None:
        return
    monta = context.monta.of(operator)
    webhook_problem = await _register_webhook(context, operator, monta)
    sync_problem, points = await _refresh_charge_points(context, operator.id, monta)
    sync_problem = sync_problem or await _refresh_prices(context, operator.id, monta)
    if sync_problem is None:
        await _compare_setup(context, operator, monta, points)
    pause = RETRY_S if webhook_problem or sync_problem else EVERY_S
    webhook_problem = webhook_problem or await _take_undelivered(context, operator, monta)
    await announce_charge_points(context, operator.id)
    await _prune(context, operator.id)
    await erase_old(context, operator.id)
    async with context.database.transaction() as connection:
        await operators.forget_old_webhook_secret(connection, operator.id, context.clock.now())
        await endpoints.forget_old_secrets(connection, operator.id, context.clock.now())
        await note_sync(connection, operator.id, webhook_problem=webhook_problem, sync_problem=sync_problem)
        due_at = context.clock.now() + timedelta(seconds=pause)
        await jobs.release(connection, lease, due_at)


async def _note_unreadable(context: Context, lease: JobLease, error: SecretUnreadable) -> None:
    """Reports damaged secrets of an operator, and refuses its payments. New ones only. The others go on."""
    log.error("operator_unreadable", why=str(error))
    problem = (
        f"{error}: nothing can be asked of Monta. Set it again with `tapwatt operator set --client-secret-file` or"
        " `tapwatt operator change-webhook-secret --at-once`"
    )
    async with context.database.transaction() as connection:
        await note_sync(connection, lease.operator_id, webhook_problem=None, sync_problem=problem)
        refused = CredentialStatus(refused_since=context.clock.now(), problem=f"{error}: no call is possible")
        await note_credential_status(connection, lease.operator_id, refused)
        await jobs.release(connection, lease, context.clock.now() + timedelta(seconds=RETRY_S))


async def apply_charge_point_news(context: Context, lease: JobLease) -> None:
    """Applies webhook entries of charge points and price groups. Reads outdated records. Never raises for a Monta
    failure: failed reads are retried after a minute."""
    outdated: dict[ChargePointId, None] = {}
    more = False
    for _ in range(MAX_BATCHES):
        more, more_outdated = await _apply_batch(context, lease)
        outdated |= dict.fromkeys(more_outdated)
        if not more:
            break
    async with context.database.read() as connection:
        operator = await context.operators.get(connection, lease.operator_id)
    problem = None
    if operator is not None:
        monta = context.monta.of(operator)
        problem = await _read_outdated(context, operator.id, monta, list(outdated)[:MAX_OUTDATED])
        problem = problem or await _refresh_prices(context, operator.id, monta)
        await announce_charge_points(context, operator.id)
    async with context.database.transaction() as connection:
        next_at = await price_groups.next_told(connection, lease.operator_id)
        if more or problem:
            again = context.clock.now() + timedelta(seconds=RETRY_S if problem else 0)
            next_at = again if next_at is None else min(next_at, again)
        await jobs.release(connection, lease, next_at)


@retry_on_serialization_failure
async def _apply_batch(context: Context, lease: JobLease) -> tuple[bool, Sequence[ChargePointId]]:
    """Applies one batch of entries. Returns whether there may be more, and the charge points whose record should be
    read."""
    now = context.clock.now()
    async with context.database.transaction() as connection:
        if not await jobs.held(connection, lease):
            return False, ()
        news = await inbox.news_of_charge_points(connection, lease.operator_id, KEPT_AT_ONCE)
        entries = [
            read_entry(cast(JsonIn, item.raw), item.received_at) for item in news if item.raw is not None
        ]
        points = [entry.point for entry in entries if entry.point is not None]
        groups = [e.entity_id for e in entries if e.entity_type == PRICE_GROUP and e.entity_id is not None]
        outdated = await charge_points.apply(connection, lease.operator_id, points)
        await price_groups.note_changed(connection, lease.operator_id, groups, now)
        await inbox.mark_applied(connection, lease.operator_id, news, now)
    return len(news) == KEPT_AT_ONCE, outdated


async def _read_outdated(
    context: Context, operator_id: OperatorId, monta: MontaClient, ids: Sequence[ChargePointId]
) -> str | None:
    """Reads the records of these charge points one by one. Returns what went wrong, in words."""
    for id_ in ids:
        try:
            point = await monta.find_charge_point(id_)
        except MontaError as error:
            log.warning("charge_point_not_read", operator_id=operator_id, charge_point=id_, error=str(error))
            return str(error)
        if point is not None:
            async with context.database.transaction() as connection:
                await charge_points.put(connection, operator_id, [point])
    return None


async def _register_webhook(context: Context, operator: Operator, monta: MontaClient) -> str | None:
    """Sets the credential's one webhook configuration, and restores it. With a public URL; restores it when others
    changed it."""
    if context.public_url is None:
        return None
    url = context.public_url.rstrip("/") + delivery_path(operator.webhook_endpoint_id)
    try:
        # A secret that we changed is always sent: Monta may show none, and nothing else may differ.
        if operator.webhook_secret_pending_since is None:
            config = await monta.get_webhook_config()
            if config is not None and _is_ours(config, url, operator):
                return None
            if config is not None:
                log.error("webhook_configuration_differs", operator_id=operator.id, host=_host(config.url))
                async with context.database.transaction() as connection:
                    await note_webhook_mended(connection, operator.id, context.clock.now())
        await monta.put_webhook_config(url, operator.webhook_secret, EVENT_TYPES)
    except MontaError as error:
        log.warning("webhook_registration_failed", operator_id=operator.id, error=str(error))
        return str(error)
    async with context.database.transaction() as connection:
        await operators.note_webhook_secret_set(connection, operator)
    log.info("webhook_registered", operator_id=operator.id)
    return None


async def webhook_difference(context: Context, operator_id: OperatorId) -> str | None:
    """Returns how Monta's webhook configuration differs from ours. None: it does not, or Monta does not show it."""
    async with context.database.read() as connection:
        operator = await context.operators.get(connection, operator_id)
    if operator is None:
        return None
    try:
        config = await context.monta.read_only(operator).get_webhook_config()
    except MontaError:
        return None
    path = delivery_path(operator.webhook_endpoint_id)
    if config is None:
        return "Monta has no webhook configured for this credential"
    url = config.url or ""
    if not url.endswith(path) or (context.public_url and url != context.public_url.rstrip("/") + path):
        return f"Monta's webhook leads elsewhere, to {_host(config.url)}"
    if config.secret not in (None, operator.webhook_secret) and operator.webhook_secret_pending_since is None:
        return "Monta signs webhooks with another secret"
    missing = sorted(set(EVENT_TYPES) - set(config.event_types))
    return f"Monta's webhook lacks the events {', '.join(missing)}" if missing else None


async def _take_undelivered(context: Context, operator: Operator, monta: MontaClient) -> str | None:
    """Fetches undelivered entries from Monta's log and saves them. As if they had been delivered. Known entries are
    recognized by their contents. Returns why deliveries fail, in Monta's words."""
    if context.public_url is None:
        return None
    try:
        failed = await monta.webhook_entries(DeliveryStatus.FAILED)
    except Refused:
        return None  # the scope webhooks:read is optional
    except MontaError as error:
        log.warning("undelivered_entries_not_read", operator_id=operator.id, error=str(error))
        return None
    # After the answer: entries that arrived before they happened would be disbelieved (F119).
    now = context.clock.now()
    entries = {delivery.entry.dedupe_key: delivery.entry for delivery in failed}
    new = 0
    keys = sorted(entries)
    for first in range(0, len(keys), KEPT_AT_ONCE):
        async with context.database.transaction() as connection:
            some = [entries[key] for key in keys[first : first + KEPT_AT_ONCE]]
            new += await keep_entries(connection, operator.id, some, now)
    lately = [d for d in failed if d.created_at is None or d.created_at >= now - timedelta(seconds=EVERY_S)]
    if new:
        log.warning("undelivered_entries_taken", operator_id=operator.id, entries=new)
    return f"Monta could not deliver webhooks: {lately[0].error or 'no reason given'}" if lately else None


async def _prune(context: Context, operator_id: OperatorId) -> None:
    """Deletes old entries, events, deliveries and outages, some thousands a sync. A thousand at a time, so that
    deletions never delay other work."""
    now = context.clock.now()
    entries_before = now - timedelta(days=context.inbox_days)
    async with context.database.transaction() as connection:
        await outages.prune(connection, operator_id, now - OUTAGES_KEPT, limit=PRUNED_AT_ONCE)
    deliveries_before = now - timedelta(days=context.delivery_days)
    for _ in range(MAX_PRUNINGS):
        async with context.database.transaction() as connection:
            if await inbox.prune(connection, entries_before, limit=PRUNED_AT_ONCE) < PRUNED_AT_ONCE:
                break
    events_before = now - timedelta(days=context.event_days)
    for _ in range(MAX_PRUNINGS):
        async with context.database.transaction() as connection:
            if (
                await outbox.prune(connection, operator_id, events_before, limit=PRUNED_AT_ONCE)
                < PRUNED_AT_ONCE
            ):
                break
    for _ in range(MAX_DELIVERY_PRUNINGS):
        async with context.database.transaction() as connection:
            pruned = await deliveries.prune(connection, operator_id, deliveries_before, limit=PRUNED_AT_ONCE)
        if pruned < PRUNED_AT_ONCE:
            return


def _host(url: str | None) -> str | None:
    """The part of a URL that may be shown. A path may be a secret, and ours is when nothing else differs."""
    try:
        return urlsplit(url or "").hostname
    except ValueError:
        return None


def _is_ours(config: WebhookConfig, url: str, operator: Operator) -> bool:
    same_secret = config.secret in (None, operator.webhook_secret)
    return config.url == url and same_secret and set(EVENT_TYPES) <= set(config.event_types)


async def _refresh_charge_points(
    context: Context, operator_id: OperatorId, monta: MontaClient
) -> tuple[str | None, Sequence[ChargePoint]]:
    """Refreshes charge points. Returns what went wrong, and the charge points that Monta lists."""
    try:
        points = await monta.list_charge_points()
    except MontaError as error:
        log.warning("charge_points_not_read", operator_id=operator_id, error=str(error))
        return str(error), ()
    async with context.database.transaction() as connection:
        await charge_points.put(connection, operator_id, points)
    return None, points


async def _compare_setup(
    context: Context, operator: Operator, monta: MontaClient, points: Sequence[ChargePoint]
) -> None:
    """Compares configured teams, charge points and prices with Monta's. Keeps the last result when Monta does not
    answer."""
    async with context.database.transaction() as connection:
        prices = await price_groups.of_charge_points(connection, operator.id, context.clock.now())
    shown = {point.id: point for point in points}
    try:
        consumer = await monta.me()
        teams = consumer.team_ids
        missing = [p.charge_point_id for p in prices if p.charge_point_id not in shown][:MAX_SEARCHED]
        unknown = {point_id for point_id in missing if await monta.find_charge_point(point_id) is None}
    except MontaError as error:
        log.warning("setup_not_compared", operator_id=operator.id, error=str(error))
        return
    places = [
        ConfiguredChargePoint(
            id=p.charge_point_id,
            shown=shown.get(p.charge_point_id),
            has_tariff=p.has_tariff,
            price_problem=p.problem,
            tariff_problem=p.tariff_problem,
        )
        for p in prices
        if p.charge_point_id in shown or p.charge_point_id in unknown
    ]
    team = paying_team_warnings(operator.paying_team_id, teams)
    scopes = scope_warnings(consumer.scopes, always_only=True)  # the others may be missing on purpose
    problem = summary_of((*scopes, *team, *unknown_to_monta(places), *charge_point_warnings(places, teams)))
    if problem is not None:
        log.error("setup_does_not_fit", operator_id=operator.id, problem=problem)
    async with context.database.transaction() as connection:
        await note_setup(connection, operator.id, problem)


async def _refresh_prices(context: Context, operator_id: OperatorId, monta: MontaClient) -> str | None:
    """Reads the price groups that are due, one by one. Notes and skips a group that Monta refuses to show."""
    before = context.clock.now() - timedelta(seconds=PRICES_EVERY_S)
    async with context.database.read() as connection:
        wanted = await price_groups.due(
            connection, operator_id, tried_before=before, now=context.clock.now(), limit=MAX_PRICE_GROUPS
        )
    for group_id in wanted:
        asked_at = context.clock.now()
        try:
            group = await monta.get_price_group(group_id)
            converted = to_tariff(group)
            if converted.tariff is not None:
                parse_tariff(converted.tariff)
        except (Refused, InvalidTariff) as error:
            log.warning("price_group_not_read", operator_id=operator_id, group=group_id, error=str(error))
            async with context.database.transaction() as connection:
                await price_groups.note_failure(
                    connection, operator_id, group_id, problem=str(error), now=asked_at
                )
            continue
        except MontaError as error:
            log.warning("price_groups_not_read", operator_id=operator_id, error=str(error))
            return str(error)
        async with context.database.transaction() as connection:
            await price_groups.put(
                connection,
                operator_id,
                group_id,
                name=group.name,
                converted=converted,
                now=asked_at,
            )
    return None
