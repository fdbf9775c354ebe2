"""Tests of app/api/display: texts for drivers are whole in every language, and amounts are written as there."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.display import (
    OF_STATUS,
    display,
    language_of,
    session_display,
    spoken_amount,
    written_amount,
)
from app.api.display_texts import SPOKEN, TEXTS
from app.api.http.problems import KINDS
from app.domain.session.payment_session import Authorization, Status
from tests.api.service import open_service
from tests.domain.sessions import Event, courses, new_session, play

LANGUAGES = ("en", "da", "de", "fr", "nl", "sv", "nb", "es", "it")


def fields_of(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_every_key_has_a_text_of_its_own_in_every_language_with_the_same_amounts() -> None:
    assert set(TEXTS) == set(SPOKEN) == set(LANGUAGES)
    for language, texts in TEXTS.items():
        assert texts.keys() == TEXTS["en"].keys(), language
        assert len(set(texts.values())) == len(texts), language
        for key, text in texts.items():
            assert text[0].isupper(), (language, key)
            assert text.endswith("."), (language, key)
            assert len(text) <= 90, "short enough for a terminal"
            assert fields_of(text) == fields_of(TEXTS["en"][key]), (language, key)
            assert language == "en" or text != TEXTS["en"][key], (language, key)
        assert SPOKEN[language].keys() == SPOKEN["en"].keys(), language


def test_every_error_and_every_status_has_a_key_and_no_text_is_unused() -> None:
    of_errors = {kind.display for kind in KINDS.values() if kind.display}
    of_sessions = {*OF_STATUS.values(), "charging", "to_pay"}
    assert of_errors | of_sessions == TEXTS["en"].keys()
    assert set(OF_STATUS) | {Status.CHARGING} == set(Status)


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("da", "da"),
        ("da-DK", "da"),
        ("DE-at, en;q=0.8", "de"),
        ("no", "nb"),
        ("nn-NO", "nb"),
        ("pl, fr;q=0.9, en;q=0.8", "fr"),
        ("en;q=0.5, it;q=0.7", "it"),
        ("sv;q=0, nl;q=0.1", "nl"),
        ("es;q=x, sv;q=0.2", "sv"),
        ("xx", "en"),
        ("*", "en"),
        ("\x00;;;,,,q=1", "en"),
    ],
)
def test_the_language_is_the_best_one_that_is_asked_for(header: str | None, language: str) -> None:
    assert language_of(header) == language


@given(st.text(max_size=300))
def test_any_header_leads_to_a_language(header: str) -> None:
    assert language_of(header) in LANGUAGES


@pytest.mark.parametrize(
    ("language", "currency", "minor", "written", "spoken"),
    [
        ("en", "EUR", 123456, "€1,234.56", "1234.56 euros"),
        ("en", "DKK", 5000, "DKK\u00a050.00", "50.00 Danish kroner"),
        ("da", "DKK", 123456, "1.234,56\u00a0kr.", "1234,56 kroner"),
        ("de", "EUR", 1234, "12,34\u00a0€", "12,34 Euro"),
        ("de", "CHF", 5, "0,05\u00a0CHF", "0,05 CHF"),
        ("fr", "EUR", 123456, "1\u00a0234,56\u00a0€", "1234,56 euros"),
        ("nl", "EUR", 1234, "€\u00a012,34", "12,34 euro"),
        ("sv", "SEK", 123456, "1\u00a0234,56\u00a0kr", "1234,56 kronor"),
        ("nb", "SEK", 100, "1,00\u00a0SEK", "1,00 svenske kroner"),
        ("es", "JPY", 123456, "123.456\u00a0JPY", "123456 JPY"),
        ("it", "KWD", 1234, "1,234\u00a0KWD", "1,234 KWD"),
    ],
)
def test_amounts_are_written_and_spoken_as_in_the_language(
    language: str, currency: str, minor: int, written: str, spoken: str
) -> None:
    assert written_amount(minor, currency, language) == written
    assert spoken_amount(minor, currency, language) == spoken


@given(courses, st.sampled_from(LANGUAGES))
def test_every_session_has_a_text_without_gaps(course: list[Event], language: str) -> None:
    session = play(course).session
    shown = session_display(session, 123, language)
    assert shown["key"] in TEXTS[language]
    assert not {"{", "}"} & set(shown["text"] + shown["speech"])
    if session.settlement is not None and session.settlement.to_capture_minor:
        assert written_amount(session.settlement.to_capture_minor, "EUR", language) in shown["text"]


def test_a_charge_shows_what_is_used_of_what_is_held() -> None:
    held = Authorization(reference="A-1", amount_minor=30_000, currency="DKK")
    session = new_session(authorization=held, status=Status.CHARGING)
    assert session_display(session, 1234, "da") == {
        "key": "charging",
        "text": "Oplader. 12,34\u00a0kr. af 300,00\u00a0kr. brugt.",
        "speech": "Oplader. 12,34 kroner af 300,00 kroner brugt.",
    }


@pytest.mark.anyio
async def test_each_terminal_gets_its_language_and_errors_too(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        assert session["display"] == dict(display("payment_accepted", "en"))
        path = f"/v1/payment-sessions/{session['id']}"
        for language in ("da", "de", "da", "en", "de"):
            answer = await service.call(
                "GET", path, headers={"Accept-Language": f"{language};q=0.9, en;q=0.1"}
            )
            assert answer.json()["display"] == dict(display("payment_accepted", language))
            assert answer.json() | {"display": session["display"]} == session
        listed = await service.call(
            "GET", "/v1/payment-sessions?open=true", headers={"Accept-Language": "sv"}
        )
        assert listed.json()["data"][0]["display"] == dict(display("payment_accepted", "sv"))
        unknown = await service.call("GET", "/v1/payment-sessions/ps_0", headers={"Accept-Language": "fr"})
        assert unknown.json()["display"] == dict(display("nothing_found", "fr"))
        assert unknown.json()["display_message"] == TEXTS["en"]["nothing_found"]
