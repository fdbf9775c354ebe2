"""What app.monta needs from the store: a shared token and a shared rate budget."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from app.domain.units.ids import OperatorId


@dataclass(frozen=True, slots=True)
class Credentials:
    """An operator's Partner API credential. Never logged: `client_secret` is left out of the repr by its
    holder."""

    base_url: str
    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return f"Credentials(base_url={self.base_url!r}, client_id={self.client_id!r})"


@dataclass(frozen=True, slots=True)
class Token:
    """A token pair as shared by all replicas; `version` rises with each new pair."""

    access: str
    access_expires_at: datetime
    refresh: str
    refresh_expires_at: datetime
    version: int = 0

    def __repr__(self) -> str:
        return f"Token(version={self.version}, access_expires_at={self.access_expires_at.isoformat()})"


class TokenStore(Protocol):
    """One token pair for each operator, shared by all replicas (encrypted at rest)."""

    async def load(self, operator: OperatorId) -> Token | None:
        """The current pair, or None when there never was one."""
        ...

    async def lease_renewal(self, operator: OperatorId, version: int, until: datetime, now: datetime) -> bool:
        """Become the only one to renew the pair of `version` (0: none yet) until `until`; False: another is
        at it, or the pair is already newer."""
        ...

    async def save(self, operator: OperatorId, token: Token) -> Token:
        """Keep a new pair, end the lead; returns it with its version."""
        ...


class Purpose(StrEnum):
    """Why a request is made; decides how deep into the budget it may reach."""

    STOP = "stop"
    START = "start"
    SWEEP = "sweep"
    """One call that reads a hundred charges: worth more than a read, less than a start."""
    READ = "read"


@dataclass(frozen=True, slots=True)
class QuotaSeen:
    """What Monta's rate-limit headers said (NOTES): requests a window, window length, remaining, seconds to
    the reset."""

    limit: int | None
    window_s: int | None
    remaining: int | None
    resets_in_s: int | None


class CredentialStatus(Protocol):
    """Whether Monta still takes an operator's credential."""

    async def refused(self, operator: OperatorId, why: str, now: datetime) -> None:
        """A call that the service lives by was refused with 401 or 403: somebody is to find out whether for good."""
        ...


class Budget(Protocol):
    """Monta's quota for one credential, counted exactly over all replicas."""

    async def take(self, operator: OperatorId, purpose: Purpose, now: datetime) -> datetime | None:
        """Count one request. None: granted. A time: not granted, ask again then.

        A stop is granted though the count is used up: refused, it costs nothing; held back by a count that is
        wrong, it costs energy.
        """
        ...

    async def observe(self, operator: OperatorId, seen: QuotaSeen, now: datetime) -> None:
        """Correct the count by what Monta says."""
        ...

    async def block(self, operator: OperatorId, until: datetime, purpose: Purpose) -> None:
        """Monta said 429 to a request of this purpose: no read and no start goes out before `until`, on any
        replica. A stop does, unless it was a stop that was refused: it may be let through, and energy flows."""
        ...
