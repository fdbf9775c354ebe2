"""Upkeep of one operator: its webhook is registered at Monta, its charge points and prices are known."""

from collections.abc import Sequence
from datetime import timedelta
from typing import cast
from urllib.parse import urlsplit

import structlog

from app.domain.charge_point import ChargePoint
from app.domain.ids import ChargePointId, OperatorId
from app.domain.price_group_tariff import to_tariff
from app.domain.scopes import scope_doubts
from app.domain.setup import Place, hopeless, paying_doubts, place_doubts, told
from app.domain.tariff import InvalidTariff, parse_tariff
from app.flows.tools import Tools, keep_entries
from app.monta.account import DeliveryStatus, WebhookConfig
from app.monta.client import MontaClient
from app.monta.errors import MontaError, Refused
from app.monta.safe_json import JsonIn
from app.monta.webhook import PRICE_GROUP, read_entry
from app.store import charge_points, duties, inbox, operators, price_groups
from app.store.conflicts import again_after_conflict
from app.store.duties import DutyLease
from app.store.operator_state import note_setup, note_upkeep, note_webhook_mended
from app.store.operators import Operator, webhook_path

log = structlog.get_logger("upkeep")

EVERY_S = 900
"""Charge points and the webhook configuration are compared so often: some calls an hour and credential."""
RETRY_S = 60
PRICES_EVERY_S = 1800
"""A price group is read again after this long; one call each."""
MAX_LOOKED_FOR = 30
"""Charge points that Monta's list does not show are asked for one by one, so many at one upkeep."""
MAX_PRICE_GROUPS = 30
"""Of one operator at one upkeep; the others follow at the next."""
KEPT_AT_ONCE = 200
PRUNED_AT_ONCE = 1000
MAX_PRUNINGS = 20
MAX_BATCHES = 50
MAX_DOUBTED = 5
"""Of one operator, read at one turn; the others are found by upkeep."""
EVENT_TYPES = ("charges", "charge-points")


async def attend_operator(tools: Tools, lease: DutyLease) -> None:
    """Never raises for Monta's sake: what went wrong is noted for operations and tried again after a minute."""
    async with tools.database.transaction() as connection:
        operator = await tools.operators.get(connection, lease.operator_id)
    if operator is None:
        return
    monta = tools.monta.of(operator)
    webhook_problem = await _register_webhook(tools, operator, monta)
    upkeep_problem, points = await _refresh_charge_points(tools, operator.id, monta)
    upkeep_problem = upkeep_problem or await _refresh_prices(tools, operator.id, monta)
    if upkeep_problem is None:
        await _compare_setup(tools, operator, monta, points)
    pause = RETRY_S if webhook_problem or upkeep_problem else EVERY_S
    webhook_problem = webhook_problem or await _take_undelivered(tools, operator, monta)
    await _prune_inbox(tools)
    async with tools.database.transaction() as connection:
        await operators.forget_old_webhook_secret(connection, operator.id, tools.clock.now())
        await note_upkeep(
            connection, operator.id, webhook_problem=webhook_problem, upkeep_problem=upkeep_problem
        )
        due_at = tools.clock.now() + timedelta(seconds=pause)
        await duties.give_back(connection, lease, due_at)


async def apply_places(tools: Tools, lease: DutyLease) -> None:
    """What webhooks told of charge points and price groups takes effect; what is in doubt is read. Never raises for
    Monta's sake: what could not be read is tried again after a minute."""
    doubted: dict[ChargePointId, None] = {}
    more = False
    for _ in range(MAX_BATCHES):
        more, doubts = await _apply_batch(tools, lease)
        doubted |= dict.fromkeys(doubts)
        if not more:
            break
    async with tools.database.transaction() as connection:
        operator = await tools.operators.get(connection, lease.operator_id)
    problem = None
    if operator is not None:
        monta = tools.monta.of(operator)
        problem = await _read_doubted(tools, operator.id, monta, list(doubted)[:MAX_DOUBTED])
        problem = problem or await _refresh_prices(tools, operator.id, monta)
    async with tools.database.transaction() as connection:
        next_at = await price_groups.next_told(connection, lease.operator_id)
        if more or problem:
            again = tools.clock.now() + timedelta(seconds=RETRY_S if problem else 0)
            next_at = again if next_at is None else min(next_at, again)
        await duties.give_back(connection, lease, next_at)


@again_after_conflict
async def _apply_batch(tools: Tools, lease: DutyLease) -> tuple[bool, Sequence[ChargePointId]]:
    """Whether there may be more, and the charge points whose record should be read."""
    now = tools.clock.now()
    async with tools.database.transaction() as connection:
        if not await duties.held(connection, lease):
            return False, ()
        news = await inbox.news_of_places(connection, lease.operator_id, KEPT_AT_ONCE)
        entries = [
            read_entry(cast(JsonIn, item.raw), item.received_at) for item in news if item.raw is not None
        ]
        points = [entry.point for entry in entries if entry.point is not None]
        groups = [e.entity_id for e in entries if e.entity_type == PRICE_GROUP and e.entity_id is not None]
        doubted = await charge_points.apply(connection, lease.operator_id, points)
        await price_groups.note_told(connection, lease.operator_id, groups, now)
        await inbox.mark_applied(connection, news, now)
    return len(news) == KEPT_AT_ONCE, doubted


async def _read_doubted(
    tools: Tools, operator_id: OperatorId, monta: MontaClient, ids: Sequence[ChargePointId]
) -> str | None:
    """Read the records of these charge points, one by one; what went wrong, in words."""
    for id_ in ids:
        try:
            point = await monta.find_charge_point(id_)
        except MontaError as error:
            log.warning("charge_point_not_read", operator_id=operator_id, charge_point=id_, error=str(error))
            return str(error)
        if point is not None:
            async with tools.database.transaction() as connection:
                await charge_points.put(connection, operator_id, [point])
    return None


async def _register_webhook(tools: Tools, operator: Operator, monta: MontaClient) -> str | None:
    """With a public URL: set Monta's one configuration of this credential, and mend it when somebody changed it."""
    if tools.public_url is None:
        return None
    url = tools.public_url.rstrip("/") + webhook_path(operator.webhook_endpoint_id)
    try:
        # A secret that we changed is told whatever Monta shows: it may show none, and nobody else changed anything.
        if operator.webhook_secret_untold_at is None:
            config = await monta.get_webhook_config()
            if config is not None and _is_ours(config, url, operator):
                return None
            if config is not None:
                log.error("webhook_configuration_differs", operator_id=operator.id, host=_host(config.url))
                async with tools.database.transaction() as connection:
                    await note_webhook_mended(connection, operator.id, tools.clock.now())
        await monta.put_webhook_config(url, operator.webhook_secret, EVENT_TYPES)
    except MontaError as error:
        log.warning("webhook_registration_failed", operator_id=operator.id, error=str(error))
        return str(error)
    async with tools.database.transaction() as connection:
        await operators.note_webhook_secret_told(connection, operator)
    log.info("webhook_registered", operator_id=operator.id)
    return None


async def _take_undelivered(tools: Tools, operator: Operator, monta: MontaClient) -> str | None:
    """The second source: what Monta's log says that it could not deliver is kept as if it had come; entries that did
    come are known by their contents. Returns why deliveries fail, if they do: Monta says so, and nobody else knows."""
    if tools.public_url is None:
        return None
    now = tools.clock.now()
    try:
        failed = await monta.webhook_entries(DeliveryStatus.FAILED)
    except Refused:
        return None  # the scope webhooks:read is not asked of everybody
    except MontaError as error:
        log.warning("undelivered_entries_not_read", operator_id=operator.id, error=str(error))
        return None
    entries = {delivery.entry.dedupe_key: delivery.entry for delivery in failed}
    new = 0
    keys = sorted(entries)
    for first in range(0, len(keys), KEPT_AT_ONCE):
        async with tools.database.transaction() as connection:
            some = [entries[key] for key in keys[first : first + KEPT_AT_ONCE]]
            new += await keep_entries(connection, operator.id, some, now)
    lately = [d for d in failed if d.created_at is None or d.created_at >= now - timedelta(seconds=EVERY_S)]
    if new:
        log.warning("undelivered_entries_taken", operator_id=operator.id, entries=new)
    return f"Monta could not deliver webhooks: {lately[0].error or 'no reason given'}" if lately else None


async def _prune_inbox(tools: Tools) -> None:
    """Old entries go, a thousand at a time and some thousands an upkeep: deletions never get in anybody's way."""
    before = tools.clock.now() - timedelta(days=tools.inbox_days)
    for _ in range(MAX_PRUNINGS):
        async with tools.database.transaction() as connection:
            if await inbox.prune(connection, before, limit=PRUNED_AT_ONCE) < PRUNED_AT_ONCE:
                return


def _host(url: str | None) -> str | None:
    """All that may be told of it: a path may be a secret, and ours is when only something else differs."""
    try:
        return urlsplit(url or "").hostname
    except ValueError:
        return None


def _is_ours(config: WebhookConfig, url: str, operator: Operator) -> bool:
    same_secret = config.secret in (None, operator.webhook_secret)
    return config.url == url and same_secret and set(EVENT_TYPES) <= set(config.event_types)


async def _refresh_charge_points(
    tools: Tools, operator_id: OperatorId, monta: MontaClient
) -> tuple[str | None, Sequence[ChargePoint]]:
    """What went wrong, and the charge points that Monta lists."""
    try:
        points = await monta.list_charge_points()
    except MontaError as error:
        log.warning("charge_points_not_read", operator_id=operator_id, error=str(error))
        return str(error), ()
    async with tools.database.transaction() as connection:
        await charge_points.put(connection, operator_id, points)
    return None, points


async def _compare_setup(
    tools: Tools, operator: Operator, monta: MontaClient, points: Sequence[ChargePoint]
) -> None:
    """Teams, charge points and prices as they were configured, against what Monta shows; the last word stands when
    Monta does not answer."""
    async with tools.database.transaction() as connection:
        prices = await price_groups.of_places(connection, operator.id, tools.clock.now())
    shown = {point.id: point for point in points}
    try:
        consumer = await monta.me()
        teams = consumer.team_ids
        missing = [p.charge_point_id for p in prices if p.charge_point_id not in shown][:MAX_LOOKED_FOR]
        unknown = {point_id for point_id in missing if await monta.find_charge_point(point_id) is None}
    except MontaError as error:
        log.warning("setup_not_compared", operator_id=operator.id, error=str(error))
        return
    places = [
        Place(
            id=p.charge_point_id,
            shown=shown.get(p.charge_point_id),
            has_tariff=p.has_tariff,
            price_problem=p.problem,
            tariff_problem=p.tariff_problem,
        )
        for p in prices
        if p.charge_point_id in shown or p.charge_point_id in unknown
    ]
    team = paying_doubts(operator.paying_team_id, teams)
    scopes = scope_doubts(consumer.scopes, always_only=True)  # the others may be missing on purpose
    problem = told((*scopes, *team, *hopeless(places), *place_doubts(places, teams)))
    if problem is not None:
        log.error("setup_does_not_fit", operator_id=operator.id, problem=problem)
    async with tools.database.transaction() as connection:
        await note_setup(connection, operator.id, problem)


async def _refresh_prices(tools: Tools, operator_id: OperatorId, monta: MontaClient) -> str | None:
    """Read the price groups whose turn it is, one by one; a group that Monta refuses to show is noted and left."""
    before = tools.clock.now() - timedelta(seconds=PRICES_EVERY_S)
    async with tools.database.transaction() as connection:
        wanted = await price_groups.due(
            connection, operator_id, tried_before=before, now=tools.clock.now(), limit=MAX_PRICE_GROUPS
        )
    for group_id in wanted:
        asked_at = tools.clock.now()
        try:
            group = await monta.get_price_group(group_id)
            converted = to_tariff(group)
            if converted.tariff is not None:
                parse_tariff(converted.tariff)
        except (Refused, InvalidTariff) as error:
            log.warning("price_group_not_read", operator_id=operator_id, group=group_id, error=str(error))
            async with tools.database.transaction() as connection:
                await price_groups.note_failure(
                    connection, operator_id, group_id, problem=str(error), now=asked_at
                )
            continue
        except MontaError as error:
            log.warning("price_groups_not_read", operator_id=operator_id, error=str(error))
            return str(error)
        async with tools.database.transaction() as connection:
            await price_groups.put(
                connection,
                operator_id,
                group_id,
                name=group.name,
                converted=converted,
                now=asked_at,
            )
    return None
