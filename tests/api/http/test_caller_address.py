"""app/api/http/caller_address: where a key was last used, through the real server and behind proxies."""

import asyncio
import socket
from datetime import timedelta

import httpx
import pytest
from structlog.testing import capture_logs

from app.flows.admin.authenticate import record_key_uses
from tests.api.service import Service, open_service
from tests.build_context import SECRET_KEY
from tests.commands import invoke
from tests.console.serving import serving

pytestmark = pytest.mark.anyio

PROXIES = "127.0.0.1, 10.0.0.0/8,2001:db8:ffff::/48, ::1"
CHAINS = {
    "": "127.0.0.1",
    "203.0.113.7": "203.0.113.7",
    "203.0.113.7:50312": "203.0.113.7",
    "203.0.113.7, 10.9.9.9, 10.1.2.3": "203.0.113.7",
    "198.51.100.1, 203.0.113.7, 10.9.9.9": "203.0.113.7",
    "10.0.0.1, 198.51.100.1, 203.0.113.7": "203.0.113.7",
    "2001:db8::7, 2001:db8:ffff::1": "2001:db8::7",
    "[2001:DB8:0::7]:443": "2001:db8::7",
    "fe80::7%eth0": "fe80::7",
    "::ffff:203.0.113.7": "203.0.113.7",
    "10.0.0.1": "10.0.0.1",
    "198.51.100.1, unknown": None,
    "x" * 5000: None,
    "203.0.113.7 <b>": None,
}
"""What is forwarded by a trusted proxy, and who counts as the caller: the last address that no trusted proxy has."""


async def used_from(service: Service, url: str, *forwarded: str) -> str | None:
    """Calls with these headers, minutes later: the address that counts as the key's and in the security log."""
    service.context.clock.step(timedelta(minutes=2))  # type: ignore[attr-defined]
    own = httpx.Headers([("X-Forwarded-For", each) for each in forwarded if each])
    async with httpx.AsyncClient(trust_env=False, base_url=url, headers=own) as client:
        key = {"Authorization": f"Bearer {service.one.terminal.api_key}"}
        assert (await client.get("/v1/charge-points", headers=key)).status_code == 200
        with capture_logs() as logged:
            assert (await client.get("/v1/charge-points")).status_code == 401
    (use,) = service.context.key_uses.take()
    assert [line["address"] for line in logged if line.get("stream") == "security"] == [use.address]
    return use.address


async def test_a_trusted_proxy_names_the_caller_and_nobody_else_does(database_url: str) -> None:
    async with open_service(database_url) as service:
        app = service.apps[0]
        async with serving(app, trusted_proxies=PROXIES) as behind:
            for chain, caller in CHAINS.items():
                assert await used_from(service, behind.url, chain) == caller, chain
            spoofed = ("198.51.100.66", "203.0.113.7, 10.9.9.9")
            assert await used_from(service, behind.url, *spoofed) == "203.0.113.7", (
                "of two headers, the nearer one"
            )
        for others in (None, "10.0.0.0/8"):
            async with serving(app, trusted_proxies=others) as direct:
                for chain in CHAINS:
                    assert await used_from(service, direct.url, chain) == "127.0.0.1", (
                        "a peer that is no proxy"
                    )


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
async def test_a_peer_by_ipv6_is_a_proxy_like_any_other(database_url: str) -> None:
    async with open_service(database_url) as service:
        for trusted, caller in ((PROXIES, "2001:db8::7"), ("127.0.0.1", "::1")):
            async with serving(service.apps[0], "::1", trusted_proxies=trusted) as served:
                assert await used_from(service, served.url, "2001:db8::7") == caller


async def test_the_list_of_a_terminals_keys_shows_from_where_each_was_used(database_url: str) -> None:
    async with (
        open_service(database_url) as service,
        serving(service.apps[0], trusted_proxies=PROXIES) as behind,
    ):
        key = {"Authorization": f"Bearer {service.one.terminal.api_key}", "X-Forwarded-For": "2001:DB8::7"}
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{behind.url}/v1/charge-points", headers=key)).status_code == 200
        await record_key_uses(service.context)
        given = ["terminal", "key", "list", "--terminal", service.one.terminal.id]
        env = {"TAPWATT_DATABASE_URL": database_url, "TAPWATT_SECRET_KEY": SECRET_KEY, "COLUMNS": "200"}
        for form in ([], ["--json"]):
            shown = await asyncio.to_thread(invoke, [*given, *form], env=env)
            assert (shown.exit_code, "2001:db8::7" in shown.output) == (0, True), shown.output
