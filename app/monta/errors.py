"""Errors of Monta's Partner API, grouped by what the caller does next."""

from datetime import datetime
from enum import StrEnum

import httpx


class MontaError(Exception):
    """Base of all errors raised by a call to Monta. Messages never hold a secret or a body."""


class NotDone(MontaError):
    """Monta certainly did nothing. The call may be retried or dropped without a search."""

    def __init__(self, message: str, *, retry_at: datetime | None = None) -> None:
        super().__init__(message)
        self.retry_at = retry_at


class NotSent(NotDone):
    """Nothing left this process. There was no connection, no token, or a local refusal or a pool timeout.

    `permanent`: the same call would be refused again, so a retry is useless.
    """

    def __init__(self, message: str, *, retry_at: datetime | None = None, permanent: bool = False) -> None:
        super().__init__(message, retry_at=retry_at)
        self.permanent = permanent


class Refused(NotDone):
    """Monta answered 400, 403, 404, 409 or 422. `code`, `message` and `readable` are Monta's, truncated and
    scrubbed."""

    def __init__(
        self,
        call: str,
        status: int,
        *,
        code: str | None = None,
        message: str | None = None,
        readable: str | None = None,
    ) -> None:
        super().__init__(f"{call} refused by Monta with {status} {code or '(no code)'}")
        self.status = status
        self.code = code
        self.message = message
        self.readable = readable


class Unauthorized(NotDone):
    """Monta refuses a new token with 401, or the credentials."""


class QuotaExceeded(NotDone):
    """Monta answered 429, or our count of its quota is exhausted. `by_monta`: it was Monta. Free again at
    `retry_at`."""

    retry_at: datetime

    def __init__(self, message: str, *, retry_at: datetime, by_monta: bool) -> None:
        super().__init__(message, retry_at=retry_at)
        self.by_monta = by_monta


class OutcomeUnknown(MontaError):
    """Monta may or may not have done it: search, never retry blindly."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def refusal_of(error: MontaError) -> int | None:
    """Returns the status with which Monta certainly refused this call. None for every other error."""
    return error.status if isinstance(error, Refused) else None


def retry_at_of(error: MontaError) -> datetime | None:
    """Returns when the same call may be retried, where that is known."""
    return error.retry_at if isinstance(error, NotDone) else None


class Outcome(StrEnum):
    """What an HTTP status or an exception says about the call."""

    DONE = "done"
    NOT_SENT = "not_sent"
    REFUSED = "refused"
    UNAUTHORIZED = "unauthorized"
    QUOTA = "quota"
    UNKNOWN = "unknown"


OF_STATUS = {
    400: Outcome.REFUSED,
    401: Outcome.UNAUTHORIZED,
    403: Outcome.REFUSED,
    404: Outcome.REFUSED,
    409: Outcome.REFUSED,
    422: Outcome.REFUSED,
    429: Outcome.QUOTA,
}
"""Conclusive statuses other than 2xx. All others, 5xx in particular, leave the outcome unknown."""

OF_FAILURE: dict[type[Exception], Outcome] = {
    # Connection was never established, so no byte of the request was sent.
    httpx.ConnectError: Outcome.NOT_SENT,
    httpx.ConnectTimeout: Outcome.NOT_SENT,
    httpx.PoolTimeout: Outcome.NOT_SENT,
    httpx.UnsupportedProtocol: Outcome.NOT_SENT,
    httpx.InvalidURL: Outcome.NOT_SENT,
    # The request, or part of it, may have arrived.
    httpx.ReadError: Outcome.UNKNOWN,
    httpx.ReadTimeout: Outcome.UNKNOWN,
    httpx.WriteError: Outcome.UNKNOWN,
    httpx.WriteTimeout: Outcome.UNKNOWN,
    httpx.CloseError: Outcome.UNKNOWN,
    httpx.LocalProtocolError: Outcome.UNKNOWN,
    httpx.RemoteProtocolError: Outcome.UNKNOWN,
    httpx.ProxyError: Outcome.UNKNOWN,
    httpx.DecodingError: Outcome.UNKNOWN,
    httpx.TooManyRedirects: Outcome.UNKNOWN,
    httpx.HTTPStatusError: Outcome.UNKNOWN,
    httpx.StreamConsumed: Outcome.UNKNOWN,
    httpx.StreamClosed: Outcome.UNKNOWN,
    httpx.ResponseNotRead: Outcome.UNKNOWN,
    httpx.RequestNotRead: Outcome.UNKNOWN,
    httpx.CookieConflict: Outcome.UNKNOWN,
}
"""Every concrete exception of httpx. A test walks httpx's class tree and fails when one is missing here."""


def outcome_of(what: int | Exception) -> Outcome:
    """Classifies an HTTP status or exception of a call. Anything not listed is unknown.

    Source: Monta's reference on errors and quotas, and the project-wide classification. Not done: refused locally,
    connect error, pool timeout, 400/401/403/404/409/422/429. Done: 2xx. Unknown: everything else.
    """
    if isinstance(what, int):
        return Outcome.DONE if 200 <= what <= 299 else OF_STATUS.get(what, Outcome.UNKNOWN)
    known = (OF_FAILURE[cls] for cls in type(what).__mro__ if cls in OF_FAILURE)
    return next(known, Outcome.UNKNOWN)
