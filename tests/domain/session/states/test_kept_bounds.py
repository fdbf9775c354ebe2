"""Tests of app/domain/session/states/kept_readings: each bound of what is kept, at it and one step beyond it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.domain.session.plausibility import UNIT_FACTOR
from app.domain.session.states.kept_readings import (
    Allowed,
    KeptReadings,
    Newest,
    Told,
    keep_reading,
    may_decide,
)
from app.domain.units.ids import ChargeId
from tests.domain.sessions import after

ALLOWED = Allowed(
    reference="ps_1",
    said="said",
    energy_wh=300,
    at=after(70),
    power_w=3_600,  # 1 Wh a second
    shown_price=Decimal("0.24"),
    price=Decimal("0.25"),
    price_per_wh=Decimal("0.001"),
    price_per_s=Decimal("0.002"),
    most_price=Decimal(5),
    most_wh=1_000,
    step_wh=100,
    skew_s=5,
    due_at=after(600),
    stop_at=after(900),
    silent_after=timedelta(seconds=72),
)
NEWEST = Newest(
    updated_at=after(100),
    seen_at=after(100),
    as_of=after(100),
    arrived_at=after(100),
    energy_wh=320,
    energy_at=after(100),
    price=Decimal("0.26"),
    price_per_kwh=None,
)
TOLD = Told(
    charge_id=ChargeId("1"),
    reference="ps_1",
    said="said",
    updated_at=after(130),
    happened_at=after(130),
    energy_wh=340,
    price=Decimal("0.26"),
    price_per_kwh=None,
)

NOW = after(131)


@dataclass(frozen=True)
class Case:
    """What differs from the usual reading of 20 Wh after 30 seconds."""

    told: dict[str, Any] = field(default_factory=dict)
    newest: dict[str, Any] = field(default_factory=dict)
    allowed: dict[str, Any] = field(default_factory=dict)
    now: datetime = NOW

    def is_kept(self) -> bool:
        kept = KeptReadings(NEWEST._replace(**self.newest))
        return keep_reading(ALLOWED._replace(**self.allowed), kept, self._told, self.now) is not None

    def decides(self) -> bool:
        return may_decide(
            ALLOWED._replace(**self.allowed), NEWEST._replace(**self.newest), self._told, self.now
        )

    @property
    def _told(self) -> Told:
        return TOLD._replace(**self.told)


def told(**changes: Any) -> Case:
    return Case(told=changes)


def wh(energy_wh: int, newest_wh: int = 320, **more: Any) -> Case:
    """A reading of this energy; `more` of it."""
    return Case(told={"energy_wh": energy_wh, **more}, newest={"energy_wh": newest_wh})


RECORD = {"from_record": True, "updated_at": after(129.9)}
NO_PLAN: dict[str, Any] = {"price": Decimal("0.1"), "price_per_wh": Decimal(0), "price_per_s": Decimal(0)}
IN_HALF_A_SECOND = {"updated_at": after(129.5), "as_of": after(129.5), "energy_at": after(129.5)}
FEWEST, MOST = Decimal(1) / UNIT_FACTOR, Decimal(UNIT_FACTOR)
ONE = {"energy_wh": 350, "price": Decimal("0.35")}
"""An average of 1 a kWh."""

BOUNDS = [
    ("power since the last reading", wh(350), wh(351), False),
    ("the last part of a second counts for nothing", wh(350, updated_at=after(130.9)), wh(351), False),
    ("power since the plan", wh(360, 340), wh(361, 340), True),
    (
        "power within a second",
        Case(told={"energy_wh": 321}, newest=IN_HALF_A_SECOND, allowed={"power_w": 7_200}),
        Case(told={"energy_wh": 322}, newest=IN_HALF_A_SECOND, allowed={"power_w": 7_200}),
        False,
    ),
    ("a meter that falls", wh(320), wh(319), True),
    ("a step", Case(allowed={"step_wh": 20}), Case(allowed={"step_wh": 19}), False),
    ("the energy limit", Case(allowed={"most_wh": 340}), Case(allowed={"most_wh": 339}), True),
    (
        "the limit's price",
        Case(allowed={"most_price": Decimal("0.26")}),
        Case(allowed={"most_price": Decimal("0.25")}),
        True,
    ),
    (
        "a price that stays",
        Case(allowed=NO_PLAN | {"shown_price": Decimal("0.26")}),
        Case(allowed=NO_PLAN | {"shown_price": Decimal("0.25")}),
        True,
    ),
    ("the planned price", told(price=Decimal("0.41")), told(price=Decimal("0.411")), True),
    ("a price below nothing", told(price=Decimal(0)), told(price=Decimal("-0.01")), True),
    ("no price any more", Case(told={"price": None}, newest={"price": None}), told(price=None), True),
    ("a first price", told(), Case(newest={"price": None}), True),
    ("a low average", told(price_per_kwh=FEWEST, **ONE), told(price_per_kwh=FEWEST * 99 / 100, **ONE), True),
    ("a high average", told(price_per_kwh=MOST, **ONE), told(price_per_kwh=MOST * 101 / 100, **ONE), True),
    ("an average of nothing", told(price_per_kwh=Decimal(0)), told(price_per_kwh=Decimal("0.001")), True),
    ("newer", Case(newest={"updated_at": after(129.999)}), Case(newest={"updated_at": after(130)}), False),
    (
        "of the second after the record's",
        Case(newest=RECORD),
        Case(told={"updated_at": after(129.95)}, newest=RECORD),
        True,
    ),
    ("seen later", Case(newest={"seen_at": after(130)}), Case(newest={"seen_at": after(130.001)}), True),
    ("from the future", Case(now=after(125)), Case(now=after(124.999)), True),
    ("as of later", Case(newest={"as_of": after(129.999)}), Case(newest={"as_of": after(130)}), False),
    (
        "no later than it came",
        Case(told={"energy_wh": 346}, now=after(126)),
        Case(told={"energy_wh": 347}, now=after(126)),
        False,
    ),
    (
        "no later than its event",
        wh(346, happened_at=after(126)),
        wh(347, happened_at=after(126)),
        False,
    ),
    (
        "no later than its change",
        wh(346, updated_at=after(126)),
        wh(347, updated_at=after(126)),
        False,
    ),
    (
        "planned for no later than it came",
        Case(told={"energy_wh": 356}, newest={"energy_wh": 340}, now=after(126)),
        Case(told={"energy_wh": 357}, newest={"energy_wh": 340}, now=after(126)),
        True,
    ),
    (
        "planned for no later than its change",
        wh(356, 340, updated_at=after(126)),
        wh(357, 340, updated_at=after(126)),
        True,
    ),
    ("what else it says", told(), told(said="more"), True),
    ("its session", told(), told(reference="ps_2"), True),
]


@pytest.mark.parametrize(
    ("at", "beyond", "decides"), [bound[1:] for bound in BOUNDS], ids=[bound[0] for bound in BOUNDS]
)
def test_a_reading_at_a_bound_is_kept_and_one_beyond_it_is_applied(
    at: Case, beyond: Case, decides: bool
) -> None:
    """`decides`: beyond this bound it may make a stop due, so that it waits for no reading that cannot."""
    assert at.is_kept()
    assert not at.decides(), "what is kept decides nothing"
    assert not beyond.is_kept()
    assert beyond.decides() is decides
