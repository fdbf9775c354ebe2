"""Orphan charges as a comparison with Monta's list records them."""

from app.domain.charging.charge import ChargeReport, ChargeState
from app.domain.charging.orphan import ListedCharge, Origin
from app.domain.units.ids import ChargeId, OperatorId
from app.store.db.database import Database
from app.store.operators import orphans
from tests.store.rows import NOW, OP_ONE, SECOND


async def find(
    database: Database, charge_id: str, state: ChargeState, after_s: int = 0, operator_id: OperatorId = OP_ONE
) -> None:
    report = ChargeReport(
        id=ChargeId(charge_id),
        state=state,
        seen_at=NOW + after_s * SECOND,
        updated_at=NOW,
        partner_external_id="ps_lost",
    )
    charge = ListedCharge(report, Origin(card_last4=None, display_reference=None))
    async with database.transaction() as connection:
        await orphans.keep(connection, operator_id, charge, objection=None)
