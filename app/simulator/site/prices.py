"""Price groups and what a charge costs in them, exactly. Decimal throughout, rounded once at the end."""

from decimal import ROUND_HALF_UP, Decimal

from app.domain.units.frozen import frozen

ZERO = Decimal(0)


@frozen
class Currency:
    """`identifier` as Monta writes it on charges: lower case."""

    identifier: str = "eur"
    name: str = "Euro"
    decimals: int = 2

    def rounded(self, amount: Decimal) -> Decimal:
        """Major units, half up to the currency's decimals."""
        return amount.quantize(Decimal(1).scaleb(-self.decimals), ROUND_HALF_UP)

    def minor(self, amount: Decimal) -> int:
        return int(self.rounded(amount).scaleb(self.decimals))


@frozen(kw_only=True)
class PriceGroup:
    """A public price group; every price in major units with VAT included.

    `minute_fee` runs while charging, `idle_fee` from full or stopped until unplugged, each after its minutes
    have passed; `idle_fee_max` caps the idle fee.
    """

    id: int
    name: str
    kwh_price: Decimal
    start_fee: Decimal = ZERO
    minute_fee: Decimal = ZERO
    minute_fee_after_min: int = 0
    idle_fee: Decimal = ZERO
    idle_fee_after_min: int = 0
    idle_fee_max: Decimal | None = None
    vat_percent: Decimal = Decimal(19)


@frozen
class Usage:
    """What a charge has used so far. Energy in Wh, times in seconds."""

    energy_wh: int
    charging_s: Decimal
    idle_s: Decimal


@frozen
class Priced:
    """The parts of a price, unrounded, in major units."""

    energy: Decimal
    start_fee: Decimal
    minute_fee: Decimal
    idle_fee: Decimal

    @property
    def total(self) -> Decimal:
        return self.energy + self.start_fee + self.minute_fee + self.idle_fee


NOTHING = Priced(ZERO, ZERO, ZERO, ZERO)


def price(group: PriceGroup, usage: Usage) -> Priced:
    """What `usage` costs in `group`. A charge without energy costs nothing, fees included."""
    if usage.energy_wh <= 0:
        return NOTHING
    idle = group.idle_fee * _minutes_beyond(usage.idle_s, group.idle_fee_after_min)
    if group.idle_fee_max is not None:
        idle = min(idle, group.idle_fee_max)
    return Priced(
        energy=group.kwh_price * usage.energy_wh / 1000,
        start_fee=group.start_fee,
        minute_fee=group.minute_fee * _minutes_beyond(usage.charging_s, group.minute_fee_after_min),
        idle_fee=idle,
    )


def _minutes_beyond(seconds: Decimal, free_min: int) -> Decimal:
    return max(ZERO, seconds / 60 - free_min)
