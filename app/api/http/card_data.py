"""Refuses card numbers in requests, field by field. Checks each by its kind, and echoes nothing that was sent."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import TypeAlias

from fastapi import Request
from pydantic import BaseModel
from pydantic_core import PydanticCustomError

from app.domain.units.card_numbers import FEWEST_DIGITS, Field, looks_like_card_number

MESSAGE = "holds what looks like a card number"

IDENTIFIERS = frozenset(
    {
        "account_reference",
        "authorization_reference",
        "card_account_reference",
        "card_fingerprint",
        "display_reference",
        "fingerprint",
        "idempotency-key",
        "reference",
        "terminal_id",
    }
)
"""Fields of our schemas that hold references, tokens and keys. Every other field is text, whatever its name."""

_SHORT = 10 ** (FEWEST_DIGITS - 1)

MONTAS = frozenset({"charge_id", "charge_point_id", "cursor", "operator_id"})
"""Long digit strings that are only compared with known ids. Unknown ones go nowhere."""

_Models: TypeAlias = Mapping[str, type[BaseModel] | None]

HEADERS = ("idempotency-key", "prefer")
"""The headers that are read; all others are ignored."""


def refuse_card_data(value: object, model: type[BaseModel]) -> object:
    """Raises `card_data_not_allowed` with the fields that hold card numbers. Before the body is read into a model."""
    fields = sorted(set(_found(value, model, "")))
    if fields:
        raise PydanticCustomError("card_data_not_allowed", MESSAGE, {"fields": fields})
    return value


def fields_of_request(request: Request) -> list[str]:
    """Names the query parameters and headers that hold a card number. Unknown names are given as `query`."""
    found = {
        name if name in IDENTIFIERS else "query"
        for name, value in request.query_params.multi_items()
        if name not in MONTAS and _is_card(value, name)
    }
    found |= {"query" for name in request.query_params if looks_like_card_number(name, Field.TEXT)}
    sent = [(name, value) for name in HEADERS for value in request.headers.getlist(name)]
    return sorted(found | {name.title() for name, value in sent if _is_card(value, name)})


def _found(value: object, model: type[BaseModel] | None, path: str) -> Iterator[str]:
    """Returns paths of fields with card numbers. Up to the first name that is not ours."""
    if isinstance(value, dict):
        ours = _models_of(model)
        for name, child in value.items():
            known = name in ours
            if not known and looks_like_card_number(str(name), Field.TEXT):
                yield path
            if not (known and name in MONTAS) and not _is_short(child):
                yield from _found_below(child, ours if known else None, path, str(name))
    elif isinstance(value, list):
        for child in value:
            yield from _found(child, None, path)
    elif looks_like_card_number(_text_of(value), Field.TEXT):
        yield path


def _is_short(value: object) -> bool:
    """Whether a value has too few characters for a card number. Most values are decided by this."""
    return (
        len(value) < FEWEST_DIGITS if isinstance(value, str) else type(value) is int and 0 <= value < _SHORT
    )


def _found_below(child: object, ours: _Models | None, path: str, name: str) -> Iterator[str]:
    if ours is None:
        yield from _found(child, None, path)
        return
    here = f"{path}.{name}".lstrip(".")
    if isinstance(child, dict | list):
        yield from _found(child, ours[name], here)
    elif _is_card(_text_of(child), name):
        yield here


@cache
def _models_of(model: type[BaseModel] | None) -> _Models:
    """Names the fields of a model, with the model of each. None: it has none."""
    if model is None:
        return {}
    inner = {name: field.annotation for name, field in model.model_fields.items()}
    return {n: m if isinstance(m, type) and issubclass(m, BaseModel) else None for n, m in inner.items()}


def _is_card(text: str, name: str) -> bool:
    return looks_like_card_number(text, Field.IDENTIFIER if name in IDENTIFIERS else Field.TEXT)


def _text_of(value: object) -> str:
    """Returns a fraction's whole part only, unless that is long. Digits behind a price's decimal point are no card
    number."""
    if isinstance(value, Decimal):
        spelled = f"{value:f}" if value.is_finite() and value.adjusted() < 40 else ""
        return spelled if value.adjusted() >= 3 else spelled.partition(".")[0]
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def as_errors(fields: Sequence[str]) -> list[Mapping[str, str]]:
    return [{"field": field or "body", "message": MESSAGE} for field in fields]
