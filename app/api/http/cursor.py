"""Encodes where the next page of a list begins, as opaque text."""

import base64
import binascii
from datetime import UTC, datetime

from app.api.http.problems import Problem


def to_cursor(created_at: datetime, session_id: str) -> str:
    return base64.urlsafe_b64encode(f"{created_at.isoformat()} {session_id}".encode()).decode()


def from_cursor(cursor: str | None) -> tuple[datetime, str] | None:
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor.encode()).decode("ascii")
        moment, session_id = text.split(" ")
        if not session_id.isprintable():
            raise ValueError
        return datetime.fromisoformat(moment).astimezone(UTC), session_id
    except (binascii.Error, ValueError, OverflowError):
        wrong = {"field": "cursor", "message": "use the next_cursor of the page before as it is"}
        raise Problem("invalid_request", "The cursor is not one of ours.", errors=[wrong]) from None
