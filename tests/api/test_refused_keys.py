"""Keys that open no door are counted by kind of door; many of them are told once, with nothing of the keys."""

import pytest

from app.api.refusals import MANY, WINDOW_S
from app.telemetry import ProcessTelemetry
from tests.api.house import House, assert_problem, open_house
from tests.virtual import VirtualClock

pytestmark = pytest.mark.anyio

TERMINALS, OPERATIONS = "/v1/charge-points", "/v1/ops/summary"
GUESSED = "tw_terminal_canary-guess"


async def guess(house: House, path: str, times: int, key: str = GUESSED) -> None:
    for _ in range(times):
        assert_problem(await house.call("GET", path, key=key), 401, "unauthorized")


def counted(house: House) -> dict[str, float]:
    assert isinstance(house.tools.telemetry, ProcessTelemetry)
    lines = house.tools.telemetry.text().splitlines()
    name = "tapwatt_keys_refused_total{door="
    return {
        line.removeprefix(name).partition("}")[0].strip('"'): float(line.split()[-1])
        for line in lines
        if line.startswith(name)
    }


async def test_F11_refused_keys_are_counted_by_kind_of_door(database_url: str) -> None:
    async with open_house(database_url) as house:
        await guess(house, TERMINALS, 2)
        await guess(house, TERMINALS, 1, key="")
        await guess(house, TERMINALS, 1, key="x" * 500)
        await guess(house, OPERATIONS, 1, key=house.one.terminal.api_key)
        assert (await house.call("GET", TERMINALS)).status_code == 200
        assert counted(house) == {"terminal": 4, "operations": 1}


async def test_F11_many_refused_keys_are_told_once_a_minute_and_no_key_is_logged(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def told() -> list[str]:
        captured = capsys.readouterr()
        lines = (captured.out + captured.err).splitlines()
        assert not [line for line in lines if GUESSED in line]
        return [line for line in lines if "many_keys_refused" in line]

    async with open_house(database_url) as house:
        clock = house.tools.clock
        assert isinstance(clock, VirtualClock)
        await guess(house, TERMINALS, MANY - 1)
        await guess(house, OPERATIONS, MANY - 1)
        assert told() == []
        await guess(house, TERMINALS, 2 * MANY)
        (line,) = told()
        assert "terminal" in line
        await clock.advance(WINDOW_S)
        await guess(house, TERMINALS, MANY - 1)
        await guess(house, OPERATIONS, 1)
        assert told() == []
        await guess(house, TERMINALS, 1)
        assert len(told()) == 1
