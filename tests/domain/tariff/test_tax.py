"""Net and tax of what a driver pays."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from app.domain.tariff import parse_tariff
from app.domain.tariff.model import Tariff
from app.domain.tariff.tax import TaxShare, tax_split


def tariff(*vats: str | None, tax_included: str = "YES", price: str = "0.79") -> Tariff:
    components = [
        {"type": kind, "price": price, "step_size": 1} | ({} if vat is None else {"vat": vat})
        for kind, vat in zip(("ENERGY", "TIME", "FLAT"), vats, strict=False)
    ]
    source = {
        "id": "t",
        "currency": "EUR",
        "tax_included": tax_included,
        "elements": [{"price_components": components}],
    }
    return parse_tariff(source)


def test_one_rate_splits_the_total() -> None:
    assert tax_split(tariff("25"), 1250) == (TaxShare(rate=Decimal(25), net_minor=1000, tax_minor=250),)
    assert tax_split(tariff("19", "19", tax_included="NO"), 790) == (
        TaxShare(rate=Decimal(19), net_minor=664, tax_minor=126),
    )
    assert tax_split(tariff("0"), 790) == (TaxShare(rate=Decimal(0), net_minor=790, tax_minor=0),)


def test_a_component_that_costs_nothing_has_no_say() -> None:
    paid = {"type": "ENERGY", "price": "0.79", "vat": 19, "step_size": 1}
    free = {"type": "FLAT", "price": 0, "vat": 7, "step_size": 1}
    found = parse_tariff(
        {
            "id": "t",
            "currency": "EUR",
            "tax_included": "YES",
            "elements": [{"price_components": [paid, free]}],
        }
    )
    assert [share.rate for share in tax_split(found, 790)] == [19]


def test_what_the_tariff_does_not_say_is_not_split() -> None:
    for unclear in (
        None,
        tariff(None),
        tariff("19", "7"),
        tariff("19", None),
        tariff("19", tax_included="N/A"),
    ):
        assert tax_split(unclear, 790) == ()
    assert tax_split(tariff("19"), 0) == ()


@given(st.integers(1, 10**9), st.decimals(0, 100, places=3))
def test_shares_add_up_and_net_is_the_nearest(total: int, rate: Decimal) -> None:
    (share,) = tax_split(tariff(str(rate)), total)
    assert share.net_minor + share.tax_minor == total
    assert abs(share.net_minor * (1 + rate / 100) - total) <= (1 + rate / 100) / 2
