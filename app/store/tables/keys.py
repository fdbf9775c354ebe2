"""API keys, their trigger, and the keys that encrypt secrets. The trigger announces a key that is no longer valid."""

from sqlalchemy import (
    DDL,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Table,
    Text,
    event,
    text,
)

from app.store.tables.base import Moment, metadata

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False, comment="terminal or ops"),
    Column("operator_id", Text, ForeignKey("operators.id"), comment="null: an ops key for every operator"),
    Column("terminal_id", Text, comment="of a terminal's key; a terminal may have several"),
    Column("role", Text, comment="of an ops key: read, or operate"),
    Column("name", Text, nullable=False),
    Column("key_hash", LargeBinary, nullable=False, unique=True),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, comment="null: never"),
    Column("revoked_at", Moment),
    Column("last_used_at", Moment, comment="to the minute"),
    Column("last_used_from", Text, comment="the address that last used it"),
    ForeignKeyConstraint(["terminal_id", "operator_id"], ["terminals.id", "terminals.operator_id"]),
    CheckConstraint("kind IN ('terminal', 'ops')", name="kind_is_known"),
    CheckConstraint(
        "(kind = 'terminal') = (terminal_id IS NOT NULL) AND (kind = 'ops' OR operator_id IS NOT NULL)",
        name="owner_fits",
    ),
    CheckConstraint("(kind = 'ops') = (role IS NOT NULL)", name="only_ops_keys_have_roles"),
    CheckConstraint("role IN ('read', 'operate')", name="role_is_known"),
    Index("ix_api_keys_terminal_id", "terminal_id", postgresql_where=text("terminal_id IS NOT NULL")),
    comment="Sessions belong to a terminal, never to one of its keys.",
)

secret_keys = Table(
    "secret_keys",
    metadata,
    Column(
        "key_id", Text, primary_key=True, comment="derived from TAPWATT_SECRET_KEY; reveals nothing of it"
    ),
    Column("sample", LargeBinary, nullable=False, comment="a known text, encrypted with this key"),
    Column("active", Boolean, nullable=False, comment="what is encrypted now is encrypted with this one"),
    Index("uq_secret_keys_active", "active", unique=True, postgresql_where=text("active")),
    comment="Keys that secrets here are encrypted with, to tell a wrong one before anything is written.",
)

evidence_keys = Table(
    "evidence_keys",
    metadata,
    Column("key_id", Text, primary_key=True, comment="of the public key's SHA-256"),
    Column("public", Text, nullable=False, comment="the Ed25519 public key, in hex"),
    Column("vouched_by", Text, nullable=False, comment="the id of the key that came after it"),
    Column("signature", Text, nullable=False, comment="of the public key, by that key"),
    comment="Keys that evidence was signed with before TAPWATT_SECRET_KEY was changed.",
)

_ANNOUNCE = DDL(  # type: ignore[no-untyped-call]
    """
CREATE FUNCTION announce_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('tapwatt_keys', OLD.id);
  RETURN NULL;
END
$$
"""
)
_WHEN_CHANGED = DDL(  # type: ignore[no-untyped-call]
    """
CREATE TRIGGER announce_key
AFTER DELETE OR UPDATE OF operator_id, role, name, key_hash, expires_at, revoked_at ON api_keys
FOR EACH ROW EXECUTE FUNCTION announce_key()
"""
)
event.listen(api_keys, "after_create", _ANNOUNCE)
event.listen(api_keys, "after_create", _WHEN_CHANGED)
