"""Tests of app/flows/admin/rotate_secret_key, app/store/operators/secret_keys.

F90: a change of TAPWATT_SECRET_KEY while everything runs, ended midway, with a damaged row, and with a wrong key.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.domain.units.ids import OperatorId
from app.flows.admin import provision, queries
from app.flows.admin.provision import AddedOperator, NewOperator
from app.flows.admin.rotate_secret_key import rotate_secret_key
from app.flows.context import Context
from app.flows.operator.sync import sync_operator
from app.monta.ports import Token
from app.monta_access import SharedTokens
from app.store.db.secret_box import SecretBox, SecretUnreadable, key_id_of
from app.store.operators.jobs import Job, JobLease
from app.store.operators.operators import Operators
from app.store.operators.secret_keys import WrongSecretKey
from tests.api.service import (
    CLIENT_SECRET,
    Service,
    assert_problem,
    charge_entry,
    delivery,
    open_service,
    payment,
    sign,
)
from tests.build_context import SECRET_KEY

pytestmark = pytest.mark.anyio

OLD, NEW = SECRET_KEY, "the next one: hT4mQ9xK2vB7nZ1cW8rL5pD3"
MANY = 12
END = timedelta(days=1)


def with_keys(context: Context, key: str, *older: str) -> Context:
    """The context of a process that was started with these keys."""
    return replace(context, operators=Operators(SecretBox(key, older)))


def tokens_of(context: Context) -> SharedTokens:
    return SharedTokens(context.database, context.operators.box)


async def add_operators(context: Context, count: int = MANY) -> list[AddedOperator]:
    new = NewOperator(
        name="n",
        monta_url="https://m.test/api/v1",
        client_id="c",
        client_secret=CLIENT_SECRET,
        paying_team_id="1",
    )
    return [await provision.add_operator(context, new) for _ in range(count)]


async def key_ids(context: Context) -> set[str]:
    """Which keys anything in the database is encrypted with."""
    statement = text(
        "SELECT client_secret FROM operators UNION ALL SELECT webhook_secret FROM operators"
        " UNION ALL SELECT previous_webhook_secret FROM operators WHERE previous_webhook_secret IS NOT NULL"
        " UNION ALL SELECT access FROM monta_tokens UNION ALL SELECT refresh FROM monta_tokens"
    )
    async with context.database.read() as connection:
        return {key_id_of(bytes(each)) for each in (await connection.execute(statement)).scalars()}


async def execute(context: Context, statement: str) -> None:
    async with context.database.transaction() as connection:
        await connection.execute(text(statement))


async def read(context: Context, operator_id: OperatorId) -> str:
    """The client secret, as this process reads it."""
    async with context.database.read() as connection:
        operator = await context.operators.get(connection, operator_id)
    assert operator is not None
    return operator.client_secret


def pair(service: Service, name: str) -> Token:
    end = service.context.clock.now() + END
    return Token(f"access-{name}", end, f"refresh-{name}", end)


async def test_F90_keys_change_while_replicas_write_and_everything_is_under_the_new_one(
    database_url: str,
) -> None:
    async with open_service(database_url) as service:
        before, both = service.context, with_keys(service.context, NEW, OLD)
        added = await add_operators(before)
        for each in added:
            await tokens_of(before).save(each.operator_id, pair(service, "first"))
        assert await key_ids(both) == {before.operators.box.key_id}
        # Processes with both keys go on with the old one until the command runs.
        await add_operators(both, 1)
        assert await key_ids(both) == {before.operators.box.key_id}

        async def renew(each: AddedOperator) -> None:
            for number in range(3):
                await tokens_of(both).save(each.operator_id, pair(service, f"{each.operator_id}-{number}"))

        four = (provision.change_webhook_secret(both, o.operator_id, at_once=False) for o in added[:4])
        changed, rotated, _ = await asyncio.gather(
            asyncio.gather(*four),
            rotate_secret_key(both),
            asyncio.gather(add_operators(both, 3), *(renew(each) for each in added)),
        )
        assert rotated.left == []
        after = with_keys(service.context, NEW)
        assert await key_ids(after) == {after.operators.box.key_id}
        async with after.database.read() as connection:
            known = {each.id: each for each in await after.operators.all(connection)}
        assert len(known) == 2 + MANY + 1 + 3
        assert {each.client_secret for each in known.values()} == {CLIENT_SECRET}
        for each, secret in zip(added, changed, strict=False):
            assert known[each.operator_id].webhook_secret == secret.webhook_secret
            assert known[each.operator_id].previous_webhook_secret == each.webhook_secret
        for each in added:
            held = await tokens_of(after).load(each.operator_id)
            assert held is not None
            assert (held.access, held.version) == (f"access-{each.operator_id}-2", 4)
        with pytest.raises(WrongSecretKey):
            await add_operators(before, 1)
        assert (await rotate_secret_key(after)).operators == 0


async def test_F90_a_change_of_keys_that_was_ended_midway_goes_on(database_url: str) -> None:
    async with open_service(database_url) as service:
        last = max(each.operator_id for each in await add_operators(service.context))
        both, after = with_keys(service.context, NEW, OLD), with_keys(service.context, NEW)
        ids = {both.operators.box.key_id, service.context.operators.box.key_id}
        async with service.context.database.transaction() as connection:
            await service.context.operators.lock(connection, last)  # it waits here
            task = asyncio.create_task(rotate_secret_key(both))
            async with asyncio.timeout(30):
                while await key_ids(both) != ids:
                    assert not task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert await key_ids(both) == ids, "it was ended before its end"
        assert (await queries.readiness(both)).secrets is None
        async with both.database.read() as connection:
            assert {o.client_secret for o in await both.operators.all(connection)} == {CLIENT_SECRET}
        again = await rotate_secret_key(both)
        assert 0 < again.operators < MANY + 2
        assert await key_ids(both) == {after.operators.box.key_id}
        assert (await queries.readiness(after)).secrets is None


async def test_F90_without_the_key_before_nothing_is_changed_or_written(database_url: str) -> None:
    async with open_service(database_url) as service:
        wrong = with_keys(service.context, NEW)
        for attempt in (
            lambda: rotate_secret_key(wrong),
            lambda: add_operators(wrong, 1),
            lambda: tokens_of(wrong).save(service.one.operator.operator_id, pair(service, "x")),
        ):
            with pytest.raises(WrongSecretKey, match="TAPWATT_OLD_SECRET_KEYS"):
                await attempt()
        assert await key_ids(wrong) == {service.context.operators.box.key_id}
        async with wrong.database.read() as connection:
            counts = "SELECT (SELECT count(*) FROM operators), (SELECT count(*) FROM secret_keys)"
            row = (await connection.execute(text(counts))).one()
        assert tuple(row) == (2, 1)


async def test_F90_a_changed_sample_or_active_key_is_told(database_url: str) -> None:
    async with open_service(database_url) as service:
        async with service.context.database.read() as connection:
            found = await connection.execute(text("SELECT key_id, sample FROM secret_keys"))
            key_id, sample = tuple(found.one())
        for tampered in (
            "UPDATE secret_keys SET sample = set_byte(sample, 30, get_byte(sample, 30) # 1)",
            "UPDATE secret_keys SET key_id = '00000000'",
            "DELETE FROM secret_keys",
        ):
            await execute(service.context, tampered)
            assert "TAPWATT_SECRET_KEY" in str((await queries.readiness(service.context)).secrets)
            with pytest.raises(WrongSecretKey):
                await add_operators(service.context, 1)
            await execute(service.context, "DELETE FROM secret_keys")
            await execute(
                service.context,
                f"INSERT INTO secret_keys VALUES ('{key_id}', '\\x{bytes(sample).hex()}', true)",
            )
            assert (await queries.readiness(service.context)).secrets is None


async def test_F90_a_damaged_row_is_the_problem_of_its_operator_alone(database_url: str) -> None:
    async with open_service(database_url) as service:
        broken, other = service.one.operator, service.other.operator
        await execute(
            service.context,
            "UPDATE operators SET client_secret = set_byte(client_secret, 30, get_byte(client_secret, 30) # 1)"
            f" WHERE id = '{broken.operator_id}'",
        )
        await sync_operator(service.context, JobLease(broken.operator_id, Job.SYNC, 0))
        refused = await service.call("POST", "/v1/payment-sessions", payment())
        assert_problem(refused, 503, "unavailable")
        body = delivery(charge_entry(77, consumedKwh=1))
        assert (await service.webhook(body)).status_code == 503

        theirs = service.other.terminal.api_key
        assert (await service.call("POST", "/v1/payment-sessions", payment(), key=theirs)).status_code == 201
        signed = sign(other.webhook_secret, body)
        assert (await service.webhook(body, signature=signed, path=other.webhook_path)).status_code == 200
        assert (await queries.readiness(service.context)).secrets is None

        summary = await service.call("GET", "/v1/ops/summary", key=service.all_ops.api_key)
        problems = {each["id"]: each["sync_problem"] for each in summary.json()["operators"]}
        assert "--client-secret-file" in problems[broken.operator_id]
        assert problems[other.operator_id] is None

        both = with_keys(service.context, NEW, OLD)
        (left,) = (await rotate_secret_key(both)).left
        assert broken.operator_id in left
        assert await read(with_keys(service.context, NEW), other.operator_id) == CLIENT_SECRET
        with pytest.raises(SecretUnreadable):
            await read(both, broken.operator_id)
