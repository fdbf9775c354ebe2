"""What a terminal tells when a payment was authorized, and how two tellings of it are known to be the same."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.ids import ChargePointId
from app.domain.payment_session import Authorization
from app.domain.tariff import Tariff


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentAuthorized:
    """What a terminal says: so much is held on a card for a charge at this charge point."""

    charge_point_id: ChargePointId
    authorization: Authorization
    display_reference: str | None = None
    energy_limit_wh: int | None = None
    tariff: Tariff | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None

    def fingerprint(self) -> bytes:
        """Equal for the same contents, whatever their order or spelling.

        The Idempotency-Key is no content, nor are times: a terminal that tells of a payment again may take them anew.
        """
        held = self.authorization
        contents = {
            "charge_point_id": self.charge_point_id,
            "authorization": [
                held.reference,
                held.amount_minor,
                held.currency,
                held.card.brand,
                held.card.last4,
                held.card.fingerprint,
                held.card.account_reference,
            ],
            "display_reference": self.display_reference,
            "energy_limit_wh": self.energy_limit_wh,
            "tariff": self.tariff.source if self.tariff else None,
            "metadata": dict(self.metadata),
        }
        return hashlib.sha256(json.dumps(contents, sort_keys=True, default=str).encode()).digest()
