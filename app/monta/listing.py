"""Charges from Monta's lists: the newest report of each, and a count of those that could not be read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from app.domain.charge import ChargeReport
from app.domain.ids import ChargeId
from app.domain.orphan import ListedCharge, Origin
from app.monta.origin import read_origin
from app.monta.pages import Rows
from app.monta.wire import PriceUnit, UnreadableCharge, read_charge


@dataclass(frozen=True, slots=True)
class ChargeListing:
    """Charges in no order, each once. `unreadable` counts the rows that were left out; when it is not
    `complete`, the bound on pages was reached: narrow the question."""

    charges: tuple[ChargeReport, ...]
    unreadable: int
    complete: bool
    origins: Mapping[ChargeId, Origin] = field(default_factory=dict)

    def listed(self) -> tuple[ListedCharge, ...]:
        """The charges with who started them."""
        return tuple(ListedCharge(report, self.origins.get(report.id, Origin())) for report in self.charges)


def read_listing(rows: Rows, seen_at: datetime, price_unit: PriceUnit) -> ChargeListing:
    """Read the rows of all pages; pages overlap when charges are added meanwhile, so a charge may come
    twice."""
    charges: dict[ChargeId, ChargeReport] = {}
    origins: dict[ChargeId, Origin] = {}
    unreadable = 0
    for row in rows.rows:
        try:
            report = read_charge(row, seen_at, price_unit=price_unit).report
        except UnreadableCharge:
            unreadable += 1
            continue
        charges[report.id] = _newer(charges.get(report.id), report)
        origins[report.id] = read_origin(row)
    return ChargeListing(tuple(charges.values()), unreadable, rows.complete, origins)


def _newer(one: ChargeReport | None, other: ChargeReport) -> ChargeReport:
    """Of two reports of one charge the one with the newer `updatedAt`; else the later one."""
    if one is not None and one.updated_at and other.updated_at and one.updated_at > other.updated_at:
        return one
    return other
