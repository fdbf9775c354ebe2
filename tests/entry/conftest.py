"""This folder's tests share one database, emptied before each."""

from tests.shared_database import database_url, recycled

__all__ = ["database_url", "recycled"]
