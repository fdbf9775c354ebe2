"""Keeps the operator's token pair. Shared by all replicas, renewed by one at a time."""

import asyncio
import contextlib
from datetime import datetime, timedelta

from app.clock import Clock
from app.domain.units.ids import OperatorId
from app.monta.errors import NotDone, NotSent, OutcomeUnknown, Refused, Unauthorized
from app.monta.fields import date_of
from app.monta.ports import Credentials, Token, TokenStore
from app.monta.transport import Call, Transport, read_answer
from app.strict_json import JsonIn, dump_json

MARGIN = timedelta(seconds=60)
"""A pair is renewed this long before it expires. Until then replicas that do not renew keep using it."""

LAST_USE = timedelta(seconds=5)
"""A pair with less than this left is not used: it could expire on its way to Monta."""

LEASE = timedelta(seconds=15)
"""After this, another replica may renew: longer than two token calls, far shorter than `MARGIN`."""

WAIT_S = 20.0
"""Longest wait of a call for a token: above `LEASE`, so that the crash of a renewing replica is survived within
one call."""

POLL_S = 0.25
RETRY_AFTER = timedelta(seconds=10)
"""Backoff after a failed renewal. A valid pair is used meanwhile; refused credentials are not sent to Monta again
before."""

SHORTEST_LIFE = MARGIN + timedelta(seconds=30)
LONGEST_LIFE = timedelta(hours=24)
"""Longest lifetime accepted for a new pair, whatever date Monta writes. A 401 corrects the rest."""


class TokenKeeper:
    """Provides one operator's access token. No connection or lock of the store is held while Monta is called.

    Errors of the store pass through: they occur before anything is sent.
    """

    def __init__(
        self,
        *,
        exchange: Transport,
        store: TokenStore,
        clock: Clock,
        operator: OperatorId,
        credentials: Credentials,
    ) -> None:
        self._transport = exchange
        self._store = store
        self._clock = clock
        self._operator = operator
        self._credentials = credentials
        self._lock = asyncio.Lock()
        self._held: Token | None = None
        self._lead: tuple[int, datetime] | None = None
        self._retry_at: datetime | None = None
        self._refused: tuple[datetime, str] | None = None

    async def current(self) -> Token:
        """Returns a token that is still valid. Raises NotSent, QuotaExceeded, Unauthorized."""
        if self._held is not None and self._held.access_expires_at - MARGIN > self._clock.now():
            return self._held
        return await self._obtain(None)

    async def after_refusal(self, bad: Token) -> Token:
        """Returns a token other than `bad`, which Monta answered with 401. One renewed by another replica, or a new
        one. Raises NotSent, QuotaExceeded, Unauthorized."""
        return await self._obtain(bad.version)

    async def _obtain(self, bad: int | None) -> Token:
        give_up_at = (
            self._clock.monotonic() + WAIT_S
        )  # counted from before the lock, so that waiting calls do not add up
        async with self._lock:
            if self._refused is not None and self._clock.now() < self._refused[0]:
                raise Unauthorized(self._refused[1])
            while True:
                stored = await self._store.load(self._operator)
                good = stored if stored is not None and stored.version != bad else None
                if good is not None and self._serves(good):
                    self._held = good
                    return good
                late = self._clock.monotonic() >= give_up_at
                if not late and await self._leads(stored.version if stored else 0):
                    return await self._renewed_or(good, stored)
                if good is not None and self._is_alive(good):
                    return good
                if late:
                    raise NotSent(
                        "no token: its renewal does not come to an end", retry_at=self._clock.now() + LEASE
                    )
                await self._clock.sleep(POLL_S)

    def _serves(self, token: Token) -> bool:
        """Whether to use the pair without a renewal. It is fresh, or it is valid and a renewal failed just now."""
        now = self._clock.now()
        if token.access_expires_at - MARGIN > now:
            return True
        return self._retry_at is not None and now < self._retry_at and self._is_alive(token)

    def _is_alive(self, token: Token) -> bool:
        return token.access_expires_at - LAST_USE > self._clock.now()

    async def _leads(self, version: int) -> bool:
        """Whether this replica holds the renewal lease. It still does when its last try failed before the lease
        expired."""
        now = self._clock.now()
        if self._lead is not None and self._lead[0] == version and now < self._lead[1]:
            return True
        until = now + LEASE
        self._lead = (
            (version, until) if await self._store.lease_renewal(self._operator, version, until, now) else None
        )
        return self._lead is not None

    async def _renewed_or(self, good: Token | None, stored: Token | None) -> Token:
        try:
            pair = await self._fetch(stored)
        except NotDone:
            self._retry_at = self._clock.now() + RETRY_AFTER
            if good is not None and self._is_alive(good):
                return good
            raise
        self._held = await self._store.save(self._operator, pair)
        self._lead = self._retry_at = None
        return self._held

    async def _fetch(self, stored: Token | None) -> Token:
        """Fetches a new pair with the refresh token while valid. Otherwise, or when refused, with the credentials."""
        if stored is not None and stored.refresh and stored.refresh_expires_at - LAST_USE > self._clock.now():
            # Refresh tokens can be used once and may be lost with an answer; the credentials can always be used.
            with contextlib.suppress(Refused, Unauthorized, OutcomeUnknown):
                return await self._ask("/auth/refresh", {"refreshToken": stored.refresh})
        own = self._credentials
        try:
            return await self._ask(
                "/auth/token", {"clientId": own.client_id, "clientSecret": own.client_secret}
            )
        except (Refused, Unauthorized) as error:
            why = f"Monta does not take the operator's credentials ({error})"
            self._refused = self._clock.now() + RETRY_AFTER, why
            raise Unauthorized(why) from error
        except (
            OutcomeUnknown
        ) as error:  # only the token call was unknown; the call that needs the token was certainly not sent
            raise NotSent(f"no token: {error}") from error

    async def _ask(self, path: str, body: dict[str, str]) -> Token:
        bound = self._transport.timeouts.token_s
        secrets = tuple(body.values())
        call = Call(
            method="POST",
            path=path,
            name=f"POST {path}",
            total_s=bound,
            read_s=bound,
            body=dump_json(body),
            secrets=secrets,
        )
        pair = read_token(read_answer(await self._transport.send(call, access=None), call), self._clock.now())
        if pair is None:
            raise OutcomeUnknown(f"{call.name}: no usable token in the answer")
        return pair


def read_token(value: JsonIn, now: datetime) -> Token | None:
    """Reads a Token object (reference, Authentication). None without an access token that fits into a header."""
    fields = value if isinstance(value, dict) else {}
    access, refresh = fields.get("accessToken"), fields.get("refreshToken")
    if not isinstance(access, str) or not _fits_a_header(access):
        return None
    return Token(
        access=access,
        access_expires_at=_end(fields.get("accessTokenExpirationDate"), now),
        refresh=refresh if isinstance(refresh, str) and _fits_a_header(refresh) else "",
        refresh_expires_at=_end(fields.get("refreshTokenExpirationDate"), now),
    )


def _fits_a_header(text: str) -> bool:
    return 0 < len(text) <= 4096 and text.isascii() and text.isprintable() and " " not in text


def _end(value: JsonIn, now: datetime) -> datetime:
    stated = date_of(value) or now
    return min(max(stated, now + SHORTEST_LIFE), now + LONGEST_LIFE)
