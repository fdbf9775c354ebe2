"""The true state of a world, for the rules to compare with."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby

from app.domain.charging.charge import ENDED
from app.simulator.config import PointConfig
from app.simulator.faults.catalog import Misreport
from app.simulator.http.pipeline import RequestLine
from app.simulator.simulator import Simulator
from app.simulator.site.charge import Charge
from tests.world.ledger import Row
from tests.world.monta_transport import Line, Sent
from tests.world.plan import Plan
from tests.world.story import Story
from tests.world.terminal import TerminalLedger

Span = tuple[datetime, datetime]
QUOTA_FOR_READS = 0.6
"""Reads leave more than a third of the quota to more urgent calls."""
QUOTA_WITHOUT_STOPS = 0.9
"""Reads and starts together leave a tenth of the quota to stops."""
RECOVERED = timedelta(minutes=1)


@dataclass(slots=True)
class Oracle:
    """The plan, Monta's own records, every request, and the answers to terminals."""

    plan: Plan
    story: Story
    simulators: Mapping[str, Simulator]
    host_of: dict[str, str] = field(default_factory=dict)
    """Operator -> host of its Monta."""
    line: Line = field(default_factory=Line)
    ledgers: list[TerminalLedger] = field(default_factory=list)
    rows: dict[str, Row] = field(default_factory=dict)
    """All sessions by their ids, as of the last commit."""
    disturbed: dict[str, list[Span]] = field(default_factory=lambda: defaultdict(list))
    """Host -> when work for its operator was hindered (crash, freeze, lost connection, refusal), with the time to
    recover. A hindrance of one operator does not excuse another."""
    forgotten: dict[str, str] = field(default_factory=dict)
    """Sessions that a restored backup does not have -> host of their operator's Monta."""
    orphans: set[str] = field(default_factory=set)
    """Ids of the charges that were reported to operators as orphans."""
    adopted_at: dict[str, datetime] = field(default_factory=dict)
    """Session -> when its charge became known to it."""
    went_back_at: datetime | None = None
    """When that was: facts known before must be found out again."""

    def charges_of(self, row: Row) -> list[Charge]:
        charges = self.simulators[self.host_of[row.operator_id]].charges()
        return [charge for charge in charges if charge.partner_external_id == row.id]

    def row_of(self, host: str, charge_id: str) -> Row | None:
        """The session that a charge belongs to, adopted or not."""
        charges = self.simulators[host].charges()
        charge = next((charge for charge in charges if str(charge.id) == charge_id), None)
        return None if charge is None else self.rows.get(charge.partner_external_id or "")

    def misreport_of(self, charge: Charge) -> Misreport:
        """What Monta's records of the charge misreport, apart from its clock."""
        return replace(self.point_of(charge).faults.misreport, clock_offset_s=0.0)

    def is_endless(self, row: Row) -> bool:
        """Whether Monta never shows the end of this session's charges, which have all ended: stops then go on after
        the settlement."""
        charges = self.charges_of(row)
        hidden = any(self.misreport_of(charge).state_word is not None for charge in charges)
        return hidden and all(charge.state in ENDED for charge in charges)

    def _quota_spent(self, host: str) -> Iterator[Span]:
        """When the remainder of Monta's quota is reserved for starts and stops."""
        config = self.simulators[host].config
        window = timedelta(seconds=config.rate_window_s)
        for began, requests in self.requests_by_window(host):
            spent = requests[int(config.rate_limit * QUOTA_FOR_READS) :]
            if spent:
                yield spent[0].at, began + window + RECOVERED

    def requests_by_window(self, host: str) -> Iterator[tuple[datetime, list[RequestLine]]]:
        """Each window of Monta's quota with all requests in it, by when it began."""
        simulator = self.simulators[host]
        window = timedelta(seconds=simulator.config.rate_window_s)
        for began, requests in groupby(simulator.requests, partial(_window_of, window)):
            yield began, list(requests)

    def lost_charges(self) -> list[Charge]:
        """Charges whose session is no longer in the database."""
        charges = (charge for simulator in self.simulators.values() for charge in simulator.charges())
        return [charge for charge in charges if charge.partner_external_id in self.forgotten]

    def lost_are_told(self) -> bool:
        """Whether every charge with a lost session was reported to operations. One that is gone cannot be found."""
        shown = (charge for charge in self.lost_charges() if self.misreport_of(charge).gone_after_s is None)
        return all(str(charge.id) in self.orphans for charge in shown)

    def host_where(self, charge: Charge) -> str:
        """Returns a key of host and id, since both Montas use the same ids."""
        return next(host for host, simulator in self.simulators.items() if charge in simulator.charges())

    def stops_of(self, charge: Charge) -> list[Sent]:
        """Returns the requests to stop it, oldest first."""
        host, path = self.host_where(charge), f"/charges/{charge.id}/stop"
        return [sent for sent in self.line.sent if (sent.host, sent.path) == (host, path)]

    def point_of(self, charge: Charge) -> PointConfig:
        config = next(s.config for s in self.simulators.values() if charge in s.charges())
        return next(point for point in config.points if point.id == charge.point_id)

    def undisturbed_s(self, charge: Charge, since: datetime, until: datetime) -> float:
        """Seconds in between in which work on it was not hindered and no fact had been lost."""
        return self._free_s(since, until, self.disturbed[self.host_where(charge)])

    def readable_s(self, charge: Charge, since: datetime, until: datetime) -> float:
        """The same, without the time in which Monta's quota had nothing left for reads."""
        host = self.host_where(charge)
        return self._free_s(since, until, [*self.disturbed[host], *self._quota_spent(host)])

    def _free_s(self, since: datetime, until: datetime, disturbed: Sequence[Span]) -> float:
        since = max(since, self.went_back_at or since)
        spans = sorted((max(a, since), min(b, until)) for a, b in disturbed if b > since and a < until)
        hindered, end = timedelta(), since
        for a, b in spans:
            hindered += max(timedelta(), b - max(a, end))
            end = max(end, b)
        return (until - since - hindered).total_seconds()


def _window_of(length: timedelta, request: RequestLine) -> datetime:
    """When it began."""
    return request.at - timedelta(seconds=request.at.timestamp() % length.total_seconds())
