"""Sends what changed of a session to those who look at its page. Only when it did."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import field
from functools import partial

import structlog

from app.api.http.live import MAX_WAIT_S, SessionChanges, TooManyPolls, TooManyWaits
from app.domain.units.frozen import frozen
from app.domain.units.ids import KeyId, OperatorId, SessionId
from app.flows.admin.queries import session_versions
from app.flows.console.session import SessionRead, read_session
from app.flows.console.sign_in import still_signed_in
from app.flows.context import Context, SessionUnknown
from app.store.db import scope
from app.store.db.database import DATABASE_ERRORS

log = structlog.get_logger("console")

EVERY_S = 1.0
"""At most one update of a page in this time, and one look at who is still signed in."""
NONE_SEEN = -1
RETRY = b"retry: 2000\n\n"
QUIET = b": nothing new\n\n"
AWAY = b"event: away\ndata: {}\n\n"
OVER = b"event: over\ndata: {}\n\n"
DONE = b"event: done\ndata: {}\n\n"


@frozen(kw_only=True)
class SessionPage:
    """A session's page as far as it changes."""

    parts: Mapping[str, str]
    """HTML by the part's name."""
    lines: str
    """HTML of the new lines of the time line."""
    last_line: int
    told: str
    """What is new, in words for those who do not see the page."""


Shown = Callable[[SessionRead, int], SessionPage]
"""Renders what was read; of the time line only what follows this journal line."""

_UNREADABLE: tuple[type[Exception], ...] = (TooManyPolls, TooManyWaits, *DATABASE_ERRORS)
_VIEWERS = itertools.count(1)


@frozen(kw_only=True)
class Looking:
    """Who looks at which session. `token`: of the console session."""

    session_id: SessionId
    operator_id: OperatorId | None
    """Limits what is seen; None: nothing does."""
    key_id: KeyId
    token: str = field(repr=False)


class SessionStreams:
    """This process's open pages of single sessions. One query a second asks for all of them who is still signed in."""

    def __init__(self) -> None:
        self._looking: dict[int, Looking] = {}
        self._task: asyncio.Task[None] | None = None

    async def watch(
        self, context: Context, who: Looking, shown: Shown, after: int, news: SessionChanges
    ) -> AsyncGenerator[bytes, None]:
        """Sends changes until the session, the console session or the process ends. `after`: the last journal line
        that the page has."""
        me = next(_VIEWERS)
        self._looking[me] = who
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._let_go(context, news))
        seen, sent = NONE_SEEN, dict[str, str]()
        try:
            yield RETRY
            while me in self._looking and not news.closed:
                read = await self._next(context, who, me, seen, news)
                if read is None:
                    yield AWAY
                elif read.version == seen:
                    yield QUIET
                else:
                    page = shown(read, after)
                    yield _update(page, sent)
                    seen, after, sent = read.version, page.last_line, sent | dict(page.parts)
                if read is not None and not read.goes_on:
                    yield DONE
                    return
                await news.closed_within(EVERY_S)
            yield OVER
        finally:
            self._looking.pop(me, None)

    async def _next(
        self, context: Context, who: Looking, me: int, seen: int, news: SessionChanges
    ) -> SessionRead | None:
        """Reads the session once it has another version than `seen`, or after a while. None: it cannot be read now, or
        no longer by this viewer."""
        try:
            read = await news.wait_for(
                who.session_id,
                MAX_WAIT_S,
                partial(read_session, context, who.session_id, who.operator_id),
                lambda read: read.version != seen or me not in self._looking,
                partial(session_versions, context),
                by=who.key_id,
            )
        except SessionUnknown:
            self._looking.pop(me, None)
            return None
        except _UNREADABLE as error:
            log.warning("console_session_not_read", error=type(error).__name__)
            return None
        return read if me in self._looking else None

    async def _let_go(self, context: Context, news: SessionChanges) -> None:
        """Lets those go who are no longer signed in. While anyone looks."""
        scope.narrow(None)  # of every operator: the task was begun by the request of one
        while self._looking and not news.closed:
            try:
                valid = await still_signed_in(context, list({who.token for who in self._looking.values()}))
            except DATABASE_ERRORS as error:
                log.warning("console_viewers_not_checked", error=type(error).__name__)
            else:
                gone = [me for me, who in self._looking.items() if who.token not in valid]
                for me in gone:
                    news.notify(self._looking.pop(me).session_id)
            await news.closed_within(EVERY_S)


def _update(page: SessionPage, sent: Mapping[str, str]) -> bytes:
    """Encodes an event. With the parts that are not as they were sent before, and the new lines of the time line."""
    body = {
        "parts": {name: html for name, html in page.parts.items() if sent.get(name) != html},
        "lines": page.lines,
        "told": page.told if sent else "",
    }
    return (
        f"id: {page.last_line}\nevent: update\ndata: {json.dumps(body, separators=(',', ':'))}\n\n".encode()
    )
