"""Queues events for the partner's webhook. Their content, when they are ready, and their log."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.units.frozen import frozen
from app.simulator.faults.misreports import is_gone
from app.simulator.faults.schedule import FaultSchedule
from app.simulator.shapes.charge import charge_json
from app.simulator.shapes.charge_point import point_json, point_state
from app.simulator.site.charge import Charge
from app.simulator.site.site import Point, Site
from app.simulator.wire import JsonObject, JsonValue, when

MAX_ENTRIES = 100_000
_SHUFFLE_S = 20.0


class EntryStatus(StrEnum):
    """Status of one entry in the log of the past 24 hours."""

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"


@frozen
class WebhookConfig:
    """The one webhook configuration of the credential."""

    url: str
    secret: str
    event_types: tuple[str, ...]
    headers: dict[str, str]
    team_ids: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        return f"WebhookConfig(url={self.url!r}, event_types={self.event_types!r})"

    def wants(self, event_type: str, team_id: int) -> bool:
        named = event_type in self.event_types or "*" in self.event_types
        return named and (self.team_ids is None or team_id in self.team_ids)


@dataclass(slots=True)
class Entry:
    """One event for one subscriber; `payload` is what a delivery carries."""

    id: int
    event_type: str
    payload: JsonObject
    created_at: datetime
    ready_at: datetime
    status: EntryStatus = EntryStatus.PENDING
    error_code: str | None = None
    error_message: str | None = None
    updated_at: datetime | None = None


def signature(secret: str, body: bytes) -> str:
    """Returns HMAC-SHA1 in hex over the exact bytes that are sent. The header adds `sha1=`."""
    return hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()


class Outbox:
    """Snapshots each change at its moment, as Monta's event stream does."""

    def __init__(self, site: Site, faults: FaultSchedule) -> None:
        self._site = site
        self._faults = faults
        self.config: WebhookConfig | None = None
        self.waiting: list[Entry] = []
        self.log: dict[int, Entry] = {}
        self.on_entry: Callable[[], None] = lambda: None
        self._last_id = 0
        self._shown: dict[int, tuple[str, bool, int]] = {}
        """State, cable and price group of each charge point, as they were reported last."""
        site.charge_watchers.append(self._charge)
        site.point_watchers.append(self._point)

    def entry_json(self, entry: Entry) -> JsonObject:
        """The WebhookEntry object of GET /webhooks/entries."""
        shown: dict[str, JsonValue] = {
            "id": entry.id,
            "consumerId": 1,
            "operatorId": self._site.config.operator_id,
            "eventType": entry.event_type,
            "payload": entry.payload,
            "status": entry.status.value,
            "createdAt": when(entry.created_at),
            "updatedAt": when(entry.updated_at),
        }
        if entry.error_code is not None:
            shown["error"] = {"errorCode": entry.error_code, "errorMessage": entry.error_message}
        return shown

    def prune(self) -> None:
        """Drops entries older than 24 hours, and beyond `MAX_ENTRIES`."""
        oldest = self._site.now - timedelta(seconds=self._site.config.webhook_keep_s)
        while self.log:
            first = next(iter(self.log.values()))
            if first.created_at >= oldest and len(self.log) <= MAX_ENTRIES:
                return
            del self.log[first.id]

    def _charge(self, charge: Charge, event: str) -> None:
        if is_gone(self._site, charge):
            return
        self._push("charges", "charge", (charge.id, event), self._site.points[charge.point_id], charge)

    def _point(self, point: Point) -> None:
        shown = (point_state(point), point.plugged is not None, point.config.price_group_id)
        news = self._shown.get(point.config.id) != shown
        self._shown[point.config.id] = shown
        if news or self._site.config.tells_points_meters:
            self._push("charge-points", "charge-point", (point.config.id, "updated"), point, None)

    def _push(
        self, event_type: str, entity: str, what: tuple[int, str], point: Point, charge: Charge | None
    ) -> None:
        config, site, faults = self.config, self._site, point.config.faults.webhooks
        if config is None or not config.wants(event_type, site.config.owner_team_id):
            return
        if faults.lost or (self._faults.webhook_loss and site.streams.happens(self._faults.webhook_loss)):
            site.counters["webhooks_lost"] += 1
            return
        entity_id, event = what
        payload: JsonObject = {
            "entityType": entity,
            "entityId": str(entity_id),
            "eventType": event,
            "eventTime": site.now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "payload": point_json(site, point) if charge is None else charge_json(site, charge),
        }
        for _ in range(faults.copies):
            spread_s = site.streams.between(0, _SHUFFLE_S) if faults.shuffled else 0.0
            self._add(event_type, payload, site.config.webhook_latency_s + faults.late_s + spread_s)

    def _add(self, event_type: str, payload: JsonObject, delay_s: float) -> None:
        self._last_id += 1
        ready_at = self._site.now + timedelta(seconds=delay_s)
        entry = Entry(self._last_id, event_type, payload, self._site.now, ready_at)
        self.waiting.append(entry)
        del self.waiting[:-MAX_ENTRIES]
        self.log[entry.id] = entry
        self.prune()
        self.on_entry()
