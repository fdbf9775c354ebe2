"""A process's memory for webhooks: operators, deliveries being written. Operators by endpoint."""

from dataclasses import dataclass

from app.domain.units.ids import OperatorId
from app.monta.plain_readings import PlainReading
from app.monta.webhook import Entry
from app.store.db.group_commit import GroupCommit, Write
from app.store.operators.operators import Operator
from app.store.sessions.deliveries import KeptDelivery

ENDPOINT_KEPT_S = 1.0
"""How long an endpoint's operator is remembered: a changed webhook secret is valid everywhere after that."""
MOST_ENDPOINTS = 10_000
AT_ONCE = 2
"""Transactions of one operator's deliveries at the same time: one is prepared while another is committed."""
MOST_LATELY = 10_000
"""Deliveries that are remembered as kept."""


@dataclass(frozen=True, slots=True)
class _Known:
    operator: Operator
    until_s: float


class Endpoints:
    """Operators by webhook endpoint, for ENDPOINT_KEPT_S; `now_s` is monotonic time."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def get(self, endpoint_id: str, now_s: float) -> Operator | None:
        known = self._known.get(endpoint_id)
        return known.operator if known is not None and now_s < known.until_s else None

    def put(self, endpoint_id: str, operator: Operator, now_s: float) -> Operator:
        if len(self._known) >= MOST_ENDPOINTS:
            self._known.clear()
        self._known[endpoint_id] = _Known(operator, now_s + ENDPOINT_KEPT_S)
        return operator


@dataclass(frozen=True, slots=True)
class Signed:
    """A delivery with a valid signature. Its plain readings, its other entries, and as it is kept."""

    plain: tuple[PlainReading, ...]
    others: tuple[Entry, ...]
    kept: KeptDelivery


class Lately:
    """Deliveries that this process has kept lately, by digest. Only a hint to look first: the database decides whether
    a delivery was kept."""

    def __init__(self) -> None:
        self._digests: dict[bytes, None] = {}

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._digests

    def add(self, digest: bytes) -> None:
        if len(self._digests) >= MOST_LATELY:
            del self._digests[next(iter(self._digests))]
        self._digests[digest] = None


class Deliveries:
    """State of the webhook endpoint in one process."""

    def __init__(self) -> None:
        self.endpoints = Endpoints()
        self.lately = Lately()
        self._groups: dict[OperatorId, GroupCommit[Signed]] = {}

    def group(self, operator_id: OperatorId, write: Write[Signed]) -> GroupCommit[Signed]:
        """The group commit of one operator's deliveries. `write` is used when it is new."""
        return self._groups.setdefault(operator_id, GroupCommit(write, at_once=AT_ONCE))
