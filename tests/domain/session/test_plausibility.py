"""Final prices that can be billed, those that are held for operations, and what can be believed in the end."""

from decimal import Decimal

import pytest

from app.domain.charging.charge import Charge
from app.domain.session.machine import Source
from app.domain.session.payment_session import Authorization, PaymentSession
from app.domain.session.plausibility import energy_until, last_believed, price_above_tariff, unbillable
from app.domain.session.reports import apply_report
from app.domain.session.settlement import SettlementBasis
from tests.domain.sessions import POLICY, after, report, running

WH = 10_000
"""At 0.79 a kWh this is 7.90."""


def ended(
    price: str | None, *, tariff: bool = True, state: str = "completed", **more: object
) -> PaymentSession:
    change = running(1000) if tariff else running(1000, tariff=None)
    shown = {"energy_wh": WH, "price": None if price is None else Decimal(price), "completed_at": after(1800)}
    return apply_report(change, report(state, 1800, **(shown | more)), Source.MONTA_API, POLICY).session


def charge_of(session: PaymentSession) -> Charge:
    assert session.charge is not None
    return session.charge


@pytest.mark.parametrize(
    ("price", "more", "why"),
    [
        ("7.90", {}, None),
        ("0", {}, None),
        ("7.00", {}, None),
        ("12.90", {}, None),
        ("790", {}, "every bound"),
        ("0.079", {}, "far below"),
        ("160", {}, "every bound"),
        (None, {}, "no price"),
        ("-1", {}, None),
        ("-790", {}, None),
        ("40", {}, "every bound"),
        ("7.90", {"currency": "SEK"}, "SEK"),
        ("7.90", {"energy_wh": 10_000_000}, "more than the charge point can have given"),
        ("7.90", {"price_per_kwh": Decimal("0.79")}, None),
        ("7.90", {"price_per_kwh": Decimal("79")}, "average"),
        ("7.90", {"price_per_kwh": Decimal("0.0079")}, "average"),
    ],
)
def test_what_is_held_for_operations_and_what_is_billed(
    price: str | None, more: dict[str, object], why: str | None
) -> None:
    session = ended(price, **more)  # type: ignore[arg-type]  # by name
    found = unbillable(session, charge_of(session), POLICY)
    assert (found is None) == (why is None), found
    assert why is None or why in (found or "")


@pytest.mark.parametrize(("price", "is_held"), [("7.90", False), ("69", False), ("199", True), ("790", True)])
def test_F97_without_a_tariff_what_no_charge_costs_is_held(price: str, is_held: bool) -> None:
    session = ended(price, tariff=False)
    assert (unbillable(session, charge_of(session), POLICY) is not None) == is_held


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        (ended("7.90", state="releasing"), (790, SettlementBasis.LAST_PRICE)),
        (ended("790"), (790, SettlementBasis.TARIFF_MINIMUM)),
        (ended(None), (790, SettlementBasis.TARIFF_MINIMUM)),
        (ended("7.90", currency="SEK"), (790, SettlementBasis.TARIFF_MINIMUM)),
        (ended(None, tariff=False), (None, SettlementBasis.NOTHING_KNOWN)),
        (ended("790", tariff=False), (None, SettlementBasis.NOTHING_KNOWN)),
        (ended("7.90", energy_wh=10_000_000), (79, SettlementBasis.TARIFF_MINIMUM)),
    ],
    ids=["last", "unit", "none", "currency", "nothing", "no tariff", "energy"],
)
def test_in_the_end_never_more_than_the_plausible_amount(
    session: PaymentSession, expected: tuple[int | None, SettlementBasis]
) -> None:
    assert last_believed(session, charge_of(session), POLICY) == expected


@pytest.mark.parametrize(("price", "is_told"), [("7.90", False), ("8.00", False), ("9.00", True)])
def test_a_price_above_the_tariff_is_reported(price: str, is_told: bool) -> None:
    session = ended(price)
    assert (price_above_tariff(session, charge_of(session), POLICY) is not None) == is_told


@pytest.mark.parametrize(("currency", "price", "is_held"), [("JPY", "9000", False), ("JPY", "90000", True)])
def test_F97_what_no_charge_costs_follows_the_currencys_ordinary_amounts(
    currency: str, price: str, is_held: bool
) -> None:
    held = Authorization(reference="A-1", amount_minor=50_000, currency=currency)
    change = running(tariff=None, authorization=held)
    shown = report("completed", 1800, energy_wh=WH, price=Decimal(price), currency=currency)
    session = apply_report(change, shown, Source.MONTA_API, POLICY).session
    assert (unbillable(session, charge_of(session), POLICY) is not None) == is_held


@pytest.mark.parametrize("state", ["charging", "completed"])
def test_F97_a_price_that_no_charge_costs_stops_a_running_one_and_bills_no_ended_one(state: str) -> None:
    change = running(tariff=None)
    shown = report(state, 1800, energy_wh=1000, price=Decimal(150))
    session = apply_report(change, shown, Source.MONTA_API, POLICY).session
    assert (charge_of(session).latest.price is None) == (state == "completed")


def test_F97_without_a_tariff_nor_energy_a_price_is_held_against_what_can_have_flowed() -> None:
    for price, held in (("39", False), ("300", True)):
        shown = report("completed", 300, energy_wh=None, price=Decimal(price))
        hold = Authorization(reference="A-1", amount_minor=50_000, currency="EUR")
        change = running(tariff=None, authorization=hold)
        session = apply_report(change, shown, Source.MONTA_API, POLICY).session
        assert (unbillable(session, charge_of(session), POLICY) is not None) == held


def test_energy_flows_until_a_report_arrives_but_never_after_the_first_known_end() -> None:
    session = ended("7.90")
    assert session.charge_ended_at is not None
    read_again = report("completed", 90_000)
    assert energy_until(session, read_again) == session.charge_ended_at
    assert energy_until(session, report("charging", 90_000)) == after(90_000), "it runs again"
    arrived = report("charging", 400, arrived_at=after(405))
    assert energy_until(running(1000).session, arrived) == after(405)
