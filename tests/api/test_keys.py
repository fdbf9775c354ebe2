"""Tests of app/flows/admin/manage_keys, app/flows/admin/authenticate, app/api/http/auth.

Keys of terminals and operations: several at once, roles, expiry, revocation, last use, and who acted.
"""

import asyncio
import re
from datetime import timedelta

import httpx
import pytest

from app.domain.units.ids import TerminalId
from app.flows.admin import manage_keys, manage_operators
from app.flows.admin.authenticate import record_key_uses
from app.flows.admin.manage_keys import MOST_VALID_KEYS, KeyRefused, KeyUnknown
from app.flows.make_key import AddedKey, KeyTerms
from app.store.db.database import KEYS_CHANNEL
from app.store.db.listener import Listener
from app.store.operators.keys import ApiKey, KeyKind, Role
from tests.api.service import Json, Service, assert_problem, open_service, payment, wait

pytestmark = pytest.mark.anyio

FURTHER = KeyTerms(name="further")
REMEMBERED = timedelta(seconds=1)
"""Longer than a replica remembers a key without any notification."""


async def further_key(service: Service, terms: KeyTerms = FURTHER) -> AddedKey:
    return await manage_keys.add_terminal_key(service.context, TerminalId(service.one.terminal.id), terms)


async def keys_of(service: Service) -> list[ApiKey]:
    terminal = TerminalId(service.one.terminal.id)
    return list(await manage_keys.list_keys(service.context, KeyKind.TERMINAL, terminal_id=terminal))


async def reads(service: Service, key: str) -> int:
    return (await service.call("GET", "/v1/charge-points", key=key)).status_code


async def test_sessions_and_settlements_belong_to_the_terminal_whatever_key_made_them(
    database_url: str,
) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        await service.settle(session["id"], 1234)
        key = (await further_key(service)).api_key
        await manage_keys.revoke_key(service.context, service.one.terminal.key_id, KeyKind.TERMINAL)
        await wait(service, REMEMBERED)
        assert await reads(service, service.one.terminal.api_key) == 401

        path = f"/v1/payment-sessions/{session['id']}"
        assert (await service.call("GET", path, key=key)).json()["settlement"]["amount_to_capture"] == 1234
        found = await service.call("GET", "/v1/payment-sessions?reference=A-1", key=key)
        assert [s["id"] for s in found.json()["data"]] == [session["id"]]
        again = await service.call("POST", "/v1/payment-sessions", payment(), key=key)
        assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
        captured = {"outcome": "captured", "amount": 1234, "reference": "psp-1"}
        assert (await service.call("POST", f"{path}/captures", captured, key=key)).status_code == 200
        stranger = await service.call("GET", path, key=service.other.terminal.api_key)
        assert_problem(stranger, 404, "not_found")


async def test_a_revoked_key_is_refused_and_the_others_stay_valid(database_url: str) -> None:
    async with open_service(database_url) as service:
        first, second = service.one.terminal, await further_key(service)
        assert [await reads(service, key.api_key) for key in (first, second)] == [200, 200]
        revoked = await manage_keys.revoke_key(service.context, second.key_id, KeyKind.TERMINAL)
        await wait(service, REMEMBERED)
        assert [await reads(service, key.api_key) for key in (first, second)] == [200, 401]
        await wait(service, timedelta(hours=1))
        again = await manage_keys.revoke_key(service.context, second.key_id, KeyKind.TERMINAL)
        assert again.revoked_at == revoked.revoked_at
        with pytest.raises(KeyUnknown, match="terminal key list"):
            await manage_keys.revoke_key(service.context, service.one.ops.key_id, KeyKind.TERMINAL)


async def test_a_key_is_valid_until_it_expires(database_url: str) -> None:
    async with open_service(database_url) as service:
        day = timedelta(days=1)
        key = await further_key(service, KeyTerms(name="for a day", expires_in=day))
        ops = await manage_keys.add_ops_key(service.context, None, terms=KeyTerms(name="day", expires_in=day))
        await wait(service, day - REMEMBERED / 2)
        assert await reads(service, key.api_key) == 200
        await wait(service, REMEMBERED / 2)
        assert await reads(service, key.api_key) == 401
        assert_problem(await service.call("GET", "/v1/ops/summary", key=ops.api_key), 401, "unauthorized")
        assert await reads(service, service.one.terminal.api_key) == 200
        with pytest.raises(KeyRefused, match="ops-key add"):
            await manage_keys.set_key(service.context, ops.key_id, KeyKind.OPS, expires_in=day)


async def test_a_terminal_has_a_bounded_number_of_valid_keys(database_url: str) -> None:
    async with open_service(database_url) as service:
        added = [await further_key(service) for _ in range(MOST_VALID_KEYS - 1)]
        with pytest.raises(KeyRefused, match="revoke"):
            await further_key(service)
        await manage_keys.revoke_key(service.context, added[0].key_id, KeyKind.TERMINAL)
        await further_key(service)


async def test_a_read_key_sees_everything_and_changes_nothing(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        reader = await manage_keys.add_ops_key(service.context, None, role=Role.READ)
        path = f"/v1/ops/payment-sessions/{session['id']}"
        for readable in (
            "/v1/ops/payment-sessions",
            path,
            f"{path}/journal",
            f"{path}/captures",
            "/v1/ops/orphans",
        ):
            assert (await service.call("GET", readable, key=reader.api_key)).status_code == 200
        before = (await service.call("GET", path, key=reader.api_key)).json()
        acts: list[tuple[str, Json]] = [
            (f"{path}/stop", {"reason": "r"}),
            (f"{path}/settle", {"amount": 1, "reason": "r"}),
            (f"{path}/close", {"amount": 1, "reason": "r"}),
            (f"{path}/attention/other/acknowledge", {"note": "n"}),
            ("/v1/ops/orphans/77/close", {"reason": "r"}),
        ]
        for act, body in acts:
            refused = await service.call("POST", act, body, key=reader.api_key)
            assert_problem(refused, 403, "read_only_key")
        assert (await service.call("GET", path, key=reader.api_key)).json() == before

        await manage_keys.set_key(service.context, reader.key_id, KeyKind.OPS, role=Role.OPERATE)
        await wait(service, REMEMBERED)
        assert (await service.call("POST", *acts[0], key=reader.api_key)).status_code == 202


async def test_every_operation_that_changes_something_refuses_a_read_key(database_url: str) -> None:
    async with open_service(database_url) as service:
        reader = await manage_keys.add_ops_key(service.context, None, role=Role.READ)
        paths = service.apps[0].openapi()["paths"]
        acts = [
            (method.upper(), path)
            for path, methods in paths.items()
            for method in methods
            if path.startswith("/v1/ops") and method != "get"
        ]
        assert len(acts) >= 5
        for method, path in acts:
            refused = await service.call(method, re.sub(r"\{\w+\}", "1", path), {}, key=reader.api_key)
            assert_problem(refused, 403, "read_only_key")


async def test_the_journal_names_the_key_of_every_act_and_never_the_key(database_url: str) -> None:
    async with open_service(database_url) as service:
        terms = KeyTerms(name="night shift")
        ops = await manage_keys.add_ops_key(service.context, service.one.operator.operator_id, terms=terms)
        terminal = await further_key(service)
        created = await service.call("POST", "/v1/payment-sessions", payment(), key=terminal.api_key)
        own = f"/v1/payment-sessions/{created.json()['id']}"
        more = {"reference": "T-1", "amount": 100}
        await service.call("POST", f"{own}/authorizations", more, key=terminal.api_key)
        path = f"/v1/ops/payment-sessions/{created.json()['id']}"
        await service.call("POST", f"{path}/stop", {"reason": "r"}, key=ops.api_key)
        await service.call("POST", f"{path}/close", {"amount": 0, "reason": "r"}, key=ops.api_key)
        released = {"outcome": "released", "amount": 5100, "reference": "P-1"}
        await service.call("POST", f"{own}/captures", released, key=terminal.api_key)
        journal = await service.call("GET", f"{path}/journal", key=ops.api_key)
        lines = journal.json()["data"]
        acts = {
            line["kind"]: (line["detail"].get("by"), line["detail"].get("by_name"))
            for line in lines
            if line["source"] in ("terminal", "operations")
        }
        for kind in ("payment_authorized", "topped_up", "capture_reported"):
            assert acts.pop(kind) == (terminal.key_id, "further")
        assert {"stop_requested", "closed_by_operations"} <= set(acts)
        assert set(acts.values()) == {(ops.key_id, "night shift")}
        for key in (ops, terminal):
            assert key.api_key not in journal.text


async def test_the_last_use_of_a_key_is_written_once_a_minute(database_url: str) -> None:
    async with open_service(database_url, replicas=2) as service:
        key, began = service.one.terminal.api_key, service.context.clock.now()

        async def written() -> ApiKey:
            for context in service.all_contexts:
                await record_key_uses(context)
            return (await keys_of(service))[0]

        assert (await keys_of(service))[0].last_used_at is None
        await reads(service, key)
        assert (await written()).last_used_at == began
        assert (await written()).last_used_from == "127.0.0.1"
        await wait(service, timedelta(seconds=59))
        for client in (0, 1):
            await service.call("GET", "/v1/charge-points", key=key, client=client)
        assert (await written()).last_used_at == began
        await wait(service, timedelta(seconds=1))
        await reads(service, key)
        assert (await written()).last_used_at == began + timedelta(minutes=1)
        await reads(service, "no key at all")
        assert service.context.key_uses.take() == []


async def test_only_an_operations_key_that_was_never_used_can_be_removed(database_url: str) -> None:
    async with open_service(database_url) as service:
        used, unused = [await manage_keys.add_ops_key(service.context, None) for _ in range(2)]
        await service.call("GET", "/v1/ops/summary", key=used.api_key)
        await record_key_uses(service.context)
        with pytest.raises(KeyRefused, match="ops-key revoke"):
            await manage_keys.remove_ops_key(service.context, used.key_id)
        assert (await service.call("GET", "/v1/ops/summary", key=unused.api_key)).status_code == 200
        await manage_keys.remove_ops_key(service.context, unused.key_id)
        await wait(service, REMEMBERED)
        assert_problem(await service.call("GET", "/v1/ops/summary", key=unused.api_key), 401, "unauthorized")


async def test_every_replica_hears_of_a_changed_key_and_refuses_a_revoked_one_at_once(
    database_url: str,
) -> None:
    announced: asyncio.Queue[str] = asyncio.Queue()
    async with open_service(database_url, replicas=2, listening=True) as service:
        keys = [await manage_keys.add_ops_key(service.context, None) for _ in range(3)]
        for client in (0, 1):
            assert (await summary(service, keys[0], client)).status_code == 200
        listener = Listener(service.context.database.host, {KEYS_CHANNEL: announced.put_nowait})
        listening = asyncio.create_task(listener.run())
        try:
            assert await asyncio.wait_for(announced.get(), 10) == "", "it listens from now on"
            await manage_keys.revoke_key(service.context, keys[0].key_id, KeyKind.OPS)
            await manage_keys.set_key(service.context, keys[1].key_id, KeyKind.OPS, role=Role.READ)
            await manage_keys.remove_ops_key(service.context, keys[2].key_id)
            told = [await asyncio.wait_for(announced.get(), 10) for _ in keys]
        finally:
            listening.cancel()
        assert told == [key.key_id for key in keys]
        async with asyncio.timeout(
            10
        ):  # the clock stands still: only the notification makes a replica look again
            for client in (0, 1):
                while (await summary(service, keys[0], client)).status_code != 401:
                    await wait(service, timedelta())


async def summary(service: Service, key: AddedKey, client: int) -> httpx.Response:
    return await service.call("GET", "/v1/ops/summary", key=key.api_key, client=client)


async def test_a_disabled_operator_takes_no_new_payments_and_what_runs_goes_on(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize("101", "A-1")
        await manage_operators.set_enabled(service.context, service.one.operator.operator_id, enabled=False)
        refused = await service.call("POST", "/v1/payment-sessions", payment("102", "A-2"))
        assert_problem(refused, 503, "unavailable")
        assert (await service.call("POST", "/v1/payment-sessions", payment("101", "A-1"))).status_code == 200
        path = f"/v1/payment-sessions/{session['id']}"
        assert (await service.call("POST", f"{path}/stop")).status_code == 202
        theirs = await service.call(
            "POST", "/v1/payment-sessions", payment(), key=service.other.terminal.api_key
        )
        assert theirs.status_code == 201
        summary = await service.call("GET", "/v1/ops/summary", key=service.one.ops.api_key)
        assert summary.json()["operators"][0]["disabled_at"] is not None
        await manage_operators.set_enabled(service.context, service.one.operator.operator_id, enabled=True)
        again = await service.call("POST", "/v1/payment-sessions", payment("102", "A-2"))
        assert again.status_code == 201
