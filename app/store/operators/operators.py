"""Stores operators: one Monta credential and webhook endpoint each. Secrets leave decrypted and are never logged."""

from dataclasses import field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId
from app.store.db.connection import Connection, Row
from app.store.db.secret_box import SecretBox
from app.store.operators import jobs
from app.store.operators.jobs import Job
from app.store.operators.secret_keys import check, sealing_key
from app.store.tables import operators

O = operators  # noqa: E741

CLIENT_SECRET = "client_secret"  # noqa: S105 - the name of a column
WEBHOOK_SECRET = "webhook_secret"  # noqa: S105 - the name of a column
PREVIOUS_WEBHOOK_SECRET = "previous_webhook_secret"  # noqa: S105 - the name of a column


@frozen(kw_only=True)
class Operator:
    """One operator's account at Monta. `paying_team_id` is the team that its charges are booked to."""

    id: OperatorId
    name: str
    monta_url: str
    client_id: str
    client_secret: str = field(repr=False)
    paying_team_id: str
    price_unit: str = "major"
    time_zone: str = "UTC"
    top_up_max_minor: int | None = None
    """The most that top-ups may raise an authorization to. None: up to Monta's limit of the start."""
    hold_max_eur: int | None = None
    """The most that one session may hold, in EUR (other currencies by their usual size). None: the default."""
    least_capture_minor: int = 0
    """A final price below this is released."""
    least_energy_wh: int = 0
    """The price of less energy is released."""
    monta_clock_ahead_s: int | None = None
    webhook_endpoint_id: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    previous_webhook_secret: str | None = field(default=None, repr=False)
    previous_webhook_secret_until: datetime | None = None
    webhook_secret_pending_since: datetime | None = None
    """When it was changed; None: Monta has the present one."""

    def webhook_secrets(self, now: datetime) -> tuple[str, ...]:
        """Returns the secrets that may sign a delivery. The present one, and for a while the previous one."""
        before, until = self.previous_webhook_secret, self.previous_webhook_secret_until
        if before is None or until is None or now >= until:
            return (self.webhook_secret,)
        return (self.webhook_secret, before)


RECONCILE_FIRST = timedelta(hours=1)
"""A new operator has no charges of ours to compare."""
OVERDUE_CAPTURES_FIRST = timedelta(minutes=10)
"""A new operator has no settlements either."""


async def monta_urls(connection: Connection) -> list[str]:
    """Returns the addresses of Monta that operators name, each once."""
    query = select(operators.c.monta_url).distinct().order_by(operators.c.monta_url)
    return list((await connection.execute(query)).scalars())


class Operators:
    """Reads and writes operators; encrypts their secrets."""

    def __init__(self, box: SecretBox) -> None:
        self._box = box

    @property
    def box(self) -> SecretBox:
        return self._box

    async def add(self, connection: Connection, operator: Operator, now: datetime) -> None:
        """Raises WrongSecretKey, as all that encrypts."""
        key_id = await sealing_key(connection, self._box)
        await connection.execute(
            insert(operators).values(
                id=operator.id,
                name=operator.name,
                monta_url=operator.monta_url,
                client_id=operator.client_id,
                client_secret=self._sealed_client_secret(operator, key_id),
                paying_team_id=operator.paying_team_id,
                price_unit=operator.price_unit,
                time_zone=operator.time_zone,
                webhook_endpoint_id=operator.webhook_endpoint_id,
                webhook_secret=self._sealed(operator, operator.webhook_secret, WEBHOOK_SECRET, key_id),
                created_at=now,
                reconciled_at=now,
                reconciled_deep_at=now,
                reconcile_due_at=now + RECONCILE_FIRST,
            )
        )
        first_due = {
            Job.SYNC: now,
            Job.RECONCILE: now + RECONCILE_FIRST,
            Job.SWEEP: None,
            Job.CHECK_CREDENTIAL: None,
            Job.CHARGE_POINTS: None,
            Job.OVERDUE_CAPTURES: now + OVERDUE_CAPTURES_FIRST,
        }
        await jobs.add(connection, operator.id, first_due)

    async def get(self, connection: Connection, operator_id: OperatorId) -> Operator | None:
        row = await connection.execute(_ONE, {"operator": operator_id})
        return self._one(row.one_or_none())

    async def lock(self, connection: Connection, operator_id: OperatorId) -> Operator | None:
        """Locks an operator's row against changes until the transaction ends. Foreign key checks still pass."""
        query = _ONE.with_for_update(key_share=True)
        row = await connection.execute(query, {"operator": operator_id})
        return self._one(row.one_or_none())

    async def change_webhook_secret(
        self,
        connection: Connection,
        locked: Operator,
        secret: str,
        *,
        now: datetime,
        before_until: datetime,
    ) -> None:
        """Replaces the webhook secret. The previous one stays valid until `before_until`."""
        key_id = await sealing_key(connection, self._box)
        before = self._sealed(locked, locked.webhook_secret, PREVIOUS_WEBHOOK_SECRET, key_id)
        await connection.execute(
            update(O)
            .where(O.c.id == locked.id)
            .values(
                webhook_secret=self._sealed(locked, secret, WEBHOOK_SECRET, key_id),
                previous_webhook_secret=before,
                previous_webhook_secret_until=before_until,
                webhook_secret_pending_since=now,
            )
        )

    async def replace_webhook_secret(
        self, connection: Connection, operator_id: OperatorId, secret: str, now: datetime
    ) -> bool:
        """Replaces the webhook secret and forgets earlier ones. They need not be readable. False: no operator."""
        key_id = await sealing_key(connection, self._box)
        values = {
            WEBHOOK_SECRET: self._box.seal(secret, owner=operator_id, purpose=WEBHOOK_SECRET, key_id=key_id),
            PREVIOUS_WEBHOOK_SECRET: None,
            "previous_webhook_secret_until": None,
            "webhook_secret_pending_since": now,
        }
        statement = update(O).where(O.c.id == operator_id).values(values).returning(O.c.id)
        return (await connection.execute(statement)).one_or_none() is not None

    async def change_account(
        self,
        connection: Connection,
        operator_id: OperatorId,
        *,
        client_secret: str | None,
        **columns: str | None,
    ) -> None:
        """Sets columns of the account, None: as it is. A new address takes the client secret along.

        Raises SecretUnreadable when the present secret is needed and damaged.
        """
        values: dict[str, Any] = {name: value for name, value in columns.items() if value is not None}
        if client_secret is not None or "monta_url" in values:
            key_id = await sealing_key(connection, self._box)
            query = select(O.c.monta_url, O.c.client_secret).where(O.c.id == operator_id).with_for_update()
            row = (await connection.execute(query)).one()
            secret = client_secret or self._box.open(
                row["client_secret"], owner=operator_id, purpose=_for_address(row["monta_url"])
            )
            purpose = _for_address(values.get("monta_url", row["monta_url"]))
            values[CLIENT_SECRET] = self._box.seal(secret, owner=operator_id, purpose=purpose, key_id=key_id)
        if values:
            await connection.execute(update(O).where(O.c.id == operator_id).values(values))

    async def by_endpoint(self, connection: Connection, endpoint_id: str) -> Operator | None:
        row = await connection.execute(_BY_ENDPOINT, {"endpoint": endpoint_id})
        return self._one(row.one_or_none())

    async def all(self, connection: Connection) -> list[Operator]:
        rows = await connection.execute(select(operators).order_by(operators.c.created_at, operators.c.id))
        return [self._from(row) for row in rows]

    async def check_key(self, connection: Connection) -> None:
        """Raises WrongSecretKey when secrets here were encrypted with another key. No check without any secret."""
        await check(connection, self._box)

    async def reseal(self, connection: Connection, operator_id: OperatorId, key_id: str) -> None:
        """Encrypts an operator's secrets anew with the key of this id. Raises SecretUnreadable."""
        operator = await self.lock(connection, operator_id)
        if operator is None:
            return
        before = operator.previous_webhook_secret
        values = {
            CLIENT_SECRET: self._sealed_client_secret(operator, key_id),
            WEBHOOK_SECRET: self._sealed(operator, operator.webhook_secret, WEBHOOK_SECRET, key_id),
            PREVIOUS_WEBHOOK_SECRET: None
            if before is None
            else self._sealed(operator, before, PREVIOUS_WEBHOOK_SECRET, key_id),
        }
        await connection.execute(update(O).where(O.c.id == operator_id).values(values))

    def _sealed(self, operator: Operator, secret: str, purpose: str, key_id: str) -> bytes:
        return self._box.seal(secret, owner=operator.id, purpose=purpose, key_id=key_id)

    def _sealed_client_secret(self, operator: Operator, key_id: str) -> bytes:
        return self._sealed(operator, operator.client_secret, _for_address(operator.monta_url), key_id)

    def _one(self, row: Row | None) -> Operator | None:
        return None if row is None else self._from(row)

    def _from(self, row: Row) -> Operator:
        def opened(column: str, purpose: str | None = None) -> str:
            return self._box.open(row[column], owner=row["id"], purpose=purpose or column)

        plain: dict[str, Any] = {
            name: row[name]
            for name in (
                "name",
                "monta_url",
                "client_id",
                "paying_team_id",
                "price_unit",
                "time_zone",
                "top_up_max_minor",
                "hold_max_eur",
                "least_capture_minor",
                "least_energy_wh",
                "monta_clock_ahead_s",
                "webhook_endpoint_id",
                "previous_webhook_secret_until",
                "webhook_secret_pending_since",
            )
        }
        changed = row[PREVIOUS_WEBHOOK_SECRET] is not None
        return Operator(
            id=OperatorId(row["id"]),
            client_secret=opened(CLIENT_SECRET, _for_address(row["monta_url"])),
            webhook_secret=opened(WEBHOOK_SECRET),
            previous_webhook_secret=opened(PREVIOUS_WEBHOOK_SECRET) if changed else None,
            **plain,
        )


def _for_address(monta_url: str) -> str:
    """Returns a client secret's purpose, bound to the address. Who changes the address in the database cannot have the
    secret sent there."""
    return f"{CLIENT_SECRET} for {monta_url}"


_ONE = select(operators).where(operators.c.id == bindparam("operator"))
"""Built once: every call to Monta executes it."""
_BY_ENDPOINT = select(operators).where(operators.c.webhook_endpoint_id == bindparam("endpoint"))


async def set_top_up_max(connection: Connection, operator_id: OperatorId, amount_minor: int | None) -> None:
    """Applies to new sessions. Running ones keep what Monta was given at the start."""
    await connection.execute(
        update(operators).where(operators.c.id == operator_id).values(top_up_max_minor=amount_minor)
    )


async def set_hold_max(connection: Connection, operator_id: OperatorId, eur: int | None) -> None:
    """Applies to new sessions; None: the default."""
    await connection.execute(update(operators).where(operators.c.id == operator_id).values(hold_max_eur=eur))


async def set_least_settlement(
    connection: Connection, operator_id: OperatorId, *, capture_minor: int | None, energy_wh: int | None
) -> None:
    """Applies to new sessions; None leaves a value as it is."""
    given = {"least_capture_minor": capture_minor, "least_energy_wh": energy_wh}
    values = {name: value for name, value in given.items() if value is not None}
    await connection.execute(update(operators).where(operators.c.id == operator_id).values(values))


async def set_price_unit(connection: Connection, operator_id: OperatorId, price_unit: str) -> None:
    """Applies to every later read of Monta's charges, running ones included."""
    await connection.execute(
        update(operators).where(operators.c.id == operator_id).values(price_unit=price_unit)
    )


async def note_webhook_secret_set(connection: Connection, operator: Operator) -> None:
    """Records that Monta has the operator's secret as it was read. One changed meanwhile is still pending."""
    same = O.c.webhook_secret_pending_since == operator.webhook_secret_pending_since
    await connection.execute(
        update(O).where(O.c.id == operator.id, same).values(webhook_secret_pending_since=None)
    )


async def forget_old_webhook_secret(connection: Connection, operator_id: OperatorId, now: datetime) -> None:
    """Deletes the previous secret once it is no longer accepted."""
    await connection.execute(_FORGET_OLD_SECRET, {"operator": operator_id, "now": now})


_FORGET_OLD_SECRET = (
    update(O)
    .where(O.c.id == bindparam("operator"), O.c.previous_webhook_secret_until <= bindparam("now"))
    .values(previous_webhook_secret=None, previous_webhook_secret_until=None)
)


async def exists(connection: Connection, operator_id: OperatorId) -> bool:
    query = select(operators.c.id).where(operators.c.id == operator_id)
    return (await connection.execute(query)).one_or_none() is not None
