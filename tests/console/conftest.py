"""This folder's tests share one database, emptied before each."""

from tests.shared_database import database_url, kept_apart, kept_loop, no_task_left, recycled

__all__ = ["database_url", "kept_apart", "kept_loop", "no_task_left", "recycled"]
