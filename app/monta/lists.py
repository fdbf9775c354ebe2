"""Reads Monta's paged lists within a bound, and the charges in them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from datetime import datetime

from app.domain.charging.charge import ChargeReport, PriceUnit
from app.domain.charging.orphan import ListedCharge, Origin
from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargeId
from app.monta.errors import NotDone, OutcomeUnknown
from app.monta.objects import UnreadableCharge, read_charge, read_origin
from app.strict_json import JsonIn

PER_PAGE = 100
MAX_FOUND_PAGES = 10
"""Page bound of a search. One session has one charge, at worst a handful; more pages mean that Monta did not
filter."""
MAX_LISTED_PAGES = 200
"""Page bound of a listing: Monta lists at most 20,000 charges for one query."""
MAX_LOG_PAGES = 5
"""Page bound of Monta's delivery log."""


@frozen
class Rows:
    """The rows of all pages in Monta's order. Rows that moved during the reading may come twice. `complete` is
    False when the page bound ended the reading, or Monta refused a further page."""

    rows: tuple[JsonIn, ...]
    complete: bool


async def all_pages(fetch: Callable[[int], Awaitable[JsonIn]], *, max_pages: int) -> Rows:
    """Reads page after page. Raises OutcomeUnknown when an answer is no list, and whatever `fetch` raises."""
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
    """Whether this is the last page by `meta.totalPageCount`. Without it only an empty page is, since Monta may
    have reduced `perPage`."""
    if isinstance(answer, list):
        return True  # a bare list has no pages
    meta = answer.get("meta") if isinstance(answer, dict) else None
    total = meta.get("totalPageCount") if isinstance(meta, dict) else None
    return isinstance(total, int) and page + 1 >= total


@frozen
class ChargeListing:
    """Charges without order, each once. `unreadable` counts the skipped rows; not `complete` means the page bound
    was reached: narrow the query."""

    charges: tuple[ChargeReport, ...]
    unreadable: int
    complete: bool
    origins: Mapping[ChargeId, Origin] = field(default_factory=dict)

    def listed(self) -> tuple[ListedCharge, ...]:
        """The charges together with their origin (who started them)."""
        return tuple(ListedCharge(report, self.origins.get(report.id, Origin())) for report in self.charges)


def read_listing(
    rows: Rows, asked_at: datetime, arrived_at: datetime, price_unit: PriceUnit
) -> ChargeListing:
    """Reads the rows of all pages into charges. Overlapping pages may repeat a charge, the newest report counts."""
    charges: dict[ChargeId, ChargeReport] = {}
    origins: dict[ChargeId, Origin] = {}
    unreadable = 0
    for row in rows.rows:
        try:
            report = read_charge(row, asked_at, arrived_at=arrived_at, price_unit=price_unit).report
        except UnreadableCharge:
            unreadable += 1
            continue
        charges[report.id] = _newer(charges.get(report.id), report)
        origins[report.id] = read_origin(row)
    return ChargeListing(tuple(charges.values()), unreadable, rows.complete, origins)


def _newer(one: ChargeReport | None, other: ChargeReport) -> ChargeReport:
    """Returns the report with the newer `updatedAt`; without one, the later report."""
    if one is not None and one.updated_at and other.updated_at and one.updated_at > other.updated_at:
        return one
    return other
