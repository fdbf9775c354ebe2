"""A client of the fake Monta with everything around it in memory."""

from dataclasses import dataclass
from decimal import Decimal

import httpx

from app.domain.charging.charge import PriceUnit
from app.domain.units.ids import ChargePointId, OperatorId
from app.monta.client import MontaClient
from app.monta.objects import StartCharge
from app.monta.ports import Credentials
from app.monta.transport import Timeouts
from tests.monta.fake_monta import CREDENTIALS, FakeMonta, Line
from tests.monta.idle_clock import IdleClock
from tests.monta.memory import MemoryBudget, MemoryTokenStore

OPERATOR = OperatorId("op_one")


@dataclass
class Rig:
    """One replica, or several: `replica()` makes one more client on the same store and budget."""

    clock: IdleClock
    monta: FakeMonta
    line: Line
    http: httpx.AsyncClient
    tokens: MemoryTokenStore
    budget: MemoryBudget

    def replica(
        self,
        *,
        credentials: Credentials = CREDENTIALS,
        timeouts: Timeouts | None = None,
        price_unit: PriceUnit = PriceUnit.MAJOR,
        http: httpx.AsyncClient | None = None,
    ) -> MontaClient:
        return MontaClient(
            http=http or self.http,
            clock=self.clock,
            tokens=self.tokens,
            budget=self.budget,
            operator=OPERATOR,
            credentials=credentials,
            timeouts=timeouts,
            price_unit=price_unit,
        )


def make_rig() -> Rig:
    clock = IdleClock()
    monta = FakeMonta(clock)
    line = Line(monta)
    return Rig(
        clock,
        monta,
        line,
        httpx.AsyncClient(transport=line, follow_redirects=True),
        MemoryTokenStore(),
        MemoryBudget(),
    )


START = StartCharge(
    paying_team_id="14",
    charge_point_id=ChargePointId("101"),
    partner_external_id="ps_01jd",
    provider="acme-pay",
    external_id="K7QM-4TXP",
    kwh_limit=Decimal("12.35"),
    price_limit=Decimal("50"),
)


def row(number: int, external_id: str | None = "ps_01jd", **more: object) -> dict[str, object]:
    return {"id": number, "state": "charging", "partnerExternalId": external_id, **more}
