"""Bring the database's schema to what this code was written for."""

from alembic import command
from alembic.config import Config

from app.store.health import MIGRATIONS


def migrate(database_url: str) -> None:
    """Run all migrations that are missing; safe to run twice, and from several machines at once (one waits)."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("sqlalchemy.url", database_url.replace("%", "%%"))
    command.upgrade(config, "head")
