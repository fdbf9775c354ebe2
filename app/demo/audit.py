"""Checks that the demo's sessions, holds and prices add up."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import httpx

from app.api.models.sessions import CaptureOut, JournalOut, OpsSessionOut
from app.demo.interrupts import DemoFailed
from app.demo.setup import Installation
from app.demo.stories import Story
from app.demo.wording import money
from app.domain.session.settlement import CaptureOutcome, SettlementStatus
from app.domain.session.states.journal import JournalKind
from app.domain.units.frozen import frozen
from app.strict_json import load_json

MAX_BYTES = 1_000_000


@frozen(kw_only=True)
class MontaCharge:
    """One charge in Monta's records; `price` in major units."""

    id: str
    state: str
    price: Decimal | None


@frozen(kw_only=True)
class Account:
    """All facts about one session at the end; amounts in minor units."""

    story: Story
    session: OpsSessionOut
    journal: Sequence[JournalOut]
    captures: Sequence[CaptureOut]
    charges: Sequence[MontaCharge]
    still_held: int

    @property
    def captured(self) -> int:
        return self._reported(CaptureOutcome.CAPTURED)

    @property
    def released(self) -> int:
        return self._reported(CaptureOutcome.RELEASED)

    @property
    def monta_price(self) -> Decimal:
        """Monta's price of all charges of this session."""
        return sum((charge.price or Decimal(0) for charge in self.charges), Decimal(0))

    @property
    def posts(self) -> int:
        """Number of POST /charges sent to Monta."""
        return self._lines(JournalKind.START_INTENDED) - self._lines(JournalKind.START_NOT_DONE)

    def problems(self) -> Iterator[str]:
        """Yields everything that does not add up, in words."""
        yield from self._money_problems()
        yield from self._story_problems()

    def _money_problems(self) -> Iterator[str]:
        authorized = self.session.amount_authorized
        if self.captured + self.released != authorized:
            yield f"captured {money(self.captured)} + released {money(self.released)} is not {money(authorized)}"
        if self.still_held:
            yield f"{money(self.still_held)} are still held"
        if self.monta_price * 100 != self.captured:
            yield f"captured {money(self.captured)}, but Monta's price is {self.monta_price}"
        settled = self.session.settlement
        if settled is None or settled.status is not SettlementStatus.CONFIRMED:
            yield "the settlement is not confirmed"
        elif settled.shortfall:
            yield f"{money(settled.shortfall)} beyond the authorization"
        if self.session.needs_attention:
            yield f"it needs attention: {', '.join(item.code for item in self.session.attention)}"
        running = [charge.id for charge in self.charges if charge.state != "completed"]
        if running:
            yield f"at Monta these charges have not ended: {', '.join(running)}"

    def _story_problems(self) -> Iterator[str]:
        session, ending = self.session, self.story.ending
        found = (session.status, session.stop_reason, session.not_started_reason)
        wanted = (ending.status, ending.stop_reason, ending.not_started_reason)
        if found != wanted:
            yield f"it ended {_ways(found)}, not {_ways(wanted)}"
        if self.posts != 1:
            yield f"POST /charges was sent {self.posts} times"
        if len(self.charges) != ending.charges:
            yield f"Monta has {len(self.charges)} charges for it, not {ending.charges}"
        if session.stop_attempts < ending.least_stops:
            yield f"{session.stop_attempts} stops were sent, not {ending.least_stops}"
        if not ending.webhooks and any(line.source == "monta_webhook" for line in self.journal):
            yield "a webhook came, though all are lost"
        yield from (f"its journal has no {kind}" for kind in ending.proof if not self._lines(kind))

    def _reported(self, outcome: CaptureOutcome) -> int:
        return sum(capture.amount for capture in self.captures if capture.outcome == outcome)

    def _lines(self, kind: JournalKind) -> int:
        return sum(line.kind == kind for line in self.journal)


class MontaBooks:
    """Reads Monta's Partner API with the operator's credential, independently of Tapwatt."""

    def __init__(self, http: httpx.AsyncClient, installation: Installation) -> None:
        self._http = http
        self._installation = installation
        self._token = ""

    async def charges_of(self, session_id: str) -> list[MontaCharge]:
        """Returns each charge that carries the session's id, from its own record."""
        found = await self._get(f"/charges?partnerExternalId={session_id}&perPage=100")
        rows = found.get("data")
        ids = [row["id"] for row in rows] if isinstance(rows, list) else []
        return [await self._charge(str(number)) for number in ids]

    async def _charge(self, charge_id: str) -> MontaCharge:
        record = await self._get(f"/charges/{charge_id}")
        price = record.get("price")
        return MontaCharge(
            id=charge_id, state=str(record.get("state")), price=None if price is None else Decimal(str(price))
        )

    async def _get(self, path: str) -> Mapping[str, object]:
        if not self._token:
            body = {
                "clientId": self._installation.client_id,
                "clientSecret": self._installation.client_secret,
            }
            answer = await self._http.post(f"{self._installation.monta_url}/auth/token", json=body)
            self._token = str(_object(answer).get("accessToken"))
        bearer = {"Authorization": f"Bearer {self._token}"}
        return _object(await self._http.get(self._installation.monta_url + path, headers=bearer))


def _ways(ending: tuple[str | None, ...]) -> str:
    return " / ".join(word for word in ending if word)


def _object(answer: httpx.Response) -> Mapping[str, object]:
    found = load_json(answer.content, max_bytes=MAX_BYTES)
    if not answer.is_success or not isinstance(found, dict):
        raise DemoFailed(f"The simulator answered {answer.request.url.path} with {answer.status_code}.")
    return found
