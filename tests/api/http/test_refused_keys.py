"""Tests of app/api/http/auth.py.

Refused keys are counted by kind of key; many of them are logged once, with nothing of the keys.
"""

import pytest

from app.api.http.auth import MANY, WINDOW_S
from app.telemetry import ProcessTelemetry
from tests.api.service import Service, assert_problem, open_service
from tests.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

TERMINALS, OPERATIONS = "/v1/charge-points", "/v1/ops/summary"
GUESSED = "tw_terminal_canary-guess"


async def guess(service: Service, path: str, times: int, key: str = GUESSED) -> None:
    for _ in range(times):
        assert_problem(await service.call("GET", path, key=key), 401, "unauthorized")


def counted(service: Service) -> dict[str, float]:
    assert isinstance(service.context.telemetry, ProcessTelemetry)
    lines = service.context.telemetry.text().splitlines()
    name = "tapwatt_keys_refused_total{kind="
    return {
        line.removeprefix(name).partition("}")[0].strip('"'): float(line.split()[-1])
        for line in lines
        if line.startswith(name)
    }


async def test_F11_refused_keys_are_counted_by_kind(database_url: str) -> None:
    async with open_service(database_url) as service:
        await guess(service, TERMINALS, 2)
        await guess(service, TERMINALS, 1, key="")
        await guess(service, TERMINALS, 1, key="x" * 500)
        await guess(service, OPERATIONS, 1, key=service.one.terminal.api_key)
        assert (await service.call("GET", TERMINALS)).status_code == 200
        assert counted(service) == {"terminal": 4, "operations": 1}


async def test_F11_many_refused_keys_are_reported_once_a_minute_and_no_key_is_logged(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def told() -> list[str]:
        captured = capsys.readouterr()
        lines = (captured.out + captured.err).splitlines()
        assert not [line for line in lines if GUESSED in line]
        return [line for line in lines if "many_keys_refused" in line]

    async with open_service(database_url) as service:
        clock = service.context.clock
        assert isinstance(clock, VirtualClock)
        await guess(service, TERMINALS, MANY - 1)
        await guess(service, OPERATIONS, MANY - 1)
        assert told() == []
        await guess(service, TERMINALS, 2 * MANY)
        (line,) = told()
        assert "terminal" in line
        await clock.advance(WINDOW_S)
        await guess(service, TERMINALS, MANY - 1)
        await guess(service, OPERATIONS, 1)
        assert told() == []
        await guess(service, TERMINALS, 1)
        assert len(told()) == 1
