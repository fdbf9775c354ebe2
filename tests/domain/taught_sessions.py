"""Sessions and readings at a charge point that teaches something: meters, power, stop latency."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.domain.charging.charge import ChargeReport, ChargeState
from app.domain.limit.policy import Policy
from app.domain.limit.profile import ChargePointProfile
from app.domain.session.limit import start_limits
from app.domain.session.machine import Change, Source
from app.domain.session.payment_session import Authorization, PaymentSession, Start
from app.domain.session.reports import apply_report
from app.domain.tariff import Tariff, parse_tariff
from app.domain.units.ids import ChargeId, ChargePointId, OperatorId, SessionId, TerminalId

T0 = datetime(2026, 11, 22, 10, tzinfo=UTC)


POLICY = Policy()


def tariff(*parts: tuple[str, str]) -> Tariff:
    listed = [{"type": kind, "price": price, "step_size": 1} for kind, price in parts]
    return parse_tariff(
        {"id": "t", "currency": "EUR", "tax_included": "YES", "elements": [{"price_components": listed}]}
    )


def session(profile: ChargePointProfile | None = None) -> PaymentSession:
    made = PaymentSession(
        id=SessionId("ps_1"),
        operator_id=OperatorId("op"),
        terminal_id=TerminalId("trm"),
        charge_point_id=ChargePointId("1"),
        display_reference="K7QM-4TXP",
        authorization=Authorization(reference="A", amount_minor=2000, currency="EUR"),
        created_at=T0,
        updated_at=T0,
        start=Start(deadline=T0 + timedelta(minutes=5), posts=1, intent_at=T0),
        power_bound_w=22_000,
        profile=profile or ChargePointProfile(),
        tariff=tariff(("ENERGY", "0.50")),
    )
    return replace(made, monta_limits=start_limits(made, POLICY))


def report(
    seconds: float,
    energy_wh: int,
    state: ChargeState = ChargeState.CHARGING,
    *,
    price_limit: Decimal | None = None,
    kwh_limit: Decimal | None = None,
) -> ChargeReport:
    at = T0 + timedelta(seconds=seconds)
    return ChargeReport(
        id=ChargeId("9"),
        state=state,
        seen_at=at,
        updated_at=at,
        energy_wh=energy_wh,
        started_at=T0,
        price_limit=price_limit,
        kwh_limit=kwh_limit,
    )


def charging(profile: ChargePointProfile | None = None, *, guarded: bool = True) -> PaymentSession:
    """Ten minutes at 11 kW, read each minute."""
    found = session(profile)
    limits = found.monta_limits
    assert limits is not None
    price, kwh = (limits.price_limit, limits.kwh_limit) if guarded else (None, None)
    for minute in range(11):
        news = report(minute * 60, round(183.33 * minute / 10) * 10, price_limit=price, kwh_limit=kwh)
        found = apply_report(Change(found), news, Source.MONTA_WEBHOOK, POLICY).session
    return found
