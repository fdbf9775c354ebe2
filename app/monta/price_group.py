"""Monta's price groups as it shows them, into our words; amounts are minor units by the currency's own decimals."""

from decimal import Decimal

from app.domain.price_group import Addition, Money, PriceGroup, Pricing, PricingType
from app.monta.fields import Fields
from app.monta.safe_json import JsonIn

MAX_AMOUNT = 1_000_000_000
MAX_MINUTES = 100_000
MAX_ELEMENTS = 50


def read_price_group(value: JsonIn) -> PriceGroup | None:
    """A PriceGroup object (reference, Price groups); None when it is no object with a usable id."""
    if not isinstance(value, dict):
        return None
    f = Fields(value)
    group_id = f.id("id")
    if group_id is None:
        return None
    return PriceGroup(
        id=group_id,
        name=f.text("name", max_chars=200),
        master=_pricing(f.object("masterPrice")) if isinstance(value.get("masterPrice"), dict) else None,
        tariffs=tuple(_pricing(each) for each in f.objects("tariffs")[:MAX_ELEMENTS]),
        fees=tuple(_pricing(each) for each in f.objects("fees")[:MAX_ELEMENTS]),
    )


def _pricing(f: Fields) -> Pricing:
    name = (f.text("type", max_chars=50) or "").lower()
    after = f.decimal("applyAfterMinutes", high=MAX_MINUTES)
    return Pricing(
        type=PricingType(name) if name in set(PricingType) else PricingType.OTHER,
        price=_money(f, "price"),
        price_min=_money(f, "priceMin"),
        price_max=_money(f, "priceMax"),
        fee_max=_money(f, "feePriceMax"),
        after_min=int(after or 0),
        ends_when_full=f.flag("endAtFullyCharged") or False,
        dynamic=bool(f.flag("dynamicPricing")) or f.id("tariffId") is not None,
        adds_vat=f.flag("vat") or False,
        percentage=f.decimal("percentage", high=100_000),
        additions=tuple(
            Addition(value=_money(each, "value"), is_percentage=each.text("type") == "percentage")
            for each in f.objects("additional")[:MAX_ELEMENTS]
        ),
        is_limited_in_time=f.raw("from") is not None or f.raw("to") is not None,
    )


def _money(f: Fields, name: str) -> Money | None:
    """Money: amount in minor units, divided by ten to the currency's decimals. Without a currency it is no money."""
    if f.raw(name) is None:
        return None
    money = f.object(name)
    amount, currency = money.decimal("amount", high=MAX_AMOUNT), money.object("currency")
    code, decimals = currency.currency("identifier"), currency.decimal("decimals", high=6)
    if amount is None or code is None:
        return None
    shift = 2 if decimals is None else int(decimals)
    return Money(amount=Decimal(amount).scaleb(-shift), currency=code)
