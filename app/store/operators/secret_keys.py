"""Identifies the key that secrets are encrypted with, and that signs evidence. By a sample that only the right key
decrypts."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import ColumnElement, delete, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from app.domain.evidence.signatures import Voucher
from app.domain.units.ids import OperatorId
from app.store.db.connection import Connection, Row
from app.store.db.secret_box import FORMAT, SecretBox, SecretUnreadable, key_id_of
from app.store.tables import event_endpoints, monta_tokens, operators, secret_keys
from app.store.tables import evidence_keys as former_keys

S, O, M, E, P = secret_keys.c, operators.c, monta_tokens.c, former_keys.c, event_endpoints.c  # noqa: E741
SAMPLE = "tapwatt"
"""The known text; owner and purpose of each sample too."""
LOST = "that was lost from the table secret_keys"
MAX_TRIES = 5


class WrongSecretKey(SecretUnreadable):
    """TAPWATT_SECRET_KEY is not a key that this database's secrets were encrypted with."""

    def __init__(self, wanted: str, box: SecretBox) -> None:
        super().__init__(
            "TAPWATT_SECRET_KEY is not the key that the secrets in this database were encrypted with: their key has"
            f" the id {wanted}, this one {box.key_id}. Nothing was written. Set the right key; to change keys, set the"
            " old one as TAPWATT_OLD_SECRET_KEYS and run `tapwatt secret-key rotate`."
        )


_ACTIVE = select(S.key_id, S.sample).where(S.active)
_FORMER = select(E.key_id, E.public, E.vouched_by, E.signature).order_by(E.key_id)
_ACTIVE_LOCKED = _ACTIVE.with_for_update(read=True)


async def check(connection: Connection, box: SecretBox) -> str | None:
    """Raises WrongSecretKey unless the box has the active key. Returns its id; None: nothing is encrypted yet.

    From then on the box signs evidence with the active key, too.
    """
    row = (await connection.execute(_ACTIVE)).one_or_none()
    if row is None:
        if (await connection.execute(select(O.id).limit(1))).one_or_none() is None:
            return None
        # The first operator may have been added, with the key, between the two statements.
        row = (await connection.execute(_ACTIVE)).one_or_none()
        if row is None:
            raise WrongSecretKey(LOST, box)
    key_id = _checked(row, box)
    box.sealer.use(key_id, await former_evidence_keys(connection))
    return key_id


async def sealing_key(connection: Connection, box: SecretBox) -> str:
    """Returns the id of the key to encrypt with. It stays active until this transaction ends.

    The first secret of a database registers TAPWATT_SECRET_KEY. Raises WrongSecretKey.
    """
    for _ in range(MAX_TRIES):
        # A row that was waited for is no longer active: the new one is seen by the next statement.
        row = (await connection.execute(_ACTIVE_LOCKED)).one_or_none()
        if row is not None:
            return _checked(row, box)
        known, used = select(S.key_id).exists(), select(O.id).exists()
        first = select(literal(box.key_id), literal(_sample(box)), literal(True)).where(~known, ~used)
        names = ("key_id", "sample", "active")
        await connection.execute(insert(secret_keys).from_select(names, first).on_conflict_do_nothing())
    raise WrongSecretKey(LOST, box)


async def activate(connection: Connection, box: SecretBox) -> None:
    """Makes TAPWATT_SECRET_KEY the active key, from this commit on. Everything is encrypted with it.

    Waits for transactions that encrypt with the one before. Raises WrongSecretKey unless the box has that one too.
    """
    former = await sealing_key(connection, box)
    if former == box.key_id:
        return
    await _retire_evidence_key(connection, box.sealer.vouch_for_key_of(former, by=box.key_id))
    await connection.execute(update(secret_keys).where(S.active).values(active=False))
    row = {"key_id": box.key_id, "sample": _sample(box), "active": True}
    statement = insert(secret_keys).values(row)
    await connection.execute(
        statement.on_conflict_do_update(index_elements=[S.key_id], set_={"active": True})
    )


async def _retire_evidence_key(connection: Connection, voucher: Voucher) -> None:
    row = asdict(voucher)
    statement = insert(former_keys).values(row)
    await connection.execute(statement.on_conflict_do_update(index_elements=[E.key_id], set_=row))


async def former_evidence_keys(connection: Connection) -> list[Voucher]:
    """Public keys that evidence was signed with before. Each with the signature of the key after it."""
    rows = await connection.execute(_FORMER)
    return [
        Voucher(key_id=r["key_id"], public=r["public"], vouched_by=r["vouched_by"], signature=r["signature"])
        for r in rows
    ]


async def retire_others(connection: Connection, key_id: str) -> None:
    """Forgets all keys but this one."""
    await connection.execute(delete(secret_keys).where(S.key_id != key_id))


def _under_another(key_id: str, *columns: ColumnElement[bytes]) -> ColumnElement[bool]:
    head = FORMAT + bytes.fromhex(key_id)
    return or_(*(func.substring(column, 1, len(head)) != head for column in columns))


async def operators_under_another_key(connection: Connection, key_id: str) -> Sequence[OperatorId]:
    """Returns ids of operators with secrets under another key. Or with tokens, or endpoints."""
    secrets = select(O.id).where(
        _under_another(key_id, O.client_secret, O.webhook_secret, O.previous_webhook_secret)
    )
    tokens = select(M.operator_id).where(_under_another(key_id, M.access, M.refresh))
    signing = select(P.operator_id).where(_under_another(key_id, P.signing_secret, P.previous_secret))
    found = await connection.execute(secrets.union(tokens, signing).order_by("id"))
    return [OperatorId(each) for each in found.scalars()]


def _sample(box: SecretBox) -> bytes:
    return box.seal(SAMPLE, owner=SAMPLE, purpose="sample")


def _checked(row: Row, box: SecretBox) -> str:
    key_id: str = row["key_id"]
    try:
        opened = box.open(row["sample"], owner=SAMPLE, purpose="sample")
    except SecretUnreadable as error:
        raise WrongSecretKey(key_id, box) from error
    if opened != SAMPLE or key_id_of(row["sample"]) != key_id:
        raise WrongSecretKey(key_id, box)
    return key_id
