"""Parses stored tariffs, each different text once."""

import json
from decimal import Decimal
from functools import lru_cache

from app.domain.tariff import Tariff, parse_tariff
from app.store.db.documents import StoredJson

KEPT = 1000
LONGEST_KEPT = 8192
"""Characters; together with KEPT it bounds the cache to some tens of megabytes, whatever terminals send."""


def parsed_tariff(text: str) -> Tariff:
    """Parses a tariff as stored; equal texts may share one Tariff. Raises ValueError."""
    return _cached(text) if len(text) <= LONGEST_KEPT else _parse(text)


def _parse(text: str) -> Tariff:
    stored = json.loads(text, parse_float=Decimal)
    return parse_tariff(StoredJson(stored, text) if isinstance(stored, dict) else stored)


_cached = lru_cache(maxsize=KEPT)(_parse)
