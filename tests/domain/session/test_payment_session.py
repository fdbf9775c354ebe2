"""The fingerprint of a payment: equal for the same payment, different as soon as one thing of it differs."""

from dataclasses import replace
from datetime import datetime

import pytest

from app.domain.session.payment_session import Authorization, Card, PaymentAuthorized
from app.domain.tariff import parse_tariff
from app.domain.units.ids import ChargePointId
from tests.domain.sessions import TARIFF, after

HELD = Authorization(
    reference="A-1",
    amount_minor=2000,
    currency="EUR",
    card=Card(brand="visa", last4="1111", fingerprint="fp", account_reference="par"),
)
PAYMENT = PaymentAuthorized(
    charge_point_id=ChargePointId("101"),
    authorization=HELD,
    display_reference="K7QM",
    energy_limit_wh=5000,
    tariff=TARIFF,
    metadata={"a": "1", "b": "2"},
    idempotency_key="one",
)
DEARER = parse_tariff(
    {
        "id": "t",
        "currency": "EUR",
        "elements": [{"price_components": [{"type": "ENERGY", "price": "0.80", "step_size": 1}]}],
    }
)


def with_card(**changed: str) -> PaymentAuthorized:
    return replace(PAYMENT, authorization=replace(HELD, card=replace(HELD.card, **changed)))


@pytest.mark.parametrize(
    "other",
    [
        replace(PAYMENT, charge_point_id=ChargePointId("102")),
        replace(PAYMENT, display_reference=None),
        replace(PAYMENT, energy_limit_wh=None),
        replace(PAYMENT, tariff=None),
        replace(PAYMENT, tariff=DEARER),
        replace(PAYMENT, metadata={"a": "1"}),
        replace(PAYMENT, authorization=replace(HELD, reference="A-2")),
        replace(PAYMENT, authorization=replace(HELD, amount_minor=2001)),
        replace(PAYMENT, authorization=replace(HELD, currency="SEK")),
        with_card(brand="amex"),
        with_card(last4="1112"),
        with_card(fingerprint="other"),
        with_card(account_reference="other"),
    ],
)
def test_another_payment_has_another_fingerprint(other: PaymentAuthorized) -> None:
    assert other.fingerprint() != PAYMENT.fingerprint()


def test_order_times_and_the_idempotency_key_are_no_part_of_it() -> None:
    times: tuple[datetime | None, ...] = (None, after(60))
    same = [
        replace(PAYMENT, metadata={"b": "2", "a": "1"}),
        replace(PAYMENT, idempotency_key=None),
        *(replace(PAYMENT, authorization=replace(HELD, expires_at=at)) for at in times),
    ]
    assert {each.fingerprint() for each in same} == {PAYMENT.fingerprint()}
