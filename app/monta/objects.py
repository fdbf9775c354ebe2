"""Reads Monta's JSON objects leniently, and writes start orders exactly."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from app.domain.charging.charge import ChargeReport, ChargeState, PriceUnit
from app.domain.charging.charge_point import ChargePoint, ChargePointState, CurrentType
from app.domain.charging.orphan import Origin
from app.domain.charging.price_group import Addition, Money, PriceGroup, Pricing, PricingType
from app.domain.units.card_numbers import Field, looks_like_card_number
from app.domain.units.frozen import frozen, replace
from app.domain.units.ids import ChargeId, ChargePointId
from app.monta.fields import Fields, id_of
from app.monta.sameness import said
from app.strict_json import JsonIn, Writable

MAX_KWH = 100_000
MAX_KW = 10_000
MAX_PRICE = 1_000_000_000
"""Upper bounds: a larger value is an error (mixed-up unit, broken meter), not a measurement."""

LAST4 = re.compile("[0-9]{4}")

MAX_AHEAD = timedelta(days=1)
"""An `updatedAt` further ahead of us is an error. Accepted, it would make every later true report seem stale."""


class UnreadableCharge(ValueError):
    """No charge can be read from it. It is not an object, or has no usable id."""


@frozen
class ChargeRead:
    """A charge as read, with its invalid fields' names. They are None in the report."""

    report: ChargeReport
    problems: tuple[str, ...]


def unwrapped(value: JsonIn, key: str) -> JsonIn:
    """Unwraps an object in an answer. Monta answers with the bare object (reference, Start a charge), one known
    client with {"charge": {...}}."""
    if isinstance(value, dict) and "id" not in value and isinstance(value.get(key), dict):
        return value[key]
    return value


CHARGE_FIELDS = frozenset(
    {
        *("id", "state", "chargePointId", "partnerExternalId", "consumedKwh", "kwhLimit"),
        *("price", "averagePricePerKwh", "priceLimit", "currency", "failureReason", "stopReason"),
        *("createdAt", "updatedAt", "startedAt", "stoppedAt", "completedAt", "failedAt", "cablePluggedInAt"),
        "soc",
    }
)
"""The fields of a charge that are read."""


def read_charge(
    value: JsonIn,
    seen_at: datetime,
    *,
    arrived_at: datetime | None = None,
    price_unit: PriceUnit = PriceUnit.MAJOR,
) -> ChargeRead:
    """A Charge object (reference, Charges). Unknown fields are ignored. Raises UnreadableCharge.

    `seen_at`: since when at the latest it was like this; of an answer, when the question was asked.
    """
    source, charge_id = _identified(value)
    f = Fields(source)
    currency = f.object("currency") if not isinstance(source.get("currency"), str) else f
    scale = _price_scale(currency, price_unit)
    report = ChargeReport(
        id=charge_id,
        state=_charge_state(f),
        seen_at=seen_at,
        arrived_at=arrived_at,
        updated_at=f.date("updatedAt", latest=(arrived_at or seen_at) + MAX_AHEAD),
        created_at=f.date("createdAt"),
        charge_point_id=_charge_point_id(f),
        partner_external_id=f.text("partnerExternalId"),
        energy_wh=_thousandfold(f.decimal("consumedKwh", high=MAX_KWH)),
        price=_scaled(f.decimal("price", low=-MAX_PRICE, high=MAX_PRICE), scale),
        price_per_kwh=_scaled(f.decimal("averagePricePerKwh", high=MAX_PRICE), scale),
        price_limit=f.decimal("priceLimit", high=MAX_PRICE),
        kwh_limit=f.decimal("kwhLimit", high=MAX_KWH),
        currency=currency.currency("currency" if currency is f else "identifier"),
        started_at=f.date("startedAt"),
        stopped_at=f.date("stoppedAt"),
        completed_at=f.date("completedAt"),
        failed_at=f.date("failedAt"),
        failure_reason=f.text("failureReason"),
        stop_reason=f.text("stopReason"),
        cable_plugged_in_at=f.date("cablePluggedInAt"),
        soc_percent=percent_of(f.object("soc").decimal("percentage", high=100)),
    )
    return ChargeRead(replace(report, said=_said(report)), f.problems)


def _charge_point_id(f: Fields) -> ChargePointId | None:
    found = f.id("chargePointId")
    return ChargePointId(found) if found else None


def percent_of(value: Decimal | None) -> int | None:
    """Whole percent, rounded down: a battery is full at 100 only."""
    return None if value is None else int(value)


def _identified(value: JsonIn) -> tuple[Mapping[str, JsonIn], ChargeId]:
    """A Charge object, and its id. Raises UnreadableCharge."""
    if not isinstance(value, dict):
        raise UnreadableCharge("a charge is not an object")
    charge_id = id_of(value.get("id"))
    if charge_id is None:
        raise UnreadableCharge("a charge has no usable id")
    return value, ChargeId(charge_id)


def _said(report: ChargeReport) -> str:
    return said(
        report.charge_point_id,
        report.currency,
        report.price_limit,
        report.kwh_limit,
        report.created_at,
        report.started_at,
        report.cable_plugged_in_at,
    )


def read_charge_point(value: JsonIn, seen_at: datetime) -> ChargePoint | None:
    """A ChargePoint object (reference, Charge points). None when it is no object with a usable id."""
    if not isinstance(value, dict):
        return None
    f = Fields(value)
    point_id = f.id("id")
    if point_id is None:
        return None
    state, kind = (f.text("state") or "").lower(), (f.text("type") or "").lower()
    names = (
        c.text("identifier", max_chars=100) or c.text("name", max_chars=100) for c in f.objects("connectors")
    )
    return ChargePoint(
        id=ChargePointId(point_id),
        state=ChargePointState(state) if state in set(ChargePointState) else ChargePointState.OTHER,
        seen_at=seen_at,
        updated_at=f.date("updatedAt", latest=seen_at + MAX_AHEAD),
        name=f.text("name"),
        type=CurrentType(kind) if kind in set(CurrentType) else None,
        max_power_w=_thousandfold(f.decimal("maxKw", high=MAX_KW)),
        connectors=tuple(name for name in names if name),
        cable_plugged_in=f.flag("cablePluggedIn"),
        price_group_id=f.id("priceGroupId"),
        team_id=f.id("teamId"),
        model=_model(f.text("brandName", max_chars=100), f.text("modelName", max_chars=100)),
        evse_id=f.text("evseId", max_chars=100),
        site_id=f.id("siteId"),
        address=_address(f.object("location")),
        deleted_at=f.date("deletedAt"),
    )


POINT_FIELDS = {
    "name": "name",
    "state": "state",
    "type": "type",
    "maxKw": "max_power_w",
    "connectors": "connectors",
    "cablePluggedIn": "cable_plugged_in",
    "priceGroupId": "price_group_id",
    "modelName": "model",
    "evseId": "evse_id",
    "siteId": "site_id",
    "location": "address",
    "deletedAt": "deleted_at",
}
"""Which of Monta's fields of a charge point are kept."""


def reported_fields_of_charge_point(value: Mapping[str, JsonIn]) -> frozenset[str]:
    """Names the fields of a charge point that are present and valid. A webhook may omit the others."""
    f = Fields(value)
    for read, names in (
        (f.text, ("name", "state", "type", "modelName", "evseId")),
        (f.flag, ("cablePluggedIn",)),
        (f.id, ("priceGroupId", "siteId")),
        (f.date, ("deletedAt",)),
    ):
        for name in names:
            read(name)
    f.decimal("maxKw", high=MAX_KW)
    f.objects("connectors")
    f.object("location")
    bad = {problem.partition(".")[0] for problem in f.problems}
    return frozenset(POINT_FIELDS[name] for name in POINT_FIELDS if name in value and name not in bad)


def _model(brand: str | None, name: str | None) -> str | None:
    """Joins brand and model name. A brand alone would group charge points that have nothing in common."""
    return f"{brand or ''} {name}".strip() if name else None


def _address(location: Fields) -> str | None:
    """Reads an address in one line: Monta's own, else its parts."""
    parts = location.object("address")
    names = ("address1", "address2", "address3", "zip", "city", "country")
    joined = ", ".join(filter(None, (parts.text(name, max_chars=100) for name in names)))
    return location.text("addressLabel") or joined[:MAX_ADDRESS] or None


MAX_ADDRESS = 500


def _charge_state(f: Fields) -> ChargeState:
    name = (f.text("state", max_chars=100) or "").lower()
    if name in set(ChargeState):
        return ChargeState(name)
    f.drop("state")
    return ChargeState.OTHER


def _thousandfold(number: Decimal | None) -> int | None:
    """Converts kWh to Wh or kW to W, rounding half up."""
    return None if number is None else int((number * 1000).to_integral_value(ROUND_HALF_UP))


def _price_scale(currency: Fields, unit: PriceUnit) -> int:
    """Returns how many decimal places to shift a price by. Two when Monta does not name the currency's decimals."""
    if unit is PriceUnit.MAJOR:
        return 0
    decimals = currency.decimal("decimals", high=4)
    return 2 if decimals is None else int(decimals)


def _scaled(price: Decimal | None, scale: int) -> Decimal | None:
    return None if price is None else price.scaleb(-scale)


@frozen(kw_only=True)
class StartCharge:
    """What POST /charges needs (reference, Start a charge).

    `external_id` is the display reference on the driver's slip, `partner_external_id` our session.
    `kwh_limit` is 1 to 500, `price_limit` at least 1, in major units of the charge point's currency.
    """

    paying_team_id: str
    charge_point_id: ChargePointId
    partner_external_id: str
    provider: str
    external_id: str
    card_brand: str | None = None
    card_last4: str | None = None
    kwh_limit: Decimal | None = None
    price_limit: Decimal | None = None
    soc_limit: int | None = None
    """In percent."""

    def mistakes(self) -> tuple[str, ...]:
        """Names fields that Monta would refuse or must not get. Empty when it can be sent."""
        sound = {
            "paying_team_id": id_of(self.paying_team_id) is not None,
            "charge_point_id": id_of(self.charge_point_id) is not None,
            "partner_external_id": _is_reference(self.partner_external_id)
            and not _is_card(self.partner_external_id),
            "provider": _is_reference(self.provider) and not _is_card(self.provider),
            "external_id": _is_reference(self.external_id) and not _is_card(self.external_id),
            "kwh_limit": _is_within(self.kwh_limit, 500),
            "price_limit": _is_within(self.price_limit, MAX_PRICE),
            "soc_limit": _is_within(None if self.soc_limit is None else Decimal(self.soc_limit), 100),
        }
        return tuple(name for name, is_sound in sound.items() if not is_sound)

    def body(self) -> dict[str, Writable]:
        """Returns the JSON object to send; call `mistakes` first. `amount` is omitted, since nothing is captured yet.

        A card brand or last digits that look wrong are left out: no reason to refuse a driver.
        """
        session: dict[str, Writable] = {
            "provider": self.provider,
            "externalId": self.external_id,
            "partnerExternalId": self.partner_external_id,
            "cardBrand": self._brand(),
            # Anything but four digits may be a misplaced card number: it must not leave us.
            "cardLast4": self.card_last4 if LAST4.fullmatch(self.card_last4 or "") else None,
        }
        body: dict[str, Writable] = {
            "payingTeamId": int(self.paying_team_id),
            "chargePointId": int(self.charge_point_id),
            "kwhLimit": self.kwh_limit,
            "priceLimit": self.price_limit,
            "socLimit": self.soc_limit,
            "partnerExternalId": self.partner_external_id,
            "genericPaymentSession": {key: value for key, value in session.items() if value is not None},
        }
        return {key: value for key, value in body.items() if value is not None}

    def _brand(self) -> str | None:
        brand = self.card_brand or ""
        return brand if _is_reference(brand) and not looks_like_card_number(brand, Field.TEXT) else None


def _is_card(text: str) -> bool:
    """Whether the text contains a card number. The last check, since Monta shows these fields to drivers and keeps
    them."""
    return looks_like_card_number(text, Field.IDENTIFIER)


def _is_reference(text: str) -> bool:
    """Accepts 1 to 64 printable ASCII characters. Monta documents no limit for these, so the bound is
    conservative."""
    return 1 <= len(text) <= 64 and text.isascii() and text.isprintable()


def _is_within(limit: Decimal | None, high: int) -> bool:
    return limit is None or (limit.is_finite() and 1 <= limit <= high)


MAX_AMOUNT = 1_000_000_000
MAX_MINUTES = 100_000
MAX_ELEMENTS = 50


def read_price_group(value: JsonIn) -> PriceGroup | None:
    """A PriceGroup object (reference, Price groups). None when it is no object with a usable id."""
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
    """Reads Money: minor units, divided by ten to the currency's decimals. None without a currency."""
    if f.raw(name) is None:
        return None
    money = f.object(name)
    amount, currency = money.decimal("amount", high=MAX_AMOUNT), money.object("currency")
    code, decimals = currency.currency("identifier"), currency.decimal("decimals", high=6)
    if amount is None or code is None:
        return None
    shift = 2 if decimals is None else int(decimals)
    return Money(amount=Decimal(amount).scaleb(-shift), currency=code)


LAST4_CHARS = 4


def read_origin(value: JsonIn) -> Origin:
    """Reads the origin of a Charge object (reference, Charges). Missing or invalid values are None."""
    f = Fields(value if isinstance(value, dict) else {})
    session = f.object("genericPaymentSession")
    last4 = session.text("cardLast4", max_chars=100)
    return Origin(
        provider=session.text("provider", max_chars=100),
        display_reference=session.text("externalId", max_chars=100),
        card_last4=last4 if last4 and len(last4) == LAST4_CHARS and last4.isdigit() else None,
        paying_team_id=f.object("payingTeam").id("id"),
    )
