"""app/monta/client: The client and the reading of webhooks against the independently written simulator."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import httpx
import pytest

from app.domain.charging.charge import ChargeReport, ChargeState
from app.domain.charging.charge_point import CurrentType
from app.domain.units.ids import ChargePointId, OperatorId
from app.monta.account import DeliveryStatus
from app.monta.client import MontaClient
from app.monta.errors import NotSent, OutcomeUnknown, QuotaExceeded, Refused
from app.monta.objects import StartCharge
from app.monta.ports import Credentials
from app.monta.webhook import read_delivery, signature_is_valid
from app.simulator.charge_points import MAGIC_POINTS, NORMAL_POINTS, PRICE_GROUPS
from app.simulator.config import SimulatorConfig
from app.simulator.faults.catalog import FaultKind
from app.simulator.simulator import Simulator
from tests.monta.memory import MemoryBudget, MemoryTokenStore
from tests.simulator_transport import SimulatorTransport
from tests.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

CONFIG = SimulatorConfig(points=NORMAL_POINTS + MAGIC_POINTS, price_groups=PRICE_GROUPS)
SECRET = "a secret of more than 16 characters"


class Rig:
    """The simulator, a client of it, and its webhook deliveries."""

    def __init__(self, config: SimulatorConfig = CONFIG) -> None:
        self.clock = VirtualClock()
        self.sim = Simulator(config, self.clock, self.receive)
        self.deliveries: list[tuple[bytes, str]] = []
        self.http = httpx.AsyncClient(transport=SimulatorTransport(self.sim))
        self.budget = MemoryBudget()
        self.tokens = MemoryTokenStore()

    def client(self, secret: str = CONFIG.client_secret) -> MontaClient:
        return MontaClient(
            http=self.http,
            clock=self.clock,
            tokens=self.tokens,
            budget=self.budget,
            operator=OperatorId("op_one"),
            credentials=Credentials("http://monta.test/api/v1", CONFIG.client_id, secret),
        )

    async def receive(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        by_name = {name.lower(): value for name, value in headers.items()}
        self.deliveries.append((body, by_name["x-monta-signature"]))
        return 200

    async def pass_time(self, seconds: float) -> None:
        until = self.clock.now() + timedelta(seconds=seconds)
        while (due := self.sim.next_event_at()) is not None and due <= until:
            self.clock.set(max(due, self.clock.now()))
            await self.sim.run_until(due)
        self.clock.set(until)
        await self.sim.run_until(until)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    async with rig.http:
        yield rig


def start(point: str, reference: str = "ps_01jd") -> StartCharge:
    return StartCharge(
        paying_team_id="4711",
        charge_point_id=ChargePointId(point),
        partner_external_id=reference,
        provider="acme-pay",
        external_id="K7QM-4TXP",
        card_brand="visa",
        card_last4="4242",
        kwh_limit=Decimal("12.35"),
        price_limit=Decimal("50.01"),
    )


async def test_a_charge_from_start_to_completed(rig: Rig) -> None:
    client = rig.client()
    started = await client.start_charge(start("106"))
    assert started.state is ChargeState.STARTING
    assert (started.charge_point_id, started.partner_external_id) == ("106", "ps_01jd")
    assert (started.kwh_limit, started.price_limit) == (Decimal("12.35"), Decimal("50.01"))
    await rig.pass_time(90)
    running = await client.get_charge(started.id)
    assert running.state is ChargeState.CHARGING
    assert running.energy_wh is not None
    assert running.energy_wh > 0
    assert (await client.stop_charge(started.id)).id == started.id
    await rig.pass_time(120)
    final = await client.get_charge(started.id)
    assert (final.state, final.currency) == (ChargeState.COMPLETED, "EUR")
    assert final.energy_wh is not None
    assert final.price is not None  # of the exact energy, while the report has two decimals of a kWh
    assert abs(final.price - Decimal(final.energy_wh) / 1000 * Decimal("0.79")) <= Decimal("0.01")
    assert [report.id for report in await client.find_charges("ps_01jd")] == [started.id]
    listing = await client.list_charges(rig.clock.now() - timedelta(hours=1))
    assert [report.id for report in listing.charges] == [started.id]
    assert listing.complete


async def test_its_webhooks_are_signed_and_tell_the_same_f44(rig: Rig) -> None:
    client = rig.client()
    config = await client.put_webhook_config("https://tap.example/v1/webhooks/monta/x", SECRET, ["charges"])
    assert config.event_types == ("charges",)
    assert await client.get_webhook_config() == config
    started = await client.start_charge(start("106"))
    await rig.pass_time(90)
    assert rig.deliveries
    reports: list[ChargeReport] = []
    for body, header in rig.deliveries:
        assert signature_is_valid(SECRET, body, header)
        assert not signature_is_valid(SECRET + "x", body, header)
        entries = read_delivery(body, rig.clock.now()).entries
        assert all(entry.problem is None and entry.dropped_fields == () for entry in entries)
        reports += [entry.charge for entry in entries if entry.charge is not None]
    assert {report.id for report in reports} == {started.id}
    newest = max(reports, key=lambda report: report.seen_at)
    read = await client.get_charge(started.id)
    assert replace(newest, seen_at=read.seen_at, arrived_at=read.arrived_at) == read
    logged = await client.webhook_entries(DeliveryStatus.COMPLETED)
    assert {entry.entry.entity_id for entry in logged} == {started.id}


@pytest.mark.parametrize("point", ["903", "905"])
async def test_a_start_whose_answer_is_lost_is_unknown_and_found_by_its_reference_f18_f21(
    rig: Rig, point: str
) -> None:
    client = rig.client()
    with pytest.raises(OutcomeUnknown):
        await client.start_charge(start(point))
    assert len(await client.find_charges("ps_01jd")) == 1
    assert rig.sim.counters["charges_created"] == 1


async def test_a_start_that_takes_effect_late_is_unknown_and_at_first_not_found_f20(rig: Rig) -> None:
    client = rig.client()
    with pytest.raises(OutcomeUnknown):
        await client.start_charge(start("904"))
    assert await client.find_charges("ps_01jd") == ()
    await rig.pass_time(60)
    assert len(await client.find_charges("ps_01jd")) == 1


async def test_two_charges_of_one_start_are_both_found_f23(rig: Rig) -> None:
    client = rig.client()
    started = await client.start_charge(start("921"))
    found = {report.id for report in await client.find_charges("ps_01jd")}
    assert started.id in found
    assert len(found) == 2


@pytest.mark.parametrize("point", ["901", "902", "77777"])
async def test_a_refused_start_is_certainly_not_done_f33(rig: Rig, point: str) -> None:
    client = rig.client()
    with pytest.raises(Refused) as raised:
        await client.start_charge(start(point))
    assert raised.value.status in {400, 404}
    assert raised.value.code is not None
    assert await client.find_charges("ps_01jd") == ()


async def test_a_wrapped_answer_is_taken(rig: Rig) -> None:
    assert (await rig.client().start_charge(start("922"))).partner_external_id == "ps_01jd"


async def test_a_throttled_start_waits_as_long_as_monta_says_f26(rig: Rig) -> None:
    client = rig.client()
    with pytest.raises(QuotaExceeded) as raised:
        await client.start_charge(start("919"))
    assert raised.value.retry_at == rig.clock.now() + timedelta(seconds=5)


async def test_an_unreachable_monta_is_not_sent_f30_f95(rig: Rig) -> None:
    client = rig.client()
    await client.me()
    rig.sim.faults.next("POST", "/charges", FaultKind.UNREACHABLE)
    with pytest.raises(NotSent):
        await client.start_charge(start("106"))
    assert (await client.start_charge(start("106"))).state is ChargeState.STARTING


async def test_tokens_that_have_ended_are_renewed_over_a_day_f27_f28(rig: Rig) -> None:
    client = rig.client()
    started = await client.start_charge(start("106"))
    for _ in range(26):
        await rig.pass_time(3600)
        assert (await client.get_charge(started.id)).id == started.id
    assert rig.tokens.saves >= 26


async def test_the_quota_of_the_simulator_and_our_own_agree(rig: Rig) -> None:
    client = rig.client()
    for _ in range(5):
        await client.me()
    seen = rig.budget.observed[-1]
    assert (seen.limit, seen.window_s) == (CONFIG.rate_limit, CONFIG.rate_window_s)
    assert seen.remaining is not None
    assert seen.remaining <= CONFIG.rate_limit - 5


async def test_charge_points_and_the_credential_are_read(rig: Rig) -> None:
    client = rig.client()
    points = {point.id: point for point in await client.list_charge_points()}
    assert len(points) == len(CONFIG.points)
    hpc = points[ChargePointId("106")]
    assert (hpc.type, hpc.max_power_w, hpc.price_group_id) == (CurrentType.DC, 300_000, "25")
    one = await client.get_charge_point(ChargePointId("106"))
    assert replace(one, updated_at=hpc.updated_at, seen_at=hpc.seen_at) == hpc
    me = await client.me()
    assert (me.client_id, me.rate_limit) == (CONFIG.client_id, CONFIG.rate_limit)
