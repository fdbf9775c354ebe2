"""A charge with our reference but no session: ours only when provider and paying team prove it."""

from datetime import UTC, datetime, timedelta

import pytest

from app.domain.charging.charge import ChargeReport, ChargeState
from app.domain.charging.orphan import YOUNG, ListedCharge, Origin, has_our_form, is_young, objection_to
from app.domain.units.ids import ChargeId

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
OURS = Origin(provider="payter", paying_team_id="7")


def charge(origin: Origin = OURS, created_at: datetime | None = NOW) -> ListedCharge:
    report = ChargeReport(
        id=ChargeId("1"), state=ChargeState.CHARGING, seen_at=NOW, updated_at=NOW, created_at=created_at
    )
    return ListedCharge(report, origin)


@pytest.mark.parametrize(
    ("origin", "objection"),
    [
        (OURS, None),
        (Origin(provider="other", paying_team_id="7"), "its provider is other, which no terminal here has"),
        (Origin(paying_team_id="7"), "its provider is not shown, which no terminal here has"),
        (Origin(provider="payter", paying_team_id="8"), "it is paid by team 8, not by ours"),
        (Origin(provider="payter"), "it is paid by team unknown, not by ours"),
    ],
)
def test_a_charge_is_ours_only_when_both_its_provider_and_its_team_are(
    origin: Origin, objection: str | None
) -> None:
    assert objection_to(charge(origin), {"payter", "adyen"}, "7") == objection


@pytest.mark.parametrize("side", [1, -1])
def test_a_charge_is_young_for_three_minutes_on_either_side_of_our_clock(side: int) -> None:
    almost = YOUNG - timedelta(seconds=1)
    assert is_young(charge(created_at=NOW + side * almost).report, NOW)
    assert not is_young(charge(created_at=NOW + side * YOUNG).report, NOW)
    assert not is_young(charge(created_at=None).report, NOW)


def test_only_a_whole_session_id_has_our_form() -> None:
    ours = "ps_" + "0123456789abcdefghjkmnpqrs"
    assert has_our_form(ours)
    assert not any(map(has_our_form, [None, "", ours + "x", ours[:-1], ours.upper(), "x" + ours]))
