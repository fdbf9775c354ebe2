"""A terminal and its PSP: holds money, reports it to Tapwatt, polls for the settlement, and carries it out."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Protocol

import httpx

from app.clock import Clock
from tests.world.plan import TOP_UP, Payment
from tests.world.replica import Unanswered
from tests.world.story import Story

Json = dict[str, Any]
MAX_TRIES = 40
POLL_S = (60.0, 400.0)
REFUSED_CLOCK_S = 86_400
SHORTEST_HOLD_S = 120
GIVES_UP = frozenset({400, 401, 404, 409, 422})


def card_of(payment: Payment) -> str:
    """The card's fingerprint as every terminal reads it."""
    return f"card of {payment.reference}"


class SessionLost(Exception):
    """Tapwatt no longer knows the session."""


class Api(Protocol):
    """Tapwatt's address: some replica answers, or none does."""

    async def __call__(
        self,
        method: str,
        path: str,
        *,
        key: str,
        body: Any = None,
        headers: dict[str, str],
        patience_s: float,
    ) -> httpx.Response: ...


@dataclass(slots=True)
class TerminalLedger:
    """What the PSP holds for one payment, and the answers that the terminal got."""

    payment: Payment
    authorized: dict[str, int] = field(default_factory=dict)
    """Hold by hold, in minor units; those that were acknowledged."""
    session_id: str | None = None
    """Set as soon as Tapwatt has acknowledged the session."""
    refused: str | None = None
    shown: list[Json] = field(default_factory=list)
    asked_to_stop_at: datetime | None = None
    """When Tapwatt acknowledged that it was asked to stop."""
    captured: int | None = None
    forgotten: bool = False
    """A restored backup does not have the session."""
    told: list[int] = field(default_factory=list)
    """Statuses of all answers."""

    def database_went_back(self, amount: int | None) -> None:
        """Forgets earlier answers after a restore; `amount` is the authorization as it is known now, if it is."""
        self.shown.clear()
        self.asked_to_stop_at = self.captured = None
        self.forgotten = self.session_id is not None and amount is None
        self.authorized = {} if amount is None else {self.payment.reference: amount}


class Terminal:
    """One payment at its terminal. Every answer is kept in the ledger."""

    def __init__(
        self, payment: Payment, *, api: Api, key: str, clock: Clock, rng: Random, story: Story
    ) -> None:
        self.ledger = TerminalLedger(payment)
        self._api = api
        self._key = key
        self._clock = clock
        self._rng = rng
        self._story = story

    @property
    def name(self) -> str:
        return f"terminal {self.ledger.payment.reference}"

    async def live(self) -> None:
        payment = self.ledger.payment
        await self._clock.sleep(payment.at_s)
        callers = 2 if payment.hasty else 1
        if not any(await asyncio.gather(*(self._authorize(payment.key) for _ in range(callers)))):
            return
        for n in range(payment.repeats):
            await self._clock.sleep(self._rng.uniform(0, 60))
            await self._authorize(payment.key if n == 0 else None)
        if payment.vanishes:
            return
        await self._raise_and_lower()
        if payment.cancels_after_s is not None:
            await self._clock.sleep(payment.cancels_after_s)
            answer = await self._insist("POST", f"/v1/payment-sessions/{self.ledger.session_id}/stop")
            if answer is not None and answer.status_code == 202:
                self.ledger.asked_to_stop_at = self._clock.now()
        await self._follow()

    async def _authorize(self, key: str | None) -> bool:
        """Calls until there is a conclusive answer; returns whether a session runs for this payment."""
        payment, ledger = self.ledger.payment, self.ledger
        held: Json = {"reference": payment.reference, "amount": payment.amount, "currency": "EUR"}
        held["card"] = {"fingerprint": card_of(payment)}
        body = {"charge_point_id": str(payment.point), "authorization": held | self._dates()}
        headers = {"Idempotency-Key": key} if key else {}
        answer = await self._insist("POST", "/v1/payment-sessions", body=body, headers=headers)
        if answer is None or answer.status_code not in (200, 201):
            if ledger.session_id is None:
                ledger.refused = "no answer" if answer is None else answer.json()["code"]
            return False
        self._acknowledged(answer.json())
        return True

    def _dates(self) -> Json:
        """The time by the terminal's clock, anew at each call."""
        payment, dates = self.ledger.payment, {}
        now = self._clock.now() + timedelta(seconds=payment.clock_off_s or 0)
        if payment.clock_off_s is not None:
            dates["authorized_at"] = now.isoformat()
        if payment.hold_s is not None:
            dates["expires_at"] = (now + timedelta(seconds=payment.hold_s)).isoformat()
        return dates

    @property
    def _has_wrong_dates(self) -> bool:
        """Whether its clock is so wrong that the hold that it dates is refused, or seems to end too soon."""
        off_s, hold_s = self.ledger.payment.clock_off_s or 0, self.ledger.payment.hold_s
        return abs(off_s) > REFUSED_CLOCK_S or (hold_s is not None and hold_s + off_s < SHORTEST_HOLD_S)

    def _acknowledged(self, session: Json) -> None:
        ledger = self.ledger
        if ledger.forgotten and ledger.session_id != session["id"]:
            self._story.add(self.name, "begins anew: its session is lost")
            ledger.session_id, ledger.forgotten = None, False
            ledger.authorized.clear()
        with self._story.rule("one session per reference"):
            assert ledger.session_id in (None, session["id"]), f"{ledger.session_id} and {session['id']}"
        ledger.session_id = session["id"]
        ledger.authorized.setdefault(ledger.payment.reference, ledger.payment.amount)
        self._see(session)

    async def _raise_and_lower(self) -> None:
        payment = self.ledger.payment
        if payment.tops_up_after_s is not None:
            await self._clock.sleep(payment.tops_up_after_s)
            for number in range(payment.top_ups):
                await self._top_up(f"{payment.reference}-more-{number}")
        for wait_s, total in payment.totals:
            await self._clock.sleep(wait_s)
            await self._change_hold(total)

    async def _top_up(self, reference: str) -> None:
        path = f"/v1/payment-sessions/{self.ledger.session_id}/authorizations"
        answer = await self._insist("POST", path, body={"reference": reference, "amount": TOP_UP})
        if answer is not None and answer.status_code in (200, 201):
            self.ledger.authorized[reference] = TOP_UP
            self._see(answer.json())

    async def _change_hold(self, total: int) -> None:
        """Lowers the hold at the PSP once that is recorded, and raises it before."""
        path, reference = (
            f"/v1/payment-sessions/{self.ledger.session_id}/authorizations",
            self.ledger.payment.reference,
        )
        answer = await self._insist("POST", path, body={"reference": reference, "amount_total": total})
        if answer is not None and answer.status_code == 200:
            self.ledger.authorized[reference] = total
            self._see(answer.json())

    async def _follow(self) -> None:
        """Polls until there is a settlement, carries it out, and reports it until that is acknowledged."""
        path = f"/v1/payment-sessions/{self.ledger.session_id}"
        try:
            while (settlement := await self._settlement(path)) is None:
                await self._clock.sleep(self._rng.uniform(*POLL_S))
        except SessionLost:
            self._story.add(self.name, "gives up: operations must settle it")
            return
        amount = settlement["amount_to_capture"]
        self.ledger.captured = amount
        outcome = "captured" if settlement["action"] == "capture" else "released"
        self._story.add(self.name, f"the PSP has {outcome} {amount}")
        report = {"outcome": outcome, "amount": amount, "reference": f"psp-{self.ledger.payment.reference}"}
        await self._insist("POST", f"{path}/captures", body=report)

    async def _settlement(self, path: str) -> Json | None:
        answer = await self._ask("GET", path)
        if answer is not None and answer.status_code == 404:
            with self._story.rule("no acknowledged session is lost"):
                assert self.ledger.forgotten, f"{path} is unknown"
            raise SessionLost
        if answer is None or answer.status_code != 200:
            return None
        self._see(answer.json())
        settlement: Json | None = answer.json()["settlement"]
        return settlement

    def _see(self, session: Json) -> None:
        self.ledger.shown.append(session)

    async def _insist(
        self, method: str, path: str, *, body: Any = None, headers: dict[str, str] | None = None
    ) -> httpx.Response | None:
        """Retries after no answer or a 5xx; None after MAX_TRIES."""
        for _ in range(MAX_TRIES):
            answer = await self._ask(method, path, body=body, headers=headers)
            if answer is not None and (answer.is_success or answer.status_code in GIVES_UP):
                return answer
            await self._clock.sleep(self._rng.uniform(1, 15))
        return None

    async def _ask(
        self, method: str, path: str, *, body: Any = None, headers: dict[str, str] | None = None
    ) -> httpx.Response | None:
        try:
            answer = await self._api(
                method,
                path,
                key=self._key,
                body=body,
                headers=headers or {},
                patience_s=self.ledger.payment.patience_s,
            )
        except Unanswered as error:
            self._story.add(self.name, f"{method} {path}: {error}")
            return None
        self._story.add(self.name, f"{method} {path} -> {answer.status_code}")
        self.ledger.told.append(answer.status_code)
        with self._story.rule("the API never fails of its own"):
            assert answer.status_code != 500, answer.text
        with self._story.rule("what terminals say is understood"):
            understood = answer.status_code < 400 or answer.json()["code"] != "invalid_request"
            assert understood or self._has_wrong_dates, answer.text
        return answer
