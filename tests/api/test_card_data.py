"""Card numbers are refused under whatever name, never kept, never shown, never logged (F16)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from app.api.card_data import looks_like_card_number
from tests.api.house import TARIFF, House, Json, assert_problem, fields_of, open_house, payment

PATH = "/v1/payment-sessions"
PANS = [
    "4111111111111111",
    "5555555555554444",
    "2223003122003222",
    "378282246310005",
    "6011111111111117",
    "30569309025904",
    "3566002020360505",
    "6304000000000000",
    "4222222222222",
    "6762000000000000009"[:19],
]


def luhn(digits: str) -> str:
    doubled = [int(d) * 2 if i % 2 == 0 else int(d) for i, d in enumerate(reversed(digits))]
    total = sum(n - 9 if n > 9 else n for n in doubled)
    return digits + str(-total % 10)


@given(
    st.sampled_from(["4", "51", "55", "34", "37", "6011", "65", "2221", "2720", "3530"]),
    st.integers(13, 19),
    st.data(),
)
def test_every_number_of_a_scheme_with_a_right_check_digit_is_recognized(
    start: str, length: int, data: st.DataObject
) -> None:
    rest = length - 1 - len(start)
    digits = luhn(start + data.draw(st.text("0123456789", min_size=rest, max_size=rest)))
    separator = data.draw(st.sampled_from(["", " ", "-", "\u00a0", "  ", "\t", "\u2013"]))
    size = data.draw(st.integers(3, 6))
    grouped = separator.join(digits[i : i + size] for i in range(0, len(digits), size))
    around = data.draw(st.sampled_from(["{}", "card {} please", "x{}y", "\u00e4{}!", "({})"]))
    assert looks_like_card_number(around.format(grouped))
    wrong = digits[:-1] + str((int(digits[-1]) + 1) % 10)
    assert not looks_like_card_number(wrong)


@pytest.mark.parametrize(
    "harmless",
    [
        "A-2026-000123",
        "2026-11-22T10:00:00.000Z",
        "4111111111111112",
        "411111111111",
        "41111111111111111111",
        "ps_01kaq4nbt5y3u1i9o7p5a3s1df",
        "0000000000000000",
        "1234567890123452",
        "+45 12 34 56 78",
        "0.4900000000000004",
        "",
    ],
)
def test_other_numbers_pass(harmless: str) -> None:
    assert not looks_like_card_number(harmless)


def in_every_place(pan: str) -> list[tuple[str, Json]]:
    spaced = " ".join(pan[i : i + 4] for i in range(0, len(pan), 4))
    wide = pan.translate({ord(str(n)): chr(0xFF10 + n) for n in range(10)})
    return [
        ("authorization.reference", payment(reference=pan)),
        ("authorization.reference", payment(reference=f"ref-{pan}")),
        ("display_reference", payment(display_reference=pan)),
        ("metadata.note", payment(metadata={"note": spaced})),
        ("metadata.note", payment(metadata={"note": f"paid with {spaced.replace(' ', '-')}!"})),
        ("metadata.note", payment(metadata={"note": wide})),
        ("metadata.charge_point_id", payment(metadata={"charge_point_id": pan})),
        ("metadata (a name in it)", payment(metadata={pan: "x"})),
        ("(a name in it)", payment(**{pan: "x"})),
        ("authorization.card.number", payment(authorization={"card": {"number": pan}})),
        ("authorization.card.number", payment(authorization={"card": {"number": int(pan)}})),
        ("authorization.card.fingerprint", payment(authorization={"card": {"fingerprint": pan}})),
        ("authorization.card.last4", payment(authorization={"card": {"last4": pan}})),
        ("authorization.amount", payment(authorization={"amount": int(pan)})),
        ("tariff.tariff_alt_text[0].text", payment(tariff={**TARIFF, "tariff_alt_text": [{"text": spaced}]})),
        ("deep[0][0].a[1]", payment(deep=[[{"a": [1, pan]}]])),
    ]


@pytest.mark.anyio
async def test_a_card_number_anywhere_is_refused_and_neither_kept_nor_echoed_nor_logged(
    database_url: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    said = ""
    async with open_house(database_url) as house:
        for pan in PANS[:3]:
            for field, body in in_every_place(pan):
                answer = await house.call("POST", PATH, body)
                problem = assert_problem(answer, 422, "card_data_not_allowed")
                assert field in fields_of(problem), problem
                said += answer.text
        said += await everything_kept(house)
        assert await house.count() == 0
    captured = capsys.readouterr()
    said += captured.out + captured.err + caplog.text
    for pan in PANS[:3]:
        assert pan not in said
        assert pan[:4] + " " + pan[4:8] not in said


@pytest.mark.anyio
async def test_bodies_of_other_doors_and_the_idempotency_key_are_looked_at_too(database_url: str) -> None:
    pan = PANS[0]
    async with open_house(database_url) as house:
        session = await house.authorize()
        await house.settle(session["id"], 100)
        capture = {"outcome": "captured", "amount": 100, "reference": pan}
        doors: list[tuple[str, Any, str | None]] = [
            ("/v1/stop-requests", {"card_fingerprint": pan}, None),
            (f"{PATH}/{session['id']}/captures", capture, None),
            (f"/v1/ops/payment-sessions/{session['id']}/stop", {"reason": pan}, house.all_ops.api_key),
        ]
        for path, body, key in doors:
            problem = assert_problem(
                await house.call("POST", path, body, key=key), 422, "card_data_not_allowed"
            )
            assert pan not in str(problem)
        answer = await house.call("POST", PATH, payment("102", "A-2"), headers={"Idempotency-Key": pan})
        assert_problem(answer, 422, "card_data_not_allowed")
        assert pan not in await everything_kept(house)


@pytest.mark.anyio
async def test_a_fraction_is_no_card_number_but_its_whole_part_may_be(database_url: str) -> None:
    noisy = {
        **TARIFF,
        "elements": [{"price_components": [{"type": "ENERGY", "price": 0.4111111111111111, "step_size": 1}]}],
    }
    async with open_house(database_url) as house:
        assert (await house.call("POST", PATH, payment(tariff=noisy))).status_code == 201
        hidden = payment("102", "A-2", tariff={**TARIFF, "x": 4111111111111111.0})
        assert_problem(await house.call("POST", PATH, hidden), 422, "card_data_not_allowed")


@pytest.mark.anyio
async def test_a_charge_point_id_may_look_like_a_card_number(database_url: str) -> None:
    async with open_house(database_url) as house:
        other = await house.add_terminal(house.one.operator.operator_id, PANS[0])
        answer = await house.call("POST", PATH, payment(PANS[0]), key=other.api_key)
        assert answer.status_code == 201


async def everything_kept(house: House) -> str:
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    kept = ""
    async with house.tools.database.transaction() as connection:
        for (table,) in (await connection.execute(text(tables))).all():
            rows = await connection.execute(text(f"SELECT t::text FROM {table} t"))
            kept += "\n".join(row[0] for row in rows)
    return kept
