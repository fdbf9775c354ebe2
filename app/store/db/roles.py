"""Gives the service's database user its rights. Rows of every table, and nothing that belongs to the owner."""

import base64
import hashlib
import hmac
import os

import asyncpg

from app.store.db.connect import WritableHost, asyncpg_url
from app.store.db.suitability import DatabaseUnsuitable

ROUNDS = 4096
"""Of PBKDF2 in PostgreSQL's own verifiers."""

_RIGHTS = (
    "GRANT USAGE ON SCHEMA {schema} TO {user}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {user}",
    "REVOKE INSERT, UPDATE, DELETE ON alembic_version, schema_compatibility FROM {user}",
    "REVOKE UPDATE, DELETE ON journal, captures FROM {user}",
    "REVOKE DELETE ON settlements FROM {user}",
)


async def let_in(owner_url: str, service_url: str) -> None:
    """Lets the user of `service_url` in, and makes it if missing. Repeatable. Raises DatabaseUnsuitable."""
    service = asyncpg_url(service_url)
    if service.username is None or service.username == asyncpg_url(owner_url).username:
        return
    connection = await WritableHost(asyncpg_url(owner_url)).connect()
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", service.username):
            await _make(connection, service.username, str(service.password) if service.password else None)
        schema = await connection.fetchval("SELECT quote_ident(current_schema())")
        for right in _RIGHTS:
            await connection.execute(right.format(schema=schema, user=_quoted(service.username)))
    finally:
        await connection.close()


async def _make(connection: asyncpg.Connection, user: str, password: str | None) -> None:
    known = f" PASSWORD '{verifier(password)}'" if password else ""
    try:
        await connection.execute(f"CREATE ROLE {_quoted(user)} LOGIN{known}")
    except asyncpg.InsufficientPrivilegeError:
        raise DatabaseUnsuitable(
            "The user that TAPWATT_DATABASE_URL names does not exist: CREATE ROLE it LOGIN with its password."
        ) from None


def verifier(password: str) -> str:
    """Returns a password as PostgreSQL keeps it (RFC 5803). So the password itself is never in its log.

    Raises DatabaseUnsuitable for other characters than ASCII, which PostgreSQL would prepare first.
    """
    if not password.isascii():
        raise DatabaseUnsuitable("The password in TAPWATT_DATABASE_URL may have ASCII characters only.")
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    told = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${ROUNDS}:{told[0]}${told[1]}:{told[2]}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
