"""app/domain/evidence/signatures: which key is believed, and that OpenSSL reads what auditors are given."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from app.domain.evidence.signatures import (
    Purpose,
    SigningKey,
    is_signed,
    key_id_of,
    keys_in_pem,
    path_to,
    pem_of,
    with_vouched,
)

FIRST, SECOND, THIRD = (SigningKey(bytes([n]) * 32) for n in (1, 2, 3))


def test_a_signature_is_of_one_key_one_digest_and_one_purpose() -> None:
    signature = FIRST.sign(Purpose.SEAL, "00ff")
    assert is_signed(FIRST.public, Purpose.SEAL, "00ff", signature)
    for other in (
        (SECOND.public, Purpose.SEAL, "00ff", signature),
        (FIRST.public, Purpose.BUNDLE, "00ff", signature),
        (FIRST.public, Purpose.SEAL, "00fe", signature),
        (FIRST.public, Purpose.SEAL, "00ff", signature[:-2]),
        (FIRST.public, Purpose.SEAL, "00ff", "no hex"),
        ("no key", Purpose.SEAL, "00ff", signature),
        (FIRST.public[2:], Purpose.SEAL, "00ff", signature),
    ):
        assert not is_signed(*other), other


def test_a_newer_key_vouches_for_older_ones_in_any_number_of_steps_and_never_the_other_way() -> None:
    vouchers = [SECOND.vouch_for(FIRST.public), THIRD.vouch_for(SECOND.public)]
    everything = {key.id: key.public for key in (FIRST, SECOND, THIRD)}
    assert with_vouched({THIRD.id: THIRD.public}, vouchers) == everything
    assert with_vouched({FIRST.id: FIRST.public}, vouchers) == {FIRST.id: FIRST.public}
    assert path_to(FIRST.id, THIRD.id, vouchers) == vouchers
    assert path_to(THIRD.id, THIRD.id, vouchers) == []
    assert path_to(FIRST.id, key_id_of("00" * 32), vouchers) == [], "no way leads there"
    circle = [FIRST.vouch_for(SECOND.public), SECOND.vouch_for(FIRST.public)]
    assert with_vouched({THIRD.id: THIRD.public}, circle) == {THIRD.id: THIRD.public}
    assert path_to(FIRST.id, THIRD.id, circle) == []


def test_the_public_key_in_pem_is_read_by_openssl_and_by_us() -> None:
    pem = pem_of(FIRST.public)
    read = load_pem_public_key(pem.encode())
    assert isinstance(read, Ed25519PublicKey)
    assert read.public_bytes_raw().hex() == FIRST.public
    both = f"for the auditor\n{pem}{pem_of(SECOND.public)}".replace("\n", "\r\n")
    assert keys_in_pem(both) == {FIRST.id: FIRST.public, SECOND.id: SECOND.public}
    assert keys_in_pem("no key at all") == {}


@pytest.mark.parametrize("body", ["MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE", "===", "MCowBQYDK2VwAyEA"])
def test_another_kind_of_key_is_refused(body: str) -> None:
    with pytest.raises(ValueError, match=r"no valid PEM|not Ed25519"):
        keys_in_pem(f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
