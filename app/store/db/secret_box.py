"""Encrypts secrets at rest with AES-256-GCM. Each is bound to its owner and purpose, so that a ciphertext fails in
another row."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE_BYTES = 12
FORMAT = b"\x01"


class SecretUnreadable(Exception):
    """Encrypted with another key or for another owner: set TAPWATT_SECRET_KEY to the key that was used."""


class SecretBox:
    """Encrypts with a key derived from `secret_key` (TAPWATT_SECRET_KEY)."""

    def __init__(self, secret_key: str) -> None:
        derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"tapwatt operator secrets")
        self._cipher = AESGCM(derive.derive(secret_key.encode()))

    def seal(self, secret: str, *, owner: str, purpose: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return FORMAT + nonce + self._cipher.encrypt(nonce, secret.encode(), _bound(owner, purpose))

    def open(self, sealed: bytes, *, owner: str, purpose: str) -> str:
        """Decrypts; raises SecretUnreadable, without saying why in more detail."""
        nonce, ciphertext = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, ciphertext, _bound(owner, purpose)).decode()
        except (InvalidTag, ValueError) as error:
            raise SecretUnreadable(
                f"the {purpose} of {owner} cannot be decrypted with this TAPWATT_SECRET_KEY"
            ) from error


def _bound(owner: str, purpose: str) -> bytes:
    return f"{owner}/{purpose}".encode()
