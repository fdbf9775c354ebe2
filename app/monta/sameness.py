"""Tells apart reports of one charge that differ in more than its course."""

import hashlib
from datetime import datetime
from decimal import Decimal

import msgspec

_ENCODE = msgspec.json.Encoder().encode


def said(
    charge_point_id: str | None,
    currency: str | None,
    *values: Decimal | datetime | None,
) -> str:
    """Stands for what Monta says of a charge that does not change in its course: equal where all of it is, 32 hex
    digits. `values`: price limit, kWh limit, and when it was created, started and plugged in."""
    return hashlib.blake2b(_ENCODE((charge_point_id, currency, values)), digest_size=16).hexdigest()
