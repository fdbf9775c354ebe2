"""Recognizes reports of a charge that differ in its course only."""

from datetime import datetime
from decimal import Decimal
from hashlib import blake2b

import msgspec

_ENCODE = msgspec.json.Encoder().encode


def said(
    charge_point_id: str | None,
    currency: str | None,
    *values: Decimal | datetime | None,
) -> str:
    """Hashes what Monta says of a charge beside its course. Equal where all of it is, 32 hex digits. `values`: price
    limit, kWh limit, and when it was created, started and plugged in."""
    return blake2b(_ENCODE((charge_point_id, currency, values)), digest_size=16).hexdigest()
