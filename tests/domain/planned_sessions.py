"""Sessions whose charge runs within its plan, at tariffs of every kind."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from app.domain.limit.monta_limits import MontaLimits
from app.domain.limit.profile import ChargePointProfile
from app.domain.session.machine import Change, Source
from app.domain.session.payment_session import Authorization, PaymentSession
from app.domain.session.reports import apply_report
from app.domain.tariff import Tariff, parse_tariff
from tests.domain.sessions import POLICY, after, report, running

SAID = "said"


def tariff(*elements: dict[str, Any], **more: Any) -> Tariff:
    return parse_tariff({"id": "t", "currency": "EUR", "elements": list(elements), **more})


def priced(*components: tuple[str, str, int], **restrictions: Any) -> dict[str, Any]:
    prices = [{"type": kind, "price": price, "step_size": step} for kind, price, step in components]
    return {"price_components": prices} | ({"restrictions": restrictions} if restrictions else {})


ENERGY = ("ENERGY", "0.79", 1)
TARIFFS: dict[str, Tariff | None] = {
    "by energy": tariff(priced(ENERGY)),
    "with a fee and steps": tariff(
        priced(("FLAT", "1.00", 1), ("ENERGY", "0.49", 1000), ("TIME", "1.20", 300))
    ),
    "by minutes": tariff(priced(("ENERGY", "0.30", 1), ("TIME", "6.00", 60))),
    "with an idle fee": tariff(priced(ENERGY, ("PARKING_TIME", "6.00", 60))),
    "with both times": tariff(priced(ENERGY, ("TIME", "1.00", 1), ("PARKING_TIME", "6.00", 1))),
    "by the hour": tariff(
        priced(("ENERGY", "0.30", 1), start_time="00:00", end_time="10:20"), priced(("ENERGY", "0.60", 1))
    ),
    "dearer after some energy": tariff(
        priced(("ENERGY", "0.30", 1), max_kwh=8), priced(("ENERGY", "0.90", 1))
    ),
    "with a least and a highest price": tariff(
        priced(ENERGY), min_price={"excl_vat": 5, "incl_vat": 5}, max_price={"excl_vat": 18, "incl_vat": 18}
    ),
    "none": None,
}


def price_of(energy_wh: int, cents: int = 0) -> Decimal:
    return max(Decimal(0), round(Decimal("0.79") * energy_wh / 1000, 2) + Decimal(cents) / 100)


def session_of(
    prices: Tariff | None,
    rated_w: int,
    amount: int,
    *,
    guarded: bool,
    has_price: bool,
    energy_wh: int,
    read: bool = False,
) -> PaymentSession:
    limits = MontaLimits(kwh_limit=Decimal(500), price_limit=Decimal(amount) / 100, authorized_minor=amount)
    session = running(
        0,
        at=10,
        tariff=prices,
        power_bound_w=rated_w,
        authorization=Authorization(reference="A-1", amount_minor=amount, currency="EUR"),
    ).session
    sent = limits if guarded else session.monta_limits
    session = replace(session, profile=ChargePointProfile(), monta_limits=sent)
    told = report(
        at=70,
        energy_wh=energy_wh,
        price=price_of(energy_wh) if has_price else None,
        price_limit=limits.price_limit if guarded else None,
        arrived_at=after(70),
        said=SAID,
    )
    return apply_report(
        Change(session), told, Source.MONTA_API if read else Source.MONTA_WEBHOOK, POLICY
    ).session
