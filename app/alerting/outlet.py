"""One way on which alerts reach operations."""

from datetime import datetime
from typing import Protocol

from app.domain.alerts.message import Message

TIMEOUT_S = 10.0
"""Of each connection, answer and SMTP command."""


class NotDelivered(Exception):
    """The receiver did not take the message; it is sent again later. Without the receiver's words."""


class Outlet(Protocol):
    """One way to operations."""

    @property
    def name(self) -> str: ...

    async def send(self, message: Message, now: datetime) -> None:
        """Delivers a message. Raises NotDelivered."""
        ...
