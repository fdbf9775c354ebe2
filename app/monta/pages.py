"""Monta's paged lists, read to the end within a bound (reference, Pagination)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.monta.errors import NotDone, OutcomeUnknown
from app.monta.safe_json import JsonIn

PER_PAGE = 100
MAX_FOUND_PAGES = 10
"""One session has one charge, at worst a handful; more pages mean that Monta did not filter."""
MAX_LISTED_PAGES = 200
"""Monta lists at most 20,000 charges for one query."""
MAX_LOG_PAGES = 5
"""Of Monta's log of deliveries."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of all pages in Monta's order; rows that moved while we read may come twice. `complete` is
    False when the bound on pages ended the reading, or Monta refused a further page."""

    rows: tuple[JsonIn, ...]
    complete: bool


async def all_pages(fetch: Callable[[int], Awaitable[JsonIn]], *, max_pages: int) -> Rows:
    """Read page after page. Raises OutcomeUnknown when an answer is no list, and whatever `fetch` raises."""
    rows: list[JsonIn] = []
    for page in range(max_pages):
        try:
            answer = await fetch(page)
        except NotDone:
            if not rows:
                raise
            return Rows(tuple(rows), complete=False)
        here = answer.get("data") if isinstance(answer, dict) else answer
        if not isinstance(here, list):
            raise OutcomeUnknown("a list of Monta's has no rows that can be read")
        rows += here
        if not here or _is_last(answer, page):
            return Rows(tuple(rows), complete=True)
    return Rows(tuple(rows), complete=False)


def _is_last(answer: JsonIn, page: int) -> bool:
    """By `meta.totalPageCount`; without it only an empty page ends the list, for Monta may have cut
    `perPage`."""
    if isinstance(answer, list):
        return True  # a bare list has no pages
    meta = answer.get("meta") if isinstance(answer, dict) else None
    total = meta.get("totalPageCount") if isinstance(meta, dict) else None
    return isinstance(total, int) and page + 1 >= total
