"""Encrypts secrets at rest with AES-256-GCM. Each names its key and is bound to its owner and purpose, so that a
ciphertext fails in another row."""

import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.domain.evidence.seal import Sealer
from app.domain.evidence.signatures import SigningKey

FORMAT = b"\x02"
KEY_ID_BYTES = 4
NONCE_BYTES = 12
_HEAD_BYTES = len(FORMAT) + KEY_ID_BYTES


class SecretUnreadable(Exception):
    """A secret of one owner cannot be decrypted. It was damaged, moved, or encrypted with a key that is not here."""


class SecretBox:
    """Encrypts with keys derived from secret keys: TAPWATT_SECRET_KEY, and older ones that secrets may still have."""

    def __init__(self, secret_key: str, older: Sequence[str] = ()) -> None:
        self._ciphers = {
            _key_id(key): AESGCM(_derived(key, b"tapwatt operator secrets", 32)) for key in older
        }
        self.key_id = _key_id(secret_key)
        """Names TAPWATT_SECRET_KEY. It is derived from the key and reveals nothing of it."""
        self._ciphers[self.key_id] = AESGCM(_derived(secret_key, b"tapwatt operator secrets", 32))
        signing = {
            _key_id(key): SigningKey(_derived(key, b"tapwatt evidence", 32)) for key in (secret_key, *older)
        }
        self.sealer = Sealer(signing, self.key_id)
        """Signs evidence with a key of its own, derived from the same secret key."""

    def seal(self, secret: str, *, owner: str, purpose: str, key_id: str | None = None) -> bytes:
        """Encrypts with the key of this id; None: with TAPWATT_SECRET_KEY."""
        key_id, nonce = key_id or self.key_id, os.urandom(NONCE_BYTES)
        ciphertext = self._ciphers[key_id].encrypt(nonce, secret.encode(), _bound(owner, purpose))
        return FORMAT + bytes.fromhex(key_id) + nonce + ciphertext

    def open(self, sealed: bytes, *, owner: str, purpose: str) -> str:
        """Decrypts with the key that the ciphertext names. Raises SecretUnreadable."""
        cipher = self._ciphers.get(key_id_of(sealed))
        if cipher is None:
            raise SecretUnreadable(
                f"the {_word(purpose)} of {owner} is damaged, or was encrypted with a key that this process does not"
                " have"
            )
        nonce, ciphertext = sealed[_HEAD_BYTES:][:NONCE_BYTES], sealed[_HEAD_BYTES + NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, ciphertext, _bound(owner, purpose)).decode()
        except (InvalidTag, ValueError) as error:
            raise SecretUnreadable(
                f"the {_word(purpose)} of {owner} is damaged or belongs elsewhere"
            ) from error


def key_id_of(sealed: bytes) -> str:
    """Returns the key's id in a ciphertext; empty when it has none."""
    return sealed[len(FORMAT) : _HEAD_BYTES].hex() if sealed.startswith(FORMAT) else ""


def _key_id(secret_key: str) -> str:
    return _derived(secret_key, b"tapwatt key id", KEY_ID_BYTES).hex()


def _derived(secret_key: str, use: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=use).derive(secret_key.encode())


def _bound(owner: str, purpose: str) -> bytes:
    return f"{owner}/{purpose}".encode()


def _word(purpose: str) -> str:
    """A purpose without what else is bound into it."""
    return purpose.partition(" ")[0]
