"""Tests of app/api/views: the encoded answers are what their models describe, whatever happened to the session."""

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.api.event_views import Views
from app.api.models.charge_points import ChargePointOut
from app.api.models.sessions import OpsSessionOut, Page, PaymentSessionOut, ToppedUpOut
from app.api.views import ops_session_json, page_json, session_json, topped_up_json
from app.domain.charging.charge_point import ChargePoint, ChargePointState
from app.domain.session.attention import Acknowledgement, Attention
from app.domain.session.payment_session import PaymentSession
from app.domain.units.ids import OperatorId
from app.store.operators.charge_points import KnownChargePoint, TariffFound
from tests.domain.sessions import POINT, POLICY, T0, TARIFF, Event, courses, new_session, play

NOTES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ENCODED = (
    (PaymentSessionOut, session_json),
    (OpsSessionOut, ops_session_json),
    (ToppedUpOut, topped_up_json),
)


def assert_as_described(session: PaymentSession) -> None:
    for model, encode in ENCODED:
        body = encode(session, POLICY)
        described = model.model_validate_json(body, strict=False, extra="forbid")
        assert json.loads(body) == described.model_dump(mode="json", exclude_unset=True)
        assert set(json.loads(body)) == set(model.model_fields), "every field is always there"


@given(courses, NOTES)
def test_an_encoded_session_is_what_its_model_says(course: list[Event], note: str) -> None:
    session = play(course).session
    assert_as_described(session)
    seen = Acknowledgement(at=T0, by="ops_1", note=note)
    items = (Attention(code="shortfall", detail=note, since=T0, acknowledged=seen), *session.attention)
    assert_as_described(replace(session, attention=items, metadata={"lane": note}))


def test_a_page_is_what_its_model_says() -> None:
    sessions = [new_session(), new_session(metadata={"lane": 'ä"\\'})]
    for cursor in (None, 'a"b'):
        body = page_json((session_json(s, POLICY) for s in sessions), cursor)
        described = Page[PaymentSessionOut].model_validate_json(body, extra="forbid")
        assert [item.id for item in described.data] == [s.id for s in sessions]
        assert (described.next_cursor, "next_cursor" in json.loads(body)) == (cursor, True)
    assert json.loads(page_json([])) == {"data": [], "next_cursor": None}


def test_an_events_charge_point_is_what_its_model_says() -> None:
    seen = ChargePoint(
        id=POINT,
        state=ChargePointState.AVAILABLE,
        seen_at=T0,
        updated_at=None,
        name="Nürnberg 1",
        connectors=("CCS", "Type 2"),
        max_power_w=50_000,
    )
    price = TariffFound(tariff=TARIFF, source="operator", as_of=T0)
    for point, shown in ((seen, price), (replace(seen, name=None, connectors=()), None), (None, price)):
        body = Views().charge_point(KnownChargePoint(OperatorId("op_1"), POINT, point), shown)
        described = ChargePointOut.model_validate_json(body, extra="forbid")
        assert json.loads(body) == described.model_dump(mode="json", exclude_unset=True)
        assert set(json.loads(body)) == set(ChargePointOut.model_fields)
