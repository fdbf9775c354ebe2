"""Which guard of a session's limit holds up to where: what terminals and operations are shown."""

from dataclasses import dataclass
from decimal import Decimal

from app.domain.energy import kwh_to_wh
from app.domain.money import Rounding, to_minor
from app.domain.payment_session import MontaLimits, PaymentSession


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardsShown:
    """`own_limit_minor`: our watcher stops before the price passes it. Monta's two limits were told at the start (its
    own echo counts when it is lower) and cannot be raised; None: there is none."""

    own_limit_minor: int
    monta_price_limit_minor: int | None
    monta_kwh_limit_wh: int | None

    @property
    def usable_minor(self) -> int:
        """How much of the reservation the charge can come to use."""
        if self.monta_price_limit_minor is None:
            return self.own_limit_minor
        return min(self.own_limit_minor, self.monta_price_limit_minor)


def guards_shown(session: PaymentSession) -> GuardsShown:
    """As of now; before the start Monta has no limit yet."""
    told = session.start.limits or MontaLimits(price=None, kwh=None)
    echo = session.charge.latest if session.charge else None
    price = _least(told.price, echo.price_limit if echo else None)
    kwh = _least(told.kwh, echo.kwh_limit if echo else None)
    currency = session.authorization.currency
    return GuardsShown(
        own_limit_minor=session.reserved_minor,
        monta_price_limit_minor=None if price is None else to_minor(price, currency, Rounding.DOWN),
        monta_kwh_limit_wh=None if kwh is None else kwh_to_wh(kwh, Rounding.DOWN),
    )


def _least(*limits: Decimal | None) -> Decimal | None:
    return min((limit for limit in limits if limit is not None), default=None)
