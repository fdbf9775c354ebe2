"""The demo's payment terminals and their bank. Taps, long polls, stops and captures, over public HTTP only."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import httpx
from pydantic import BaseModel

from app.api.models.sessions import CaptureOut, JournalOut, OpsSessionOut, Page, PaymentSessionOut
from app.demo.interrupts import DemoFailed
from app.demo.setup import Installation
from app.demo.stories import CURRENCY, Gesture, Story
from app.domain.session.settlement import SettlementAction
from app.domain.units.frozen import frozen
from app.domain.units.money import format_minor

WAIT_S = 20
"""Seconds of one long poll; the contract allows 30."""
CALL_S = 40.0
TRIES = 20
PAUSE_S = 0.5
NOT_NOW = frozenset({429, 503})

Model = TypeVar("Model", bound=BaseModel)


class Bank:
    """The card issuer: what is still held of each authorization. In minor units."""

    def __init__(self) -> None:
        self.held: dict[str, int] = {}

    def hold(self, reference: str, amount_minor: int) -> None:
        self.held[reference] = amount_minor

    def take(self, reference: str, amount_minor: int) -> None:
        """Captures or releases a part. More than is held is the gateway's error."""
        left = self.held[reference] - amount_minor
        if left < 0:
            raise DemoFailed(
                f"{reference}: {format_minor(-left, CURRENCY)} more than the hold is to be captured or released."
            )
        self.held[reference] = left


@frozen
class SessionUpdate:
    """A session as its terminal and as operations see it."""

    story: Story
    session: OpsSessionOut
    journal: Sequence[JournalOut]


OnUpdate = Callable[[SessionUpdate], None]


class Api:
    """A client of the public HTTP API, which retries errors. Every call is idempotent."""

    def __init__(self, http: httpx.AsyncClient, installation: Installation) -> None:
        self._http = http
        self._installation = installation

    async def terminal(
        self, method: str, path: str, *, body: Mapping[str, object] | None = None, prefer: str = ""
    ) -> PaymentSessionOut:
        answer = await self._call(method, path, self._installation.terminal_key, body=body, prefer=prefer)
        return PaymentSessionOut.model_validate_json(answer.content)

    async def session(self, session_id: str) -> OpsSessionOut:
        return await self._ops(OpsSessionOut, f"/v1/ops/payment-sessions/{session_id}")

    async def journal(self, session_id: str) -> list[JournalOut]:
        page = await self._ops(Page[JournalOut], f"/v1/ops/payment-sessions/{session_id}/journal?limit=1000")
        return page.data

    async def captures(self, session_id: str) -> list[CaptureOut]:
        page = await self._ops(Page[CaptureOut], f"/v1/ops/payment-sessions/{session_id}/captures")
        return page.data

    async def _ops(self, model: type[Model], path: str) -> Model:
        answer = await self._call("GET", path, self._installation.ops_key)
        return model.model_validate_json(answer.content)

    async def _call(
        self, method: str, path: str, key: str, *, body: Mapping[str, object] | None = None, prefer: str = ""
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} | ({"Prefer": prefer} if prefer else {})
        said = ""
        for _ in range(TRIES):
            try:
                answer = await self._http.request(
                    method, self._installation.api_url + path, json=body, headers=headers
                )
            except httpx.TransportError as error:
                said = type(error).__name__
            else:
                if answer.is_success:
                    return answer
                said = f"{answer.status_code}: {answer.text[:300]}"
                if answer.status_code not in NOT_NOW:
                    break
            await asyncio.sleep(PAUSE_S)
        raise DemoFailed(f"{method} {path.partition('?')[0]} was answered with {said}")


class Terminal:
    """Plays one story, from the tap to the confirmed capture. At a charge point."""

    def __init__(self, api: Api, bank: Bank, number: int, speed: float, on_update: OnUpdate) -> None:
        self._api = api
        self._bank = bank
        self._speed = speed
        self._on_update = on_update
        self.reference = f"DEMO-{number:04d}"
        self._card = {"brand": "visa", "last4": f"{4240 + number}", "fingerprint": f"demo card {number}"}

    async def play(self, story: Story) -> str:
        """Plays the story; returns the session's id when it is paid. Once the bank has done what the settlement says.
        Raises DemoFailed."""
        await asyncio.sleep(story.begins_after_s / self._speed)
        self._bank.hold(self.reference, story.amount_minor)
        session = await self._tap(story)
        await self._report(story, session.id)
        done = story.gesture is Gesture.NOTHING
        while session.settlement is None:
            if not done and session.energy_wh >= story.gesture_from_wh:
                await self._gesture(story.gesture, session.id)
                done = True
            session = await self._news_of(session)
            await self._report(story, session.id)
        await self._settle(session)
        await self._report(story, session.id)
        return session.id

    async def _tap(self, story: Story) -> PaymentSessionOut:
        held = {
            "reference": self.reference,
            "amount": story.amount_minor,
            "currency": CURRENCY,
            "card": self._card,
        }
        body = {"charge_point_id": story.charge_point_id, "authorization": held}
        return await self._api.terminal("POST", "/v1/payment-sessions", body=body)

    async def _news_of(self, session: PaymentSessionOut) -> PaymentSessionOut:
        path = f"/v1/payment-sessions/{session.id}?wait={WAIT_S}&version={session.version}"
        return await self._api.terminal("GET", path)

    async def _gesture(self, gesture: Gesture, session_id: str) -> None:
        if gesture is Gesture.CARD_AGAIN:
            shown = {"card_fingerprint": self._card["fingerprint"]}
            await self._api.terminal("POST", "/v1/stop-requests", body=shown)
        else:
            await self._api.terminal("POST", f"/v1/payment-sessions/{session_id}/stop")

    async def _settle(self, session: PaymentSessionOut) -> None:
        """Captures and releases at the bank first, then reports it to Tapwatt."""
        settled = session.settlement
        if settled is None:
            return
        parts = [("released", settled.amount_to_release)]
        if settled.action is SettlementAction.CAPTURE:
            parts.insert(0, ("captured", settled.amount_to_capture))
        for outcome, amount in parts:
            if amount:
                self._bank.take(self.reference, amount)
                body = {"outcome": outcome, "amount": amount, "reference": f"{self.reference}-{outcome}"}
                await self._api.terminal("POST", f"/v1/payment-sessions/{session.id}/captures", body=body)

    async def _report(self, story: Story, session_id: str) -> None:
        session, journal = await asyncio.gather(self._api.session(session_id), self._api.journal(session_id))
        self._on_update(SessionUpdate(story, session, journal))
