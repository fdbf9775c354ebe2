"""This room's tests share one database, emptied before each."""

from tests.recycled import database_url, recycled

__all__ = ["database_url", "recycled"]
