"""Starts the usual way (`bench/usual`) under uvicorn, on a database of its own, and fills its tables."""

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sqlalchemy.ext.asyncio import create_async_engine

from app.demo.processes import base_environment, free_port
from bench.rig.database import BenchDatabase
from bench.rig.processes import Process
from bench.usual.models import Base

NAME = "usual"
KEY, ENDPOINT, SECRET = "usual-key", "wh_usual", "usual-secret"
FIRST_CHARGE, FIRST_POINT = 800_000_000_000_000_000, 5_000_000
SESSION = "ps_%026d"

OWNERS = """
INSERT INTO operators VALUES ('op_1', '{endpoint}', '{secret}');
INSERT INTO terminals VALUES ('trm_1', 'op_1', '{key_hash}');
INSERT INTO charge_points SELECT ({point} + n)::text, 'op_1', 'trm_1', 1.00, 300000 FROM generate_series(0, {points} - 1) n;
"""
SESSIONS = """
INSERT INTO payment_sessions (id, operator_id, terminal_id, charge_point_id, reference, display_reference, card_brand,
    card_last4, card_fingerprint, amount_authorized, amount_used, currency, status, charge_id, charge_state, energy_wh,
    version, created_at, updated_at)
SELECT 'ps_' || lpad(n::text, 26, '0'), 'op_1', 'trm_1', {point}::text, 'BENCH-' || lpad(n::text, 9, '0'), 'ABCD-1234',
    'visa', '4242', 'fp-1', 50000, 0, 'EUR', '{status}', ({charge} + n)::text, 'charging', 0, 1,
    now() - n * interval '{apart_s} s', now()
FROM generate_series(0, {count} - 1) n;
"""


@dataclass
class Usual:
    """`tapwatt`'s counterpart: the same requests with its own paths, keys and ids."""

    folder: Path
    database: BenchDatabase
    points: int
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        url = self.database.url(NAME).replace("postgresql://", "postgresql+asyncpg://")
        self._url = url
        options = ["--port", str(self.port), "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
        environment = base_environment() | {"USUAL_DATABASE_URL": url}
        self.service = Process(
            "usual", ["uvicorn", "bench.usual.app:app", *options], environment, self.folder
        )

    async def open(self) -> None:
        engine = create_async_engine(self._url)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        await engine.dispose()
        key_hash = hashlib.sha256(KEY.encode()).hexdigest()
        await self._execute(
            OWNERS.format(
                endpoint=ENDPOINT, secret=SECRET, key_hash=key_hash, point=FIRST_POINT, points=self.points
            )
        )
        self.start()

    def start(self) -> float:
        """Starts the service; returns the seconds to its first answer."""
        began = time.monotonic()
        self.service.start()
        with httpx.Client(trust_env=False) as http:
            self.service.wait_until(lambda: _answers(http, f"http://127.0.0.1:{self.port}/health"))
        return time.monotonic() - began

    async def forget_sessions(self) -> None:
        await self._execute("TRUNCATE payment_sessions")

    async def sessions(self, count: int, *, status: str = "charging", apart_s: int = 0) -> None:
        await self._execute(
            SESSIONS.format(
                point=FIRST_POINT, charge=FIRST_CHARGE, count=count, status=status, apart_s=apart_s
            )
        )

    async def _execute(self, script: str) -> None:
        connection = await self.database.connect(NAME)
        await connection.execute(script)
        await connection.close()


def _answers(http: httpx.Client, url: str) -> bool:
    try:
        return http.get(url).status_code == 200
    except httpx.TransportError:
        return False
