"""Interfaces that app.monta needs from the store. Shared tokens and a shared rate budget."""

from datetime import datetime
from enum import StrEnum
from typing import Protocol

from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId


@frozen
class Credentials:
    """An operator's Partner API credential. Never logged: its holder leaves `client_secret` out of the repr."""

    base_url: str
    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return f"Credentials(base_url={self.base_url!r}, client_id={self.client_id!r})"


@frozen
class Token:
    """A token pair shared by all replicas; `version` rises with each new pair."""

    access: str
    access_expires_at: datetime
    refresh: str
    refresh_expires_at: datetime
    version: int = 0

    def __repr__(self) -> str:
        return f"Token(version={self.version}, access_expires_at={self.access_expires_at.isoformat()})"


class TokenStore(Protocol):
    """One token pair for each operator, shared by all replicas. Encrypted at rest."""

    async def load(self, operator: OperatorId) -> Token | None:
        """Returns the current pair, or None when there never was one."""
        ...

    async def lease_renewal(self, operator: OperatorId, version: int, until: datetime, now: datetime) -> bool:
        """Leases the renewal of a token pair until `until`. The pair of `version` (0: none yet). False when another
        replica holds the lease or the pair is already newer."""
        ...

    async def save(self, operator: OperatorId, token: Token) -> Token:
        """Saves a new pair and ends the renewal lease. Returns the pair with its version."""
        ...


class Purpose(StrEnum):
    """Why a request is made. Decides how much of the budget it may use."""

    STOP = "stop"
    START = "start"
    SWEEP = "sweep"
    """One call that reads a hundred charges: ranks above a read, below a start."""
    READ = "read"


@frozen
class QuotaSeen:
    """Monta's rate-limit headers (Integration Notes). Requests per window, window length, remaining, seconds to the
    reset."""

    limit: int | None
    window_s: int | None
    remaining: int | None
    resets_in_s: int | None


class CredentialStatus(Protocol):
    """Whether Monta still takes an operator's credential."""

    async def refused(self, operator: OperatorId, why: str, now: datetime) -> None:
        """Records that a vital call was refused with 401 or 403. Then the credential gets checked."""
        ...


class Called(Protocol):
    """Counts the calls that were made."""

    def __call__(self, call: str, outcome: str) -> None:
        """One call has ended. `call`: its method and its path without ids; `outcome`: as app.monta.errors names it."""
        ...


class Budget(Protocol):
    """Monta's quota for one credential, counted exactly across all replicas."""

    async def take(self, operator: OperatorId, purpose: Purpose, now: datetime) -> datetime | None:
        """Counts one request. Returns None when granted, else the time at which to retry.

        A stop is granted even when the count is exhausted: if Monta refuses it nothing is lost, but holding it
        back because of a wrong count costs energy.
        """
        ...

    async def observe(self, operator: OperatorId, seen: QuotaSeen, now: datetime) -> None:
        """Corrects the count by Monta's headers."""
        ...

    async def agreed(self, operator: OperatorId, limit: int, window_s: int) -> None:
        """Counts with the quota that Monta names for the account, unless its headers have shown one."""
        ...

    async def block(self, operator: OperatorId, until: datetime, purpose: Purpose) -> None:
        """Blocks reads and starts on all replicas after a 429. Until `until`, for this purpose. Stops stay allowed,
        unless the 429 answered a stop: it may get through, and energy flows."""
        ...
