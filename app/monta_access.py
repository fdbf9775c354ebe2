"""Provides each operator's Monta client; all replicas share tokens and rate budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

import structlog

from app.clock import Clock
from app.domain.charging.charge import PriceUnit
from app.domain.units.frozen import frozen, replace
from app.domain.units.ids import OperatorId
from app.monta.client import MontaClient
from app.monta.ports import Called, Credentials, Purpose, QuotaSeen, Token, TokenStore
from app.monta.transport import Http, Timeouts
from app.store.db.database import Database
from app.store.db.group_commit import GroupCommit
from app.store.db.secret_box import SecretBox
from app.store.operators import jobs, monta_access
from app.store.operators.jobs import Job
from app.store.operators.monta_access import Quota, TokenPair
from app.store.operators.operators import Operator

log = structlog.get_logger("access")

DEFAULT_QUOTA = 1000
DEFAULT_WINDOW_S = 600
"""Window of Monta's usual quota in seconds (Integration Notes); replaced by Monta's headers."""

RESERVE = {
    Purpose.STOP: Decimal("0"),
    Purpose.START: Decimal("0.10"),
    Purpose.SWEEP: Decimal("0.20"),
    Purpose.READ: Decimal("0.30"),
}
"""Share of the quota that each purpose must leave unused, so that a stop always gets through."""

MAX_WINDOW_S = 86_400


class SharedTokens:
    """Implements monta.ports.TokenStore on PostgreSQL; each call is one short transaction."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box

    async def load(self, operator: OperatorId) -> Token | None:
        async with self._database.read(urgent=True) as connection:
            pair = await monta_access.load_tokens(connection, operator, self._box)
        if pair is None:
            return None
        return Token(pair.access, pair.access_expires_at, pair.refresh, pair.refresh_expires_at, pair.version)

    async def lease_renewal(self, operator: OperatorId, version: int, until: datetime, now: datetime) -> bool:
        async with self._database.transaction() as connection:
            return await monta_access.lease_renewal(connection, operator, version, until=until, now=now)

    async def save(self, operator: OperatorId, token: Token) -> Token:
        pair = TokenPair(0, token.access, token.access_expires_at, token.refresh, token.refresh_expires_at)
        async with self._database.transaction() as connection:
            version = await monta_access.save_tokens(connection, operator, pair, self._box)
        return Token(token.access, token.access_expires_at, token.refresh, token.refresh_expires_at, version)


class ReadOnlyTokens:
    """A command's token store, which never renews shared tokens. Uses the shared access token while valid and keeps
    renewals to itself. A command that ends while it holds the renewal lease would make all replicas wait for its
    expiry, and the shared refresh token, which can be used once, is left for the replicas."""

    def __init__(self, shared: SharedTokens) -> None:
        self._shared = shared

    async def load(self, operator: OperatorId) -> Token | None:
        shared = await self._shared.load(operator)
        return None if shared is None else replace(shared, refresh="")

    async def lease_renewal(self, operator: OperatorId, version: int, until: datetime, now: datetime) -> bool:
        return True

    async def save(self, operator: OperatorId, token: Token) -> Token:
        return token


@dataclass(slots=True, eq=False)
class _Request:
    """One request that waits for its grant."""

    now: datetime
    retry_at: datetime | None = None
    """Set when it was refused."""


class _NotAll(Exception):
    """The budget does not cover all joined requests. Each is counted by itself."""


class SharedBudget:
    """Implements monta.ports.Budget on PostgreSQL. One UPDATE of one row, which requests that come together share.

    The row is locked until its commit is on disk, so that one request after the other would wait for all before it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counted: dict[OperatorId, monta_access.Count] = {}
        self._groups: dict[tuple[OperatorId, Purpose], GroupCommit[_Request]] = {}
        self._corrections: dict[OperatorId, GroupCommit[Quota]] = {}
        self._shown: set[OperatorId] = set()
        """Whose quota answers name in their headers."""

    async def take(self, operator: OperatorId, purpose: Purpose, now: datetime) -> datetime | None:
        key = (operator, purpose)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = GroupCommit(partial(self._take, operator, purpose))
        request = _Request(now)
        await group.put(request)
        return request.retry_at

    async def _take(self, operator: OperatorId, purpose: Purpose, requests: Sequence[_Request]) -> None:
        urgent, now = purpose is Purpose.STOP, max(request.now for request in requests)
        async with self._database.transaction(urgent=urgent) as connection:
            if operator not in self._counted:
                await monta_access.open_budget(
                    connection, operator, quota=DEFAULT_QUOTA, window_s=DEFAULT_WINDOW_S, now=now
                )
            taken = await monta_access.take_requests(
                connection, operator, count=len(requests), reserve=RESERVE[purpose], urgent=urgent, now=now
            )
        if not isinstance(taken, datetime):
            self._counted[operator] = taken
        elif len(requests) == 1:
            requests[0].retry_at = taken
        else:
            raise _NotAll

    async def observe(self, operator: OperatorId, seen: QuotaSeen, now: datetime) -> None:
        if seen.limit is None or seen.remaining is None or seen.resets_in_s is None or seen.limit <= 0:
            return
        self._shown.add(operator)
        quota = Quota(
            total=seen.limit,
            window_s=min(max(seen.window_s or DEFAULT_WINDOW_S, 1), MAX_WINDOW_S),
            remaining=max(0, seen.remaining),
            ends_at=now + timedelta(seconds=min(max(seen.resets_in_s, 0), MAX_WINDOW_S)),
        )
        if self._is_known(operator, quota):
            return  # the usual case: saves a write for each call
        group = self._corrections.get(operator)
        if group is None:
            group = self._corrections[operator] = GroupCommit(partial(self._correct, operator))
        await group.put(quota)

    async def agreed(self, operator: OperatorId, limit: int, window_s: int) -> None:
        if operator in self._shown:
            return
        async with self._database.transaction() as connection:
            changed = await monta_access.agree_quota(
                connection, operator, quota=limit, window_s=min(window_s, MAX_WINDOW_S)
            )
        if changed is not None:
            self._counted[operator] = changed

    def _is_known(self, operator: OperatorId, quota: Quota) -> bool:
        counted = self._counted.get(operator)
        return counted is not None and counted.covers(quota)

    async def _correct(self, operator: OperatorId, seen: Sequence[Quota]) -> None:
        """Corrects the count once for all answers that came together. By the strictest figures of the last window."""
        strictest = monta_access.strictest(seen)
        if self._is_known(operator, strictest):
            return
        async with self._database.transaction() as connection:
            corrected = await monta_access.correct_budget(connection, operator, strictest)
        if corrected is not None:
            self._counted[operator] = corrected

    async def block(self, operator: OperatorId, until: datetime, purpose: Purpose) -> None:
        async with self._database.transaction() as connection:
            await monta_access.block_requests(connection, operator, until, stops_too=purpose is Purpose.STOP)


class SharedCredentialStatus:
    """Implements monta.ports.CredentialStatus on PostgreSQL: a refusal makes the operator's check due."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def refused(self, operator: OperatorId, why: str, now: datetime) -> None:
        async with self._database.transaction() as connection:
            if await jobs.has_rested(connection, operator, Job.CHECK_CREDENTIAL):
                log.warning("monta_refused_a_call", operator_id=operator, why=why)
                await jobs.make_due(connection, operator, Job.CHECK_CREDENTIAL, now)


CHECKED_S = 10.0
"""Seconds after which an operator's account is read again, so that changes reach every replica."""


@frozen
class _Made:
    """A client, and its operator as read last."""

    client: MontaClient
    operator: Operator
    checked_s: float


def _account(operator: Operator) -> tuple[str, ...]:
    return (operator.monta_url, operator.client_id, operator.client_secret, operator.price_unit)


class MontaAccess:
    """Makes one client for each operator when needed, and keeps it."""

    def __init__(
        self,
        *,
        http: Http,
        clock: Clock,
        database: Database,
        box: SecretBox,
        timeouts: Timeouts,
        called: Called,
    ) -> None:
        self._http = http
        self._called = called
        self._clock = clock
        self._timeouts = timeouts
        self._tokens = SharedTokens(database, box)
        self._budget = SharedBudget(database)
        self._credential_status = SharedCredentialStatus(database)
        self._clients: dict[OperatorId, _Made] = {}

    def known(self, operator_id: OperatorId) -> Operator | None:
        """Returns the operator as remembered; None: it must be read again."""
        made = self._clients.get(operator_id)
        fresh = made is not None and self._clock.monotonic() - made.checked_s < CHECKED_S
        return made.operator if made is not None and fresh else None

    def remember(self, operator: Operator) -> None:
        """Remembers an operator that was just read for CHECKED_S."""
        client = self.of(operator)
        self._clients[operator.id] = _Made(client, operator, self._clock.monotonic())

    def of(self, operator: Operator) -> MontaClient:
        """Returns the operator's client. A new one only when its account at Monta has changed."""
        made = self._clients.get(operator.id)
        if made is None or _account(made.operator) != _account(operator):
            made = _Made(self._client(operator, self._tokens), operator, self._clock.monotonic())
            self._clients[operator.id] = made
        return made.client

    def read_only(self, operator: Operator) -> MontaClient:
        """Returns a short-lived command's client. It never holds the shared renewal lease."""
        return self._client(operator, ReadOnlyTokens(self._tokens))

    def _client(self, operator: Operator, tokens: TokenStore) -> MontaClient:
        return MontaClient(
            http=self._http,
            clock=self._clock,
            tokens=tokens,
            budget=self._budget,
            operator=operator.id,
            credentials=Credentials(operator.monta_url, operator.client_id, operator.client_secret),
            timeouts=self._timeouts,
            price_unit=PriceUnit(operator.price_unit),
            credential_status=self._credential_status,
            called=self._called,
        )
