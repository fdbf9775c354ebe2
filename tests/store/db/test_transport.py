"""Tests of app/store/db/connect: which connections prove the server, and that `verify-full` does."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from app.embedded.cluster import SERVICE
from app.store.db.connect import ELSEWHERE, WritableHost, asyncpg_url, unverified_hosts
from tests.certificates import for_localhost

pytestmark = pytest.mark.anyio

SSL_REQUEST = bytes.fromhex("0000000804d2162f")


@contextlib.asynccontextmanager
async def with_tls(database_url: str, tls: ssl.SSLContext) -> AsyncIterator[str]:
    """The real server behind a front that speaks TLS to clients; user, host and name of a URL to it."""
    name, folder = database_url.split("@/")[1].split("?host=")
    socket = f"{unquote(folder)}/.s.PGSQL.5432"

    async def front(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            assert await reader.readexactly(len(SSL_REQUEST)) == SSL_REQUEST
            writer.write(b"S")
            await writer.start_tls(tls)
            theirs, to_them = await asyncio.open_unix_connection(socket)
            await asyncio.gather(passed_on(reader, to_them), passed_on(theirs, writer))

    server = await asyncio.start_server(front, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"{SERVICE}@{{}}:{port}/{name}"


async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while read := await reader.read(65536):
            writer.write(read)
    writer.close()


async def test_verify_full_proves_the_server_and_its_name(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem, tls = for_localhost(tmp_path)
    (tmp_path / "other").mkdir()
    stranger, _ = for_localhost(tmp_path / "other")
    for file, text in (("ours", pem), ("stranger", stranger)):
        (tmp_path / file).write_text(text, encoding="utf-8")
    async with with_tls(database_url, tls) as at:
        for host, root, is_proven in (
            ("localhost", "ours", True),
            ("127.0.0.1", "ours", False),
            ("localhost", "stranger", False),
        ):
            monkeypatch.setenv("PGSSLROOTCERT", str(tmp_path / root))
            url = asyncpg_url(f"postgresql://{at.format(host)}?sslmode=verify-full")
            if is_proven:
                connection = await WritableHost(url).connect()
                assert await connection.fetchval("SELECT 1") == 1
                await connection.close()
            else:
                with pytest.raises(ELSEWHERE):
                    await WritableHost(url).connect()


@pytest.mark.parametrize(
    ("url", "unverified"),
    [
        ("postgresql://db.example/t", ["db.example"]),
        ("postgresql://db.example/t?sslmode=require", ["db.example"]),
        ("postgresql://db.example/t?sslmode=verify-ca", ["db.example"]),
        ("postgresql://db.example/t?sslmode=verify-full", []),
        ("postgresql://a.example:5432,b.example,localhost/t", ["a.example", "b.example"]),
        ("postgresql://a.example,b.example/t?sslmode=verify-full", []),
        ("postgresql://10.0.0.5/t?sslmode=prefer", ["10.0.0.5"]),
        ("postgresql://[2001:db8::5]/t", ["2001:db8::5"]),
        ("postgresql://u:p%40ss@127.0.0.1/t", []),
        ("postgresql://[::1]/t", []),
        ("postgresql:///t?host=/var/run/postgresql", []),
        ("postgresql:///t?host=db.example", ["db.example"]),
        ("postgresql:///t", []),
    ],
)
def test_hosts_beyond_this_machine_are_proven_by_verify_full_only(url: str, unverified: list[str]) -> None:
    assert unverified_hosts(url) == unverified


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("postgresql://db.example/t", "require"),
        ("postgresql://localhost,b.example/t", "require"),
        ("postgresql:///t?host=db.example", "require"),
        ("postgresql://db.example/t?sslmode=disable", "disable"),
        ("postgresql://db.example/t?sslmode=prefer", "prefer"),
        ("postgresql://db.example/t?sslmode=verify-full", "verify-full"),
        ("postgresql://u:p@127.0.0.1,localhost/t", None),
        ("postgresql:///t?host=/var/run/postgresql", None),
        ("postgresql:///t", None),
    ],
)
def test_beyond_this_machine_connections_are_encrypted_unless_the_url_says_otherwise(
    url: str, mode: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asyncpg_url(url).query.get("ssl") == mode
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert asyncpg_url(url).query.get("ssl") == (None if "sslmode" not in url else mode), "asyncpg reads it"


def test_what_asyncpg_reads_of_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert unverified_hosts("postgresql://db.example/t") == []
    assert unverified_hosts("postgresql://db.example/t?sslmode=require") == ["db.example"]
