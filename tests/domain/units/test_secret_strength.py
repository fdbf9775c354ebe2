"""Tests of app/domain/units/secret_strength: keys that can be guessed are told, random ones never."""

import secrets
import string
from base64 import urlsafe_b64decode
from collections.abc import Callable

import pytest

from app.domain.units.secret_strength import weakness
from app.wiring import Ids
from tests.virtual_clock import VirtualClock

WEAK = {
    "a" * 32: "different",
    "a" * 64: "different",
    "0" * 31 + "1": "different",
    "ab" * 20: "different",
    "0123456789" * 4: "repeats",
    "Zk3vQ8mX1pL7" * 3: "repeats",
    string.ascii_lowercase + string.digits: "counts",
    string.digits[::-1] + string.ascii_letters[::-1]: "counts",
    "aabbccddeeffgghhiijjkkllmmnnooppqqrr": "counts",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaXk3vQ8mZ1p": "counts",
    "correct horse battery staple and so on": "words",
    "my-secret-key-that-nobody-will-guess": "words",
    "Please_Change_This_Secret_Key_Now_123": "words",
    "kZ8" * 10: "characters",
    "short": "32 characters",
}


@pytest.mark.parametrize("key", WEAK)
def test_a_key_that_can_be_guessed_is_weak(key: str) -> None:
    why = weakness(key)
    assert why is not None
    assert WEAK[key] in why
    assert key not in why


@pytest.mark.parametrize(
    "make",
    [
        lambda: secrets.token_urlsafe(48),
        lambda: secrets.token_urlsafe(24),
        lambda: secrets.token_hex(32),
        lambda: secrets.token_hex(16),
        lambda: "".join(secrets.choice(string.digits) for _ in range(64)),
        lambda: "".join(secrets.choice(string.ascii_lowercase) for _ in range(40)),
    ],
)
def test_a_random_key_is_not(make: Callable[[], str]) -> None:
    assert not [why for _ in range(300) if (why := weakness(make())) is not None]


def test_keys_and_tokens_are_256_bits_of_the_systems_generator() -> None:
    ids = Ids(VirtualClock())
    assert isinstance(ids._rng, secrets.SystemRandom)
    made = {ids.secret("tw_ops") for _ in range(1000)}
    assert len(made) == 1000
    for secret in made:
        assert len(urlsafe_b64decode(secret.removeprefix("tw_ops_") + "=")) * 8 == 256
