"""Calls with keys of other terminals and other operators: each must be refused and change nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from app.clock import Clock
from tests.world.replica import Unanswered
from tests.world.story import Story
from tests.world.terminal import Api, TerminalLedger, card_of

EVERY_S = (5.0, 60.0)
PATIENCE_S = 10.0
REFUSED = frozenset({404, 503})
"""Not found, or not known at the moment since the database does not answer."""
SESSIONS, OPERATIONS = "/v1/payment-sessions", "/v1/ops/payment-sessions"
WHY = {"reason": "a mistake"}


@dataclass(frozen=True, slots=True)
class Keys:
    """What one operator has given out besides the key of the terminal that takes the payments."""

    sibling: str
    """Another terminal for the same charge points."""
    operations: str


@dataclass(frozen=True, slots=True)
class _Attempt:
    method: str
    path: str
    body: Any = None


class Outsiders:
    """Knows every session's id, reference and card, and none of their own keys."""

    def __init__(
        self,
        ledgers: list[TerminalLedger],
        keys: Mapping[int, Keys],
        *,
        api: Api,
        clock: Clock,
        rng: Random,
        story: Story,
    ) -> None:
        """`keys`: of each operator by its number."""
        self._ledgers = ledgers
        self._keys = keys
        self._api = api
        self._clock = clock
        self._rng = rng
        self._story = story

    async def live(self, times: int) -> None:
        for _ in range(times):
            await self._clock.sleep(self._rng.uniform(*EVERY_S))
            known = [ledger for ledger in self._ledgers if ledger.session_id is not None]
            if known:
                await self._try(self._rng.choice(known))

    async def _try(self, ledger: TerminalLedger) -> None:
        key, attempt = self._rng.choice(list(self._attempts(ledger)))
        try:
            answer = await self._api(
                attempt.method, attempt.path, key=key, body=attempt.body, headers={}, patience_s=PATIENCE_S
            )
        except Unanswered:
            return
        self._story.add("outsider", f"{attempt.method} {attempt.path} -> {answer.status_code}")
        with self._story.rule("a call with another's key finds nothing"):
            empty = answer.status_code == 200 and answer.json().get("data") == []
            assert empty or answer.status_code in REFUSED, f"{attempt}: {answer.status_code} {answer.text}"

    def _attempts(self, ledger: TerminalLedger) -> Iterator[tuple[str, _Attempt]]:
        """Every call that names the session, with every key that does not reach it."""
        own = ledger.payment.operator
        others = [keys for number, keys in self._keys.items() if number != own]
        for key in (self._keys[own].sibling, *(keys.sibling for keys in others)):
            yield from ((key, attempt) for attempt in _of_a_terminal(ledger))
        for keys in others:
            yield from ((keys.operations, attempt) for attempt in _of_operations(ledger))


def _of_a_terminal(ledger: TerminalLedger) -> Iterator[_Attempt]:
    payment, one = ledger.payment, f"{SESSIONS}/{ledger.session_id}"
    yield _Attempt("GET", one)
    yield _Attempt("GET", f"{SESSIONS}?reference={payment.reference}")
    yield _Attempt("POST", f"{one}/stop")
    yield _Attempt("POST", f"{one}/authorizations", {"reference": "B-more", "amount": 100})
    yield _Attempt("POST", f"{one}/captures", {"outcome": "captured", "amount": 1, "reference": "psp-B"})
    yield _Attempt("POST", "/v1/stop-requests", {"card_fingerprint": card_of(payment)})
    at_point = {"card_fingerprint": card_of(payment), "charge_point_id": str(payment.point)}
    yield _Attempt("POST", "/v1/stop-requests", at_point)


def _of_operations(ledger: TerminalLedger) -> Iterator[_Attempt]:
    one = f"{OPERATIONS}/{ledger.session_id}"
    for shown in (one, f"{one}/journal", f"{one}/captures"):
        yield _Attempt("GET", shown)
    yield _Attempt("GET", f"{OPERATIONS}?reference={ledger.payment.reference}")
    yield _Attempt("POST", f"{one}/stop", WHY)
    yield _Attempt("POST", f"{one}/settle", {"amount": 0} | WHY)
    yield _Attempt("POST", f"{one}/close", {"amount": 0} | WHY)
    yield _Attempt("POST", f"{one}/attention/shortfall/acknowledge", {"note": "seen"})
