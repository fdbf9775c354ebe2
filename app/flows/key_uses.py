"""Remembers when API keys were used, until that is written. In this process."""

from datetime import datetime

from app.domain.units.ids import KeyId
from app.store.operators.keys import USE_RECORDED, KeyUse

MOST_KEYS = 10_000


class KeyUses:
    """Last uses of keys: noted by requests, written beside them."""

    def __init__(self) -> None:
        self._noted: dict[KeyId, datetime] = {}
        self._unwritten: dict[KeyId, KeyUse] = {}

    def note(self, key_id: KeyId, now: datetime, address: str | None) -> None:
        """Notes a use, once in USE_RECORDED for each key."""
        last = self._noted.get(key_id)
        if last is not None and now - last < USE_RECORDED:
            return
        if len(self._noted) >= MOST_KEYS:
            self._noted.clear()
        self._noted[key_id] = now
        self._unwritten[key_id] = KeyUse(key_id, now, address)

    def take(self) -> list[KeyUse]:
        """Returns the uses that were not written yet, and forgets them."""
        uses, self._unwritten = list(self._unwritten.values()), {}
        return uses
