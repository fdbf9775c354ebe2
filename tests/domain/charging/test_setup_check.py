"""Configuration against what Monta shows: certain failures, warnings, and harmless differences."""

import pytest

from app.domain.charging.charge_point import ChargePoint, ChargePointState
from app.domain.charging.setup_check import (
    ConfiguredChargePoint,
    charge_point_warnings,
    paying_team_warnings,
    summary_of,
    unknown_to_monta,
)
from app.domain.units.ids import ChargePointId
from tests.domain.sessions import after

POINT = ChargePointId("101")


def place(
    *, known: bool = True, team: str | None = "13", tariff: bool = False, problem: str | None = None
) -> ConfiguredChargePoint:
    shown = ChargePoint(
        id=POINT,
        state=ChargePointState.AVAILABLE,
        seen_at=after(0),
        updated_at=None,
        team_id=team,
        price_group_id="7",
    )
    return ConfiguredChargePoint(
        id=POINT, shown=shown if known else None, has_tariff=tariff, price_problem=problem
    )


@pytest.mark.parametrize(
    ("paying", "teams", "warned"),
    [("11", [], False), ("11", ["11", "12"], False), ("11", ["12"], True), ("1", ["11"], True)],
)
def test_F36_a_paying_team_that_the_credential_is_not_for_is_reported(
    paying: str, teams: list[str], warned: bool
) -> None:
    warnings = paying_team_warnings(paying, teams)
    assert bool(warnings) is warned
    assert all(f"paying team {paying} " in warning for warning in warnings)


@pytest.mark.parametrize(
    ("found", "teams", "word"),
    [
        (place(), [], None),
        (place(), ["13"], None),
        (place(), ["11"], "belongs to team 13"),
        (place(team=None), ["11"], None),
        (place(problem="refused"), [], "price group 7"),
        (place(problem="refused", tariff=True), [], None),
    ],
)
def test_F36_a_charge_point_of_a_strange_team_or_without_a_known_price_is_reported(
    found: ConfiguredChargePoint, teams: list[str], word: str | None
) -> None:
    warnings = charge_point_warnings([found], teams)
    assert unknown_to_monta([found]) == ()
    assert len(warnings) == (word is not None)
    assert word is None or word in warnings[0]


def test_F36_only_a_charge_point_that_monta_does_not_know_is_unknown_to_monta() -> None:
    nowhere = place(known=False, problem="refused")
    assert len(unknown_to_monta([place(), nowhere])) == 1
    assert charge_point_warnings([nowhere], ["11"]) == ()


def test_many_warnings_are_shown_as_the_first_few_and_a_number() -> None:
    assert summary_of([]) is None
    assert summary_of(["a", "b"]) == "a; b"
    assert summary_of("abcdefg") == "a; b; c; d; e; and 2 more"
