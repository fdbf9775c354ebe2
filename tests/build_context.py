"""The one builder of the service under test: its context, with a transport in place of Monta's network."""

from collections.abc import Sequence
from random import Random

import httpx

from app.api.event_views import Views
from app.clock import Clock
from app.domain.limit.policy import Policy
from app.flows.context import Context
from app.monta.transport import Timeouts
from app.monta_access import MontaAccess
from app.store.db.database import Database
from app.store.db.secret_box import SecretBox
from app.store.operators.operators import Operators
from app.telemetry import ProcessTelemetry
from app.wiring import Ids

SECRET_KEY = "canary-Vq7nX2kM9sD4wL1zR8cT5bG3hJ6p"
LEASE_S = 30


def build_context(
    database: Database,
    clock: Clock,
    http: httpx.AsyncClient,
    *,
    policy: Policy | None = None,
    timeouts: Timeouts | None = None,
    chance: Random | None = None,
    public_url: str | None = None,
    virtual: bool = True,
    older_secret_keys: Sequence[str] = (),
) -> Context:
    """As `app.wiring` builds it from settings; `chance` makes its identifiers repeatable."""
    box, telemetry = SecretBox(SECRET_KEY, older_secret_keys), ProcessTelemetry()
    return Context(
        database=database,
        clock=clock,
        ids=Ids(clock, chance),
        policy=policy or Policy(),
        operators=Operators(box),
        monta=MontaAccess(
            http=http,
            clock=clock,
            database=database,
            box=box,
            timeouts=timeouts or Timeouts(),
            called=telemetry.monta_called,
        ),
        telemetry=telemetry,
        views=Views(),
        lease_s=LEASE_S,
        public_url=public_url,
        clock_is_virtual=virtual,
    )
