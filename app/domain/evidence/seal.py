"""Seals a session's evidence when it is settled. Who can write the database, but has no key, cannot seal it anew."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime

from app.domain.evidence.json_values import Json, fields_of, plain
from app.domain.evidence.signatures import (
    Purpose,
    SigningKey,
    Voucher,
    is_signed,
    path_to,
    with_vouched,
)
from app.domain.session.payment_session import PaymentSession
from app.domain.session.states.journal import Seal
from app.domain.units.canonical import digest
from app.domain.units.frozen import replace


def parts_of(session: PaymentSession) -> Json:
    """What a seal covers beside the journal, as the bundle shows it. Of the rest, the journal has the hashes."""
    record = session.settled_record
    return {
        "session": {
            "id": session.id,
            "operator_id": session.operator_id,
            "terminal_id": session.terminal_id,
            "status": session.status.value,
            "created_at": plain(session.created_at),
        },
        "card": fields_of(session.authorization.card),
        "metadata": dict(session.metadata),
        "final_record": None if record is None else fields_of(record),
    }


def sealed_digest(parts: Mapping[str, object], *, lines: int, head: str, at: str) -> str:
    """Hashes what a seal signs. Absent fields and null are the same, so that fields may be added later."""
    names = ("session", "card", "metadata", "final_record")
    return digest([_without_null({name: parts[name] for name in names}), lines, head, at])


def _without_null(value: object) -> object:
    if isinstance(value, dict):
        return {name: _without_null(child) for name, child in value.items() if child is not None}
    if isinstance(value, list):
        return [_without_null(child) for child in value]
    return value


def _sealed(session: PaymentSession, at: datetime) -> str:
    head = session.journal
    return sealed_digest(parts_of(session), lines=head.lines, head=head.hash, at=str(plain(at)))


def _facts(session: PaymentSession) -> tuple[object, ...]:
    """What a new seal is needed for when it changes."""
    head = session.journal
    card = session.authorization.card
    return session.status, card, session.metadata, session.settled_record, head.lines, head.hash


class Sealer:
    """Seals sessions and signs bundles, with one of an installation's keys; knows its other keys."""

    def __init__(self, keys: Mapping[str, SigningKey], signs_with: str) -> None:
        """`keys`: by the id of the secret key that each is derived from."""
        self._keys = dict(keys)
        self._own = keys[signs_with]
        self._vouchers: list[Voucher] = []
        self._known = self._all_known()

    @property
    def key(self) -> SigningKey:
        """The key that signs."""
        return self._own

    def use(self, secret_key_id: str, vouchers: Iterable[Voucher]) -> None:
        """Signs with the key of the active secret key from now on. `vouchers`: for the keys before."""
        self._own = self._keys[secret_key_id]
        if self._vouchers != list(vouchers):
            self._vouchers = list(vouchers)
            self._known = self._all_known()

    def vouch_for_key_of(self, secret_key_id: str, by: str) -> Voucher:
        """Vouches for one secret key's public key with another's."""
        return self._keys[by].vouch_for(self._keys[secret_key_id].public)

    def _all_known(self) -> dict[str, str]:
        own = {key.id: key.public for key in self._keys.values()}
        return with_vouched(own, self._vouchers)

    def must_seal(self, before: PaymentSession, session: PaymentSession) -> bool:
        """Whether a session is to be sealed. When it is settled, and again with each later change."""
        if session.settlement is None:
            return False
        return before.settlement is None or _facts(before) != _facts(session)

    def may_seal(self, before: PaymentSession) -> bool:
        """Whether what a session was before may be sealed again with what is new.

        Not when its seal does not fit, or its key is not known here: a change would make valid what was forged.
        """
        return before.settlement is None or self.fits(before)

    def sealed(self, session: PaymentSession, now: datetime) -> PaymentSession:
        """The session with a seal of all that it is now."""
        seal = Seal(
            key_id=self._own.id, at=now, signature=self._own.sign(Purpose.SEAL, _sealed(session, now))
        )
        return replace(session, journal=replace(session.journal, seal=seal))

    def fits(self, session: PaymentSession) -> bool:
        """Whether a session is as it was sealed, with a key that is known here."""
        seal = session.journal.seal
        public = None if seal is None else self._known.get(seal.key_id)
        if seal is None or public is None:
            return False
        return is_signed(public, Purpose.SEAL, _sealed(session, seal.at), seal.signature)

    def signed(self, bundle: Json, sealed_by: str | None) -> Json:
        """Adds the vouchers that a bundle's seal needs, its hash and its signature."""
        needed = [] if sealed_by is None else path_to(sealed_by, self._own.id, self._vouchers)
        bundle = bundle | {"keys": [asdict(each) for each in needed]}
        seal = seal_of(bundle)
        signature = {
            "key_id": self._own.id,
            "public_key": self._own.public,
            "value": self._own.sign(Purpose.BUNDLE, seal),
        }
        return bundle | {"seal": seal, "signature": signature}


def seal_of(bundle: Mapping[str, object]) -> str:
    """SHA-256, in hex, of all of a bundle but its seal and its signature."""
    return digest({name: value for name, value in bundle.items() if name not in ("seal", "signature")})
