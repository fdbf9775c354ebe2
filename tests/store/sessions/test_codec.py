"""A session survives its way into a row and back, whatever is in it."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.domain.session.payment_session import PaymentSession
from app.domain.session.settlement import Settlement
from app.domain.tariff import Tariff, parse_tariff
from app.store.db.database import Database
from app.store.db.documents import RawJson, to_document, to_json
from app.store.sessions.codec import from_row, identity_row, shares_of, to_row
from app.store.tables import settlements
from tests.domain.sessions import new_session

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


SESSIONS = any_of(PaymentSession).map(lambda session: replace(session, beside=None))
"""Sessions without readings beside their row."""


def row_of(session: PaymentSession, documents: Mapping[str, Any]) -> Any:
    row: dict[str, Any] = {f"settlement_{column.name}": None for column in settlements.c}
    if session.settlement is not None:
        row |= {f"settlement_{f.name}": getattr(session.settlement, f.name) for f in fields(Settlement)}
        row["settlement_shares"] = str(shares_of(session.settlement))
    return row | {"kept_newest": None} | dict(documents)


def documents_of(session: PaymentSession) -> dict[str, Any]:
    tariff = identity_row(session)["tariff"]
    return {"body": str(to_row(session)["body"]), "tariff": None if tariff is None else to_json(tariff)}


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(SESSIONS)
def test_a_session_comes_back_from_its_document_as_it_was(session: PaymentSession) -> None:
    back = from_row(row_of(session, documents_of(session)))
    assert back == session
    assert (back.tariff is None) == (session.tariff is None)
    assert to_row(back) == to_row(session)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(SESSIONS)
def test_a_document_that_names_every_default_is_the_same_session(session: PaymentSession) -> None:
    whole = to_document(replace(session, tariff=None, settlement=None))
    brief = documents_of(session)
    assert len(brief["body"]) < len(whole)
    assert from_row(row_of(session, brief | {"body": str(whole)})) == session


@pytest.mark.anyio
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(session=SESSIONS)
async def test_postgresql_does_not_change_it_on_the_way(database_url: str, session: PaymentSession) -> None:
    database = Database(database_url)
    try:
        async with database.transaction() as connection:
            query = text(
                "SELECT CAST(CAST(:body AS jsonb) AS text) AS body, CAST(CAST(:tariff AS jsonb) AS text) AS tariff"
            )
            documents = {n: d if d is None else RawJson(d) for n, d in documents_of(session).items()}
            stored = (await connection.execute(query, documents)).one()
    finally:
        await database.close()
    assert from_row(row_of(session, dict(stored))) == session


def test_what_this_code_cannot_read_raises_value_error() -> None:
    session = new_session()
    good = documents_of(session)
    body = json.loads(good["body"])
    for changed in ({"status": "hibernating"}, {"version": 1.5}, {"start": None}, {"learned_kwh_price": "x"}):
        with pytest.raises(ValueError, match=r"Invalid|Expected"):
            from_row(row_of(session, good | {"body": json.dumps(body | changed)}))
    for unreadable in (good | {"body": good["body"][:-1]}, good | {"tariff": "{}"}):
        with pytest.raises(ValueError, match=r"truncated|elements"):
            from_row(row_of(session, unreadable))
    newer = good | {"body": json.dumps(body | {"of_newer_code": 1})}
    assert from_row(row_of(session, newer)) == session


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(SESSIONS)
def test_searchable_columns_say_what_the_document_says(session: PaymentSession) -> None:
    row = to_row(session)
    assert row["status"] == session.status
    assert row["charge_id"] == (session.charge.id if session.charge else None)
    assert row["needs_attention"] == any(item.acknowledged is None for item in session.attention)
    assert row["authorized_minor"] == session.authorized_minor
    assert not {"tariff", "settlement", "beside"} & json.loads(row["body"]).keys()
