"""Secrets at rest: what was encrypted for one owner and purpose decrypts for no other (F90)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from app.domain.units.ids import OperatorId
from app.monta.ports import Token
from app.monta_access import SharedTokens
from app.store.db.secret_box import SecretBox, SecretUnreadable, key_id_of
from app.store.operators.operators import Operators
from app.store.operators.secret_keys import WrongSecretKey
from tests.store.rows import NOW, OP_ONE, OP_OTHER, SECRET_KEY, operator, provisioned

BOX = SecretBox(SECRET_KEY)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_was_sealed_is_opened_and_never_sealed_alike_twice(secret: str) -> None:
    sealed = BOX.seal(secret, owner="op", purpose="p")
    assert BOX.open(sealed, owner="op", purpose="p") == secret
    assert BOX.seal(secret, owner="op", purpose="p") != sealed
    assert len(secret) < 4 or secret.encode() not in sealed


@pytest.mark.parametrize(
    ("key", "owner", "purpose"),
    [
        ("another key that is as long as it has to be", "op", "p"),
        (SECRET_KEY, "op2", "p"),
        (SECRET_KEY, "op", "q"),
    ],
)
def test_another_key_owner_or_purpose_opens_nothing(key: str, owner: str, purpose: str) -> None:
    sealed = BOX.seal("canary", owner="op", purpose="p")
    with pytest.raises(SecretUnreadable) as refused:
        SecretBox(key).open(sealed, owner=owner, purpose=purpose)
    assert "canary" not in str(refused.value)
    assert key not in str(refused.value)


def test_a_ciphertext_names_its_key_and_an_older_key_still_opens_it() -> None:
    older, newer = "an older key that is as long as it has to be", SecretBox(SECRET_KEY, ["x" * 40])
    sealed = SecretBox(older).seal("canary", owner="op", purpose="p")
    assert key_id_of(sealed) == SecretBox(older).key_id != BOX.key_id
    assert SecretBox(SECRET_KEY, [older]).open(sealed, owner="op", purpose="p") == "canary"
    with pytest.raises(SecretUnreadable, match="does not have"):
        newer.open(sealed, owner="op", purpose="p")
    assert key_id_of(SecretBox(SECRET_KEY, [older]).seal("canary", owner="op", purpose="p")) == BOX.key_id
    assert key_id_of(b"") == key_id_of(b"\x01" + sealed[1:]) == ""


@given(st.integers(0, 40), st.integers(1, 255))
def test_a_changed_or_cut_ciphertext_opens_nothing(at: int, flip: int) -> None:
    sealed = BOX.seal("the client secret", owner="op", purpose="p")
    at = min(max(at, 1), len(sealed) - 1)
    changed = sealed[:at] + bytes([sealed[at] ^ flip]) + sealed[at + 1 :]
    for wrong in (changed, sealed[:at], b""):
        with pytest.raises(SecretUnreadable):
            BOX.open(wrong, owner="op", purpose="p")


@pytest.mark.anyio
async def test_a_secret_moved_to_another_row_column_or_address_fails(database_url: str) -> None:
    moves = [
        "UPDATE operators SET client_secret ="
        " (SELECT client_secret FROM operators WHERE id = 'op_one') WHERE id = 'op_other'",
        "UPDATE operators SET client_secret = webhook_secret WHERE id = 'op_other'",
        "UPDATE operators SET monta_url = 'https://attacker.test/api/v1' WHERE id = 'op_other'",
    ]
    keep = Operators(BOX)
    async with provisioned(database_url) as database:
        for move in moves:
            async with database.transaction() as connection:
                assert await keep.get(connection, OP_OTHER) is not None
                await connection.execute(text(move))
                with pytest.raises(SecretUnreadable):
                    await keep.get(connection, OP_OTHER)
                assert await keep.get(connection, OP_ONE) == operator(OP_ONE)
                await connection.raw.execute("ROLLBACK; BEGIN")


@pytest.mark.anyio
async def test_tokens_are_sealed_at_rest_and_another_key_does_not_read_them(database_url: str) -> None:
    pair = Token("access-canary", NOW, "refresh-canary", NOW)
    async with provisioned(database_url) as database:
        await SharedTokens(database, BOX).save(OP_ONE, pair)
        async with database.transaction() as connection:
            row = (await connection.execute(text("SELECT access || refresh FROM monta_tokens"))).scalar_one()
        assert b"canary" not in bytes(row)
        stranger = SharedTokens(database, SecretBox("another key that is as long as it has to be"))
        seen = await stranger.load(OperatorId(OP_ONE))
        assert seen is not None
        assert (seen.access, seen.refresh, seen.version) == ("", "", 1), (
            "over, so that another pair is fetched"
        )
        with pytest.raises(WrongSecretKey):
            await stranger.save(OP_ONE, pair)


def test_no_repr_shows_a_secret() -> None:  # F91
    shown = repr(operator()) + repr(BOX) + repr(Token("access-canary", NOW, "refresh-canary", NOW))
    for secret in ("the client secret", "the webhook secret", "wh_op_one", SECRET_KEY, "canary"):
        assert secret not in shown
