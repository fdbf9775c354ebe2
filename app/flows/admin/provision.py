"""Creates operators, terminals and tariffs; each secret is shown once."""

from collections.abc import Sequence
from dataclasses import field
from datetime import datetime, timedelta

from app.domain.charging.charge import PriceUnit
from app.domain.tariff import Tariff
from app.domain.tariff.time_windows import expired, out_of_force
from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargePointId, OperatorId, TerminalId
from app.flows.context import Context, OperatorUnknown
from app.flows.make_key import AddedKey, KeyTerms, make_key
from app.monta.webhook import delivery_path
from app.store.db.connection import Connection
from app.store.operators import charge_points, jobs, operators, terminals
from app.store.operators.jobs import Job
from app.store.operators.operators import Operator
from app.store.operators.terminals import Terminal
from app.store.sessions import holds

SECRET_OVERLAP = timedelta(hours=1)
"""Overlap in which the previous webhook secret stays valid: Monta gets the new one within a minute or so and retries
failed deliveries every minute. Polling finds what it signs with the old one later."""


class SecretJustChanged(Exception):
    def __init__(self, until: datetime) -> None:
        super().__init__(
            f"the webhook secret was changed lately, and the one before is taken until {until.isoformat()};"
            " --at-once changes it now and forgets the others"
        )


class TariffExpired(Exception):
    def __init__(self, why: str) -> None:
        super().__init__(f"Nothing was set: this tariff prices nothing any more, for {why}.")


class ChargePointNotKnown(Exception):
    def __init__(self, charge_point_id: str) -> None:
        super().__init__(
            f"no terminal of this operator uses charge point {charge_point_id!r}: `tapwatt terminal add` comes first"
        )


@frozen(kw_only=True)
class NewOperator:
    """What is needed to set up an operator's account at Monta."""

    name: str
    monta_url: str
    client_id: str
    client_secret: str = field(repr=False)
    paying_team_id: str
    price_unit: str = "major"
    time_zone: str = "UTC"


@frozen
class AddedOperator:
    operator_id: OperatorId
    webhook_path: str = field(repr=False)
    webhook_secret: str = field(repr=False)


@frozen
class ChangedSecret:
    """`secret` is shown now and never again. The previous one stays valid until `before_until`, None: it is deleted."""

    webhook_secret: str = field(repr=False)
    before_until: datetime | None


async def add_operator(context: Context, new: NewOperator) -> AddedOperator:
    """Records an operator. The watcher registers the webhook and reads the charge points next."""
    now = context.clock.now()
    operator = Operator(
        id=OperatorId(context.ids.new("op")),
        name=new.name,
        monta_url=new.monta_url.rstrip("/"),
        client_id=new.client_id,
        client_secret=new.client_secret,
        paying_team_id=new.paying_team_id,
        price_unit=new.price_unit,
        time_zone=new.time_zone,
        webhook_endpoint_id=context.ids.secret("wh"),
        webhook_secret=context.ids.secret("whsec"),
    )
    async with context.database.transaction() as connection:
        await context.operators.add(connection, operator, now)
    return AddedOperator(operator.id, delivery_path(operator.webhook_endpoint_id), operator.webhook_secret)


async def change_webhook_secret(context: Context, operator_id: OperatorId, *, at_once: bool) -> ChangedSecret:
    """Changes the webhook secret. The next sync gives it to Monta, and the previous one stays valid for SECRET_OVERLAP.

    `at_once` deletes the previous one now, for a leaked secret. Raises OperatorUnknown, SecretJustChanged (of two
    changes within the overlap the first secret would be lost while Monta may still sign with it).
    """
    now = context.clock.now()
    secret = context.ids.secret("whsec")
    until = None if at_once else now + SECRET_OVERLAP
    async with context.database.transaction() as connection:
        if until is None:
            if not await context.operators.replace_webhook_secret(connection, operator_id, secret, now):
                raise OperatorUnknown(operator_id)
        else:
            await _overlap(context, connection, operator_id, secret, until)
        for job in (Job.SYNC, Job.CHECK_CREDENTIAL):
            await jobs.make_due(connection, operator_id, job, now)
    return ChangedSecret(secret, until)


async def _overlap(
    context: Context, connection: Connection, operator_id: OperatorId, secret: str, until: datetime
) -> None:
    """Changes the webhook secret and keeps the present one until then. Raises OperatorUnknown, SecretJustChanged."""
    now = context.clock.now()
    operator = await context.operators.lock(connection, operator_id)
    if operator is None:
        raise OperatorUnknown(operator_id)
    still = operator.previous_webhook_secret_until
    if still is not None and len(operator.webhook_secrets(now)) > 1:
        raise SecretJustChanged(still)
    await context.operators.change_webhook_secret(connection, operator, secret, now=now, before_until=until)


async def set_top_up_max(context: Context, operator_id: OperatorId, amount_minor: int | None) -> None:
    """Sets the most that top-ups may raise an authorization to. In minor units. None: no policy. Raises
    OperatorUnknown."""
    async with context.database.transaction() as connection:
        if not await operators.exists(connection, operator_id):
            raise OperatorUnknown(operator_id)
        await operators.set_top_up_max(connection, operator_id, amount_minor)


async def set_hold_max(context: Context, operator_id: OperatorId, eur: int | None) -> None:
    """Sets the most that one session may hold, in EUR. Other currencies by their usual size. None: the default. Raises
    OperatorUnknown."""
    async with context.database.transaction() as connection:
        if not await operators.exists(connection, operator_id):
            raise OperatorUnknown(operator_id)
        await operators.set_hold_max(connection, operator_id, eur)


async def set_least_settlement(
    context: Context, operator_id: OperatorId, *, capture_minor: int | None, energy_wh: int | None
) -> None:
    """Sets the final price or energy below which charges are released. Price in minor units. None leaves a value as it
    is. Raises OperatorUnknown."""
    async with context.database.transaction() as connection:
        if not await operators.exists(connection, operator_id):
            raise OperatorUnknown(operator_id)
        await operators.set_least_settlement(
            connection, operator_id, capture_minor=capture_minor, energy_wh=energy_wh
        )


async def set_price_unit(context: Context, operator_id: OperatorId, price_unit: str) -> None:
    """Sets the unit of Monta's charge prices, `major` or `minor`. Raises OperatorUnknown."""
    async with context.database.transaction() as connection:
        if not await operators.exists(connection, operator_id):
            raise OperatorUnknown(operator_id)
        await operators.set_price_unit(connection, operator_id, PriceUnit(price_unit))


async def set_hold_days(
    context: Context, operator_id: OperatorId, brand: str | None, days: int | None
) -> None:
    """Sets for how many days holds without `expires_at` are valid. By card scheme; scheme None: all others. Days None:
    the default. Raises OperatorUnknown."""
    async with context.database.transaction() as connection:
        if not await operators.exists(connection, operator_id):
            raise OperatorUnknown(operator_id)
        await holds.set_days(connection, operator_id, brand, days)


async def add_terminal(
    context: Context,
    operator_id: OperatorId,
    *,
    provider: str,
    name: str,
    charge_point_ids: Sequence[ChargePointId],
    key: KeyTerms = KeyTerms(name="first"),
) -> AddedKey:
    """Adds a terminal with one key. Its charge points are read from Monta next. Raises OperatorUnknown."""
    now = context.clock.now()
    terminal = Terminal(TerminalId(context.ids.new("trm")), operator_id, provider, name)
    async with context.database.transaction() as connection:
        if not await operators.exists(connection, operator_id):
            raise OperatorUnknown(operator_id)
        await terminals.add_terminal(connection, terminal, now)
        added = await make_key(context, connection, key, operator_id=operator_id, terminal_id=terminal.id)
        await terminals.assign(connection, terminal, charge_point_ids)
        await jobs.make_due(connection, operator_id, Job.SYNC, now)
    return added


async def set_tariff(
    context: Context, operator_id: OperatorId, charge_point_id: ChargePointId | None, tariff: Tariff
) -> None:
    """Sets one charge point's tariff, or that of all the operator's others. Terminal makers are told of it.

    Raises OperatorUnknown, ChargePointNotKnown, TariffExpired.
    """
    if expired(tariff, context.clock.now()):
        raise TariffExpired(out_of_force(tariff, context.clock.now()) or "")
    async with context.database.transaction() as connection:
        if not await operators.exists(connection, operator_id):
            raise OperatorUnknown(operator_id)
        if (
            charge_point_id is not None
            and await charge_points.get(connection, operator_id, charge_point_id) is None
        ):
            raise ChargePointNotKnown(charge_point_id)
        await charge_points.set_tariff(connection, operator_id, charge_point_id, tariff, context.clock.now())
        await jobs.make_due(connection, operator_id, Job.CHARGE_POINTS, context.clock.now())
