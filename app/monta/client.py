"""The client of Monta's Partner API for one operator. No call is retried blindly."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import httpx

from app.clock import Clock
from app.domain.charging.charge import ChargeReport, ChargeState, PriceUnit
from app.domain.charging.charge_point import ChargePoint
from app.domain.charging.price_group import PriceGroup
from app.domain.units.ids import ChargeId, ChargePointId, OperatorId
from app.monta.account import (
    Consumer,
    DeliveryStatus,
    LoggedDelivery,
    WebhookConfig,
    read_consumer,
    read_logged_delivery,
    read_webhook_config,
)
from app.monta.caller import Caller
from app.monta.errors import NotSent, OutcomeUnknown, Refused
from app.monta.lists import MAX_FOUND_PAGES, MAX_LISTED_PAGES, MAX_LOG_PAGES, ChargeListing, read_listing
from app.monta.objects import (
    StartCharge,
    UnreadableCharge,
    read_charge,
    read_charge_point,
    read_price_group,
    unwrapped,
)
from app.monta.ports import Budget, Called, Credentials, CredentialStatus, Purpose, TokenStore
from app.monta.token import TokenKeeper
from app.monta.transport import Call, Timeouts, Transport, id_in_path
from app.strict_json import dump_json


class MontaClient:
    """Client bound to one operator's credential, token pair and quota.

    Every method raises MontaError only: NotSent, Refused, Unauthorized and QuotaExceeded mean certainly not done,
    OutcomeUnknown means search before anything else. Errors of the token store and the budget also pass through; they
    occur before anything is sent. Only a 401 is retried, once, with a new token.

    Token calls take nothing from the budget: each follows a call that was granted, Monta does not document whether
    they count, there is about one an hour, and the quota headers of the next answer correct our count.
    """

    def __init__(
        self,
        *,
        http: httpx.AsyncClient,
        clock: Clock,
        tokens: TokenStore,
        budget: Budget,
        operator: OperatorId,
        credentials: Credentials,
        timeouts: Timeouts | None = None,
        price_unit: PriceUnit = PriceUnit.MAJOR,
        credential_status: CredentialStatus | None = None,
        called: Called | None = None,
    ) -> None:
        self._clock = clock
        self._price_unit = price_unit
        self._timeouts = timeouts or Timeouts()
        exchange = Transport(
            http=http,
            clock=clock,
            budget=budget,
            operator=operator,
            base_url=credentials.base_url,
            timeouts=self._timeouts,
            called=called,
        )
        keeper = TokenKeeper(
            exchange=exchange, store=tokens, clock=clock, operator=operator, credentials=credentials
        )
        self._caller = Caller(
            exchange=exchange,
            tokens=keeper,
            budget=budget,
            clock=clock,
            operator=operator,
            credential_status=credential_status,
        )

    async def start_charge(
        self, start: StartCharge, *, still_allowed: Callable[[], bool] | None = None
    ) -> ChargeReport:
        """POST /charges, once. `still_allowed` is the send guard, evaluated right before each sending."""
        mistakes = start.mistakes()
        if mistakes:
            raise NotSent(f"POST /charges not sent: unfit {', '.join(mistakes)}", permanent=True)
        bound = self._timeouts.start_s
        call = Call(
            method="POST",
            path="/charges",
            name="POST /charges",
            purpose=Purpose.START,
            body=dump_json(start.body()),
            read_s=bound,
            total_s=bound,
        )
        return await self._ask_for_charge(call, still_allowed)

    async def get_charge(self, charge: ChargeId, *, purpose: Purpose = Purpose.READ) -> ChargeReport:
        """GET /charges/{id}. `purpose` is STOP for the read that confirms a stop."""
        call = self._caller.get(f"/charges/{id_in_path(charge)}", purpose=purpose)
        return await self._ask_for_charge(call)

    async def stop_charge(self, charge: ChargeId) -> ChargeReport:
        """GET /charges/{id}/stop, a GET with an effect. A 2xx means accepted, not stopped."""
        call = self._caller.get(f"/charges/{id_in_path(charge)}/stop", purpose=Purpose.STOP)
        return await self._ask_for_charge(call)

    async def find_charges(
        self, partner_external_id: str, *, purpose: Purpose = Purpose.START
    ) -> tuple[ChargeReport, ...]:
        """Returns all charges with this partnerExternalId. An empty result does not prove that none runs.

        An unreadable row, or more pages than the bound, raises OutcomeUnknown: a charge might be missed there.
        """
        if not partner_external_id:
            raise NotSent("GET /charges not sent: it would find the charges of others", permanent=True)
        asked_at = self._clock.now()
        filters = {"partnerExternalId": partner_external_id}
        rows = await self._caller.list("/charges", MAX_FOUND_PAGES, purpose, filters)
        listing = read_listing(rows, asked_at, self._clock.now(), self._price_unit)
        if listing.unreadable or not listing.complete:
            raise OutcomeUnknown("GET /charges?partnerExternalId: not all rows could be read")
        return tuple(c for c in listing.charges if c.partner_external_id == partner_external_id)

    async def list_charges(
        self,
        updated_since: datetime | None = None,
        *,
        state: ChargeState | None = None,
        purpose: Purpose = Purpose.READ,
        max_pages: int = MAX_LISTED_PAGES,
    ) -> ChargeListing:
        """Lists charges on the operator's charge points. Filtered by update time and state, 100 a call. Not every state
        can be filtered by at Monta. Pages read before a refusal are kept."""
        asked_at = self._clock.now()
        filters: dict[str, str] = {}
        if updated_since is not None:
            filters["fromUpdatedDate"] = updated_since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if state is not None:
            filters["state"] = state.value
        rows = await self._caller.list("/charges", max_pages, purpose, filters)
        return read_listing(rows, asked_at, self._clock.now(), self._price_unit)

    async def get_charge_point(self, charge_point: ChargePointId) -> ChargePoint:
        """GET /charge-points/{id}."""
        asked_at = self._clock.now()
        call = self._caller.get(f"/charge-points/{id_in_path(charge_point)}")
        found = read_charge_point(unwrapped(await self._caller.ask(call), "chargePoint"), asked_at)
        if found is None:
            raise OutcomeUnknown(f"{call.name}: no charge point in the answer")
        return found

    async def find_charge_point(self, charge_point: ChargePointId) -> ChargePoint | None:
        """GET /charge-points/{id}; None when Monta has none with this id, or hides it from this credential."""
        try:
            return await self.get_charge_point(charge_point)
        except Refused as error:
            if error.status == 404:
                return None
            raise

    async def list_charge_points(
        self, *, site_id: str | None = None, max_pages: int = MAX_LISTED_PAGES
    ) -> tuple[ChargePoint, ...]:
        """Lists all visible charge points, or those of a site. Each once. Those without an id are left out."""
        asked_at = self._clock.now()
        filters = {} if site_id is None else {"siteId": site_id}
        rows = await self._caller.list("/charge-points", max_pages, Purpose.READ, filters)
        read = (read_charge_point(row, asked_at) for row in rows.rows)
        return tuple({point.id: point for point in read if point is not None}.values())

    async def get_price_group(self, price_group_id: str) -> PriceGroup:
        """GET /price-groups/{id}; needs the scope `price-groups:read`."""
        call = self._caller.get(f"/price-groups/{id_in_path(price_group_id)}")
        found = read_price_group(unwrapped(await self._caller.ask(call), "priceGroup"))
        if found is None:
            raise OutcomeUnknown(f"{call.name}: no price group in the answer")
        return found

    async def me(self) -> Consumer:
        """GET /consumers/me: the credential's owner and scopes. Its quota counts where answers name none."""
        consumer = read_consumer(await self._caller.ask(self._caller.get("/consumers/me")))
        await self._caller.agreed(consumer.rate_limit, consumer.rate_window_s)
        return consumer

    async def get_webhook_config(self) -> WebhookConfig | None:
        """GET /webhooks/config; None when none is set."""
        try:
            return read_webhook_config(await self._caller.ask(self._caller.get("/webhooks/config")))
        except Refused as error:
            if error.status == 404:
                return None
            raise

    async def put_webhook_config(self, url: str, secret: str, event_types: Sequence[str]) -> WebhookConfig:
        """PUT /webhooks/config: replaces the one configuration of this credential."""
        body = dump_json({"webhookUrl": url, "webhookSecret": secret, "eventTypes": list(event_types)})
        call = Call(
            method="PUT",
            path="/webhooks/config",
            name="PUT /webhooks/config",
            body=body,
            secrets=(secret,),
            read_s=self._timeouts.read_s,
            total_s=self._timeouts.total_s,
        )
        return read_webhook_config(await self._caller.ask(call))

    async def webhook_entries(self, status: DeliveryStatus) -> tuple[LoggedDelivery, ...]:
        """GET /webhooks/entries: Monta's delivery log of the past 24 hours, up to the page bound."""
        rows = await self._caller.list(
            "/webhooks/entries", MAX_LOG_PAGES, Purpose.READ, {"status": status.value}
        )
        return tuple(read_logged_delivery(row, self._clock.now(), self._price_unit) for row in rows.rows)

    async def _ask_for_charge(
        self, call: Call, still_allowed: Callable[[], bool] | None = None
    ) -> ChargeReport:
        asked_at = self._clock.now()
        value = unwrapped(await self._caller.ask(call, still_allowed), "charge")
        try:
            read = read_charge(value, asked_at, arrived_at=self._clock.now(), price_unit=self._price_unit)
        except UnreadableCharge as error:
            raise OutcomeUnknown(f"{call.name}: {error}") from error
        return read.report
