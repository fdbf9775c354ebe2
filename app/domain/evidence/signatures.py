"""Signs and verifies evidence with Ed25519. Whoever has a public key verifies, and cannot sign."""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.domain.units.canonical import digest
from app.domain.units.frozen import frozen

ALGORITHM = "Ed25519"
KEY_BYTES = 32
_PREFIX = bytes.fromhex("302a300506032b6570032100")
"""What precedes the 32 bytes of an Ed25519 key in DER, always (RFC 8410)."""
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)\s+-----END PUBLIC KEY-----")


class Purpose(StrEnum):
    """What a signature is for. It begins the signed text, so that no signature fits elsewhere."""

    SEAL = "tapwatt-seal-1"
    BUNDLE = "tapwatt-bundle-1"
    VOUCHER = "tapwatt-key-1"


class SigningKey:
    """A private key, derived from 32 secret bytes. The same bytes are the same key."""

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw().hex()
        """The public key, 32 bytes in hex."""
        self.id = key_id_of(self.public)

    def sign(self, purpose: Purpose, digest_of_it: str) -> str:
        """Signs the text `<purpose> <digest>`; the signature in hex."""
        return self._private.sign(_text(purpose, digest_of_it)).hex()

    def vouch_for(self, public: str) -> "Voucher":
        """Signs that another public key was this installation's before."""
        signature = self.sign(Purpose.VOUCHER, digest(public))
        return Voucher(key_id=key_id_of(public), public=public, vouched_by=self.id, signature=signature)


@frozen(kw_only=True)
class Voucher:
    """A public key, and the signature of the key that vouches for it. All in hex."""

    key_id: str
    public: str
    vouched_by: str
    signature: str


def key_id_of(public: str) -> str:
    """Returns a key's id: 16 hex digits of the public key's SHA-256."""
    return sha256(bytes.fromhex(public)).hexdigest()[:16]


def is_signed(public: str, purpose: Purpose, digest_of_it: str, signature: str) -> bool:
    """Whether the key has signed this digest for this purpose."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(bytes.fromhex(signature), _text(purpose, digest_of_it))
    except (InvalidSignature, ValueError):
        return False
    return True


def with_vouched(trusted: Mapping[str, str], vouchers: Iterable[Voucher]) -> dict[str, str]:
    """Adds the public keys that trusted ones vouch for. By id; in any number of steps."""
    known, left = dict(trusted), list(vouchers)
    while True:
        good = [each for each in left if each.key_id not in known and _holds(each, known)]
        if not good:
            return known
        known |= {each.key_id: each.public for each in good}


def path_to(key_id: str, trusted: str, vouchers: Sequence[Voucher]) -> list[Voucher]:
    """The vouchers that lead from a trusted key to this one; none for the trusted key itself, or without a way."""
    by_id, path = {each.key_id: each for each in vouchers}, []
    while key_id != trusted and key_id in by_id:
        path.append(by_id.pop(key_id))
        key_id = path[-1].vouched_by
    return path if key_id == trusted else []


def _holds(voucher: Voucher, known: Mapping[str, str]) -> bool:
    by = known.get(voucher.vouched_by)
    if by is None or not is_signed(by, Purpose.VOUCHER, digest(voucher.public), voucher.signature):
        return False
    return key_id_of(voucher.public) == voucher.key_id


def pem_of(public: str) -> str:
    """The public key in PEM, as OpenSSL reads it."""
    der = base64.b64encode(_PREFIX + bytes.fromhex(public)).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n"


def keys_in_pem(text: str) -> dict[str, str]:
    """All Ed25519 public keys of a PEM text, by id. Raises ValueError for others, with the end of a sentence."""
    found = {}
    for body in _PEM.findall(text):
        try:
            der = base64.b64decode("".join(body.split()), validate=True)
        except binascii.Error as error:
            raise ValueError("is no valid PEM") from error
        if not der.startswith(_PREFIX) or len(der) != len(_PREFIX) + KEY_BYTES:
            raise ValueError("holds a key that is not Ed25519")
        public = der[len(_PREFIX) :].hex()
        found[key_id_of(public)] = public
    return found


def _text(purpose: Purpose, digest_of_it: str) -> bytes:
    return f"{purpose} {digest_of_it}".encode()
