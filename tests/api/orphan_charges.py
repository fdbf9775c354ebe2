"""Charges at Monta whose session is lost, for the tests of the API."""

from app.domain.charging.charge import ChargeReport, ChargeState
from app.domain.charging.orphan import ListedCharge, Origin
from app.domain.units.ids import ChargeId
from app.store.operators import orphans
from tests.api.service import Service, Tenant

LOST = "ps_01kaq4nbt5y3v1z9c7p5a3s1df"


async def lose(service: Service, charge_id: str, whose: Tenant | None = None) -> None:
    """Records an orphan, of the first operator unless another is given."""
    now = service.context.clock.now()
    report = ChargeReport(
        id=ChargeId(charge_id),
        state=ChargeState.COMPLETED,
        seen_at=now,
        updated_at=now,
        partner_external_id=LOST,
        energy_wh=5310,
    )
    charge = ListedCharge(report, Origin(card_last4="4242", display_reference="K7QM-4TXP"))
    async with service.context.database.transaction() as connection:
        await orphans.keep(connection, (whose or service.one).operator.operator_id, charge, objection=None)
