"""Tests of app/monta/egress, on real TLS sockets."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from app.domain.units.egress import Egress
from app.monta.egress import CertificateProblem, certificate_expires_at
from tests.certificates import BEGAN, EXPIRES, for_localhost

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def serving(folder: Path, expires_at: datetime) -> AsyncIterator[tuple[str, ssl.SSLContext]]:
    """A TLS server for `localhost`: its URL, and a context that trusts its certificate."""
    pem, ours = for_localhost(folder, expires_at)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert await reader.read() == b"", "nothing is sent"
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(handle, "localhost", 0, ssl=ours)
    async with server:
        port = server.sockets[0].getsockname()[1]
        trusted = ssl.create_default_context(cadata=pem)
        yield f"https://localhost:{port}/api/v1", trusted


async def test_the_expiry_of_an_accepted_certificate_is_read(tmp_path: Path) -> None:
    async with serving(tmp_path, EXPIRES) as (url, trusted):
        assert await certificate_expires_at(url, Egress(), trusted=trusted) == EXPIRES
        with pytest.raises(CertificateProblem, match="refused: self-signed certificate"):
            await certificate_expires_at(url, Egress())
    with pytest.raises(CertificateProblem):
        await certificate_expires_at(url, Egress(), trusted=trusted)


async def test_an_expired_certificate_is_said_to_be_that(tmp_path: Path) -> None:
    async with serving(tmp_path, BEGAN + timedelta(days=1)) as (url, trusted):
        with pytest.raises(CertificateProblem, match="certificate has expired"):
            await certificate_expires_at(url, Egress(), trusted=trusted)


async def test_it_goes_where_calls_may_go_and_plain_http_has_none() -> None:
    assert await certificate_expires_at("http://localhost:1/api/v1", Egress()) is None
    with pytest.raises(CertificateProblem, match=r"10\.0\.0\.1"):
        await certificate_expires_at("https://10.0.0.1/api/v1", Egress())
