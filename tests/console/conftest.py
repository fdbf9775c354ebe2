"""This folder's tests share one database, emptied before each."""

from tests.shared_database import database_url, kept_apart, recycled

__all__ = ["database_url", "kept_apart", "recycled"]
