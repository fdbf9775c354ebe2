"""Finds what to show or say to a driver, in their language."""

from collections.abc import Mapping
from functools import lru_cache

from app.api.display_texts import SPOKEN, TEXTS
from app.domain.session.payment_session import PaymentSession, Status
from app.domain.units.money import exponent

DEFAULT = "en"
MOST_CHARS = 200
"""Of an Accept-Language that is read; the rest is ignored."""
SAME = {"no": "nb", "nn": "nb"}
"""Languages that are answered in another one."""
SYMBOLS = {"EUR": "€", "GBP": "£"}
KRONER = {("da", "DKK"): "kr.", ("sv", "SEK"): "kr", ("nb", "NOK"): "kr"}
BLANK = "\u00a0"
"""Keeps number and currency on one line."""
SEPARATORS: Mapping[str, tuple[str, str]] = {
    "en": (".", ","),
    **dict.fromkeys(("da", "de", "nl", "es", "it"), (",", ".")),
    **dict.fromkeys(("fr", "sv", "nb"), (",", BLANK)),
}
"""By language: before the decimals, and between thousands."""


@lru_cache(maxsize=256)
def language_of(accept_language: str | None) -> str:
    """Returns the language to answer in, by an Accept-Language header (RFC 9110)."""
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate((accept_language or "")[:MOST_CHARS].split(",")):
        tag, _, weight = part.strip().partition(";")
        language = tag.strip().lower().split("-")[0]
        language = SAME.get(language, language)
        if language in TEXTS and (quality := _quality(weight)) > 0:
            wanted.append((-quality, place, language))
    return min(wanted)[2] if wanted else DEFAULT


def _quality(weight: str) -> float:
    name, _, value = weight.strip().partition("=")
    if not weight.strip():
        return 1.0
    value = value.strip()
    plain = value[:5].replace(".", "", 1)
    return float(value[:5]) if name.strip().lower() == "q" and plain.isascii() and plain.isdigit() else 0.0


@lru_cache(maxsize=512)
def display(key: str, language: str) -> Mapping[str, str]:
    """Returns a DisplayOut's fields for a text without amounts."""
    text = TEXTS[language][key]
    return {"key": key, "text": text, "speech": text}


def session_display(session: PaymentSession, used_minor: int, language: str) -> Mapping[str, str]:
    """Returns a DisplayOut's fields for a session. `used_minor`: its amount used."""
    settled = session.settlement
    if settled is not None and settled.to_capture_minor:
        return _with_amounts("to_pay", language, session, amount=settled.to_capture_minor)
    if session.status is Status.CHARGING:
        return _with_amounts(
            "charging", language, session, used=used_minor, authorized=session.authorized_minor
        )
    return display(OF_STATUS[session.status], language)


OF_STATUS: Mapping[Status, str] = {
    Status.AUTHORIZED: "payment_accepted",
    Status.STARTING: "check_cable",
    Status.STOPPING: "stopping",
    Status.FINISHING: "price_pending",
    Status.COMPLETED: "nothing_to_pay",
    Status.NOT_STARTED: "not_started",
}
"""The key of each status whose text has no amount."""


def _with_amounts(key: str, language: str, session: PaymentSession, **amounts: int) -> Mapping[str, str]:
    template, currency = TEXTS[language][key], session.authorization.currency
    written = {name: written_amount(minor, currency, language) for name, minor in amounts.items()}
    spoken = {name: spoken_amount(minor, currency, language) for name, minor in amounts.items()}
    return {"key": key, "text": template.format(**written), "speech": template.format(**spoken)}


@lru_cache(maxsize=4096)
def written_amount(amount_minor: int, currency: str, language: str) -> str:
    """Writes an amount as is usual in a language: `€12.34`, `12,34 €`, `kr 12,34`."""
    number = _number(amount_minor, currency, language)
    symbol = KRONER.get((language, currency)) or SYMBOLS.get(currency)
    if language == "en":
        return f"{symbol}{number}" if symbol else f"{currency}{BLANK}{number}"
    if language == "nl":
        return f"{symbol or currency}{BLANK}{number}"
    return f"{number}{BLANK}{symbol or currency}"


@lru_cache(maxsize=4096)
def spoken_amount(amount_minor: int, currency: str, language: str) -> str:
    """Writes an amount to be spoken: the number, and the currency's name after it."""
    number = _number(amount_minor, currency, language, grouped=False)
    return f"{number} {SPOKEN[language].get(currency, currency)}"


def _number(amount_minor: int, currency: str, language: str, *, grouped: bool = True) -> str:
    point, group = SEPARATORS[language]
    digits = exponent(currency)
    whole, rest = divmod(amount_minor, 10**digits)
    shown = f"{whole:,}".replace(",", group) if grouped else str(whole)
    return f"{shown}{point}{rest:0{digits}}" if digits else shown
