"""A session survives its way into a row and back, whatever is in it."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import RowMapping, text

from app.domain.session.payment_session import PaymentSession
from app.domain.session.settlement import Settlement
from app.domain.tariff import Tariff, parse_tariff
from app.store.db.database import Database, to_json
from app.store.sessions.codec import from_row, identity_row, to_row
from app.store.tables import settlements

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
COUNTS = st.integers(0, 2**31 - 1)
PRICES = st.decimals(0, 1000, places=20) | st.decimals(0, 1000, places=2) | st.integers(0, 100)
FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MOMENTS = st.integers(0, (LAST - FIRST) // MICROSECOND).map(lambda count: FIRST + count * MICROSECOND)
"""One draw each, where `st.datetimes` makes seven."""
DECIMALS = st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places), st.integers(-(10**18), 10**18), st.integers(0, 24)
)


def _tariff(price: object, duplicate: object) -> Tariff:
    components = [{"type": "ENERGY", "price": price, "step_size": 1}]
    return parse_tariff(
        {
            "id": "1",
            "currency": "EUR",
            "elements": [{"price_components": components}],
            "for_people": duplicate,
        }
    )


PLAIN: dict[object, st.SearchStrategy[Any]] = {
    str: WORDS,
    int: COUNTS,
    bool: st.booleans(),
    type(None): st.none(),
    datetime: MOMENTS,
    Decimal: DECIMALS,
    Tariff: st.builds(
        _tariff,
        PRICES,
        st.dictionaries(WORDS, st.none() | st.booleans() | COUNTS | WORDS | PRICES, max_size=3),
    ),
}


def any_of(annotation: Any) -> st.SearchStrategy[Any]:
    """Any value of a field's type; a type that is not known here fails, it is not left out."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in PLAIN:
        return PLAIN[annotation]
    if hasattr(annotation, "__supertype__"):
        return any_of(annotation.__supertype__)
    if origin in (Union, UnionType):
        return st.one_of(*map(any_of, arguments))
    if origin is tuple:
        return st.lists(any_of(arguments[0]), max_size=2).map(tuple)
    if origin is Mapping:
        return st.dictionaries(any_of(arguments[0]), any_of(arguments[1]), max_size=2)
    if issubclass(annotation, Enum):
        return st.sampled_from(annotation)
    assert is_dataclass(annotation), annotation
    kind: Any = annotation
    return st.builds(kind, **{n: any_of(t) for n, t in get_type_hints(annotation).items()})


SESSIONS = any_of(PaymentSession)


def row_of(session: PaymentSession, document: Mapping[str, Any]) -> RowMapping:
    row: dict[str, Any] = {f"settlement_{column.name}": None for column in settlements.c}
    if session.settlement is not None:
        row |= {f"settlement_{f.name}": getattr(session.settlement, f.name) for f in fields(Settlement)}
    return cast(RowMapping, row | dict(document))


def document_of(session: PaymentSession) -> str:
    return to_json({"body": to_row(session)["body"], "tariff": identity_row(session)["tariff"]})


read_json = partial(json.loads, parse_float=Decimal)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(SESSIONS)
def test_a_session_comes_back_from_its_document_as_it_was(session: PaymentSession) -> None:
    back = from_row(row_of(session, read_json(document_of(session))))
    assert back == session
    assert (back.tariff is None) == (session.tariff is None)
    assert to_row(back) == to_row(session)


@pytest.mark.anyio
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(session=SESSIONS)
async def test_postgresql_does_not_change_it_on_the_way(database_url: str, session: PaymentSession) -> None:
    database = Database(database_url)
    try:
        async with database.transaction() as connection:
            query = text("SELECT CAST(CAST(:document AS jsonb) AS text)")
            document = (await connection.execute(query, {"document": document_of(session)})).scalar_one()
    finally:
        await database.close()
    assert from_row(row_of(session, read_json(document))) == session


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(SESSIONS)
def test_searchable_columns_say_what_the_document_says(session: PaymentSession) -> None:
    row = to_row(session)
    assert row["status"] == session.status
    assert row["charge_id"] == (session.charge.id if session.charge else None)
    assert row["needs_attention"] == any(item.acknowledged is None for item in session.attention)
    assert row["amount_minor"] == session.authorized_minor
    assert not {"tariff", "settlement"} & set(row["body"])
