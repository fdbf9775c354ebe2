"""Builds the context from settings. The only place that reads the machine's clock and makes identifiers."""

from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from random import Random, SystemRandom
from typing import TYPE_CHECKING

from app.alerting.outlet import Outlet
from app.api.event_views import Views
from app.clock import Clock, ScaledClock, SystemClock
from app.domain.limit.policy import Policy
from app.domain.units.ids import SessionId
from app.embedded import EmbeddedPostgres
from app.flows.admin import queries
from app.flows.admin.database_checks import check_secret_key, check_suitable, clock_skew
from app.flows.context import Context
from app.monta.transport import Timeouts, open_http
from app.monta_access import MontaAccess
from app.settings import KeyedSettings, Settings
from app.store.db.database import Database
from app.store.db.secret_box import SecretBox
from app.store.operators.operators import Operators
from app.telemetry import ProcessTelemetry
from app.tracing import tracing_by_environment

if TYPE_CHECKING:
    from app.flows.events.send_events import EventOutlet

CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_TWO_DIGITS = [high + low for high in CROCKFORD for low in CROCKFORD]
EASY_TO_READ = "ABCDEFGHJKLMNPQRTUVWXY346789"
"""Characters that cannot be mistaken for others, for references that drivers read aloud."""


class NotMigrated(Exception):
    """The database's schema is older than this code."""


class Ids:
    """Identifiers that sort by time (ULID), and secrets. Secrets have 256 bits."""

    def __init__(self, clock: Clock, rng: Random | None = None) -> None:
        self._clock = clock
        self._rng = rng or SystemRandom()

    def session_id(self) -> SessionId:
        return SessionId(self.new("ps"))

    def display_reference(self) -> str:
        number, letters = self._rng.randrange(len(EASY_TO_READ) ** 8), ""
        for _ in range(8):
            number, letter = divmod(number, len(EASY_TO_READ))
            letters += EASY_TO_READ[letter]
        return f"{letters[:4]}-{letters[4:]}"

    def new(self, prefix: str) -> str:
        milliseconds = int(self._clock.now().timestamp() * 1000)
        number = (milliseconds << 80) | self._rng.getrandbits(80)
        digits = "".join([_TWO_DIGITS[(number >> bits) & 1023] for bits in range(120, -1, -10)])
        return f"{prefix}_{digits}"

    def secret(self, prefix: str) -> str:
        token = urlsafe_b64encode(self._rng.randbytes(32)).rstrip(b"=").decode()
        return f"{prefix}_{token}"


def policy_from(settings: Settings) -> Policy:
    return Policy(
        start_deadline_s=settings.start_deadline_s,
        quiet_window_s=settings.quiet_window_s,
        send_guard_s=settings.send_guard_s,
        answer_s=settings.start_timeout_s,
        silence_s=settings.silence_s,
        stop_retry_s=settings.stop_retry_s,
        settle_poll_s=settings.settle_poll_s,
        stop_latency_s=settings.stop_latency_s,
        capture_retry_s=tuple(float(each) for each in settings.capture_retry_s.split(",")),
        capture_retry_margin_s=settings.capture_retry_margin_s,
        small_authorizations=settings.small_authorizations,
    )


async def clock_for(settings: Settings, database: Database) -> Clock:
    """The machine's clock adjusted to the database's. In the demo, the clock that all its processes share."""
    if settings.clock_origin is not None:
        return ScaledClock(settings.clock_speed, settings.clock_origin)
    clock = SystemClock()
    clock.offset = await clock_skew(database, clock)
    return clock


@asynccontextmanager
async def open_context(settings: KeyedSettings, database_url: str) -> AsyncIterator[Context]:
    """Opens one process's context, and closes all of it. Raises DatabaseUnsuitable."""
    box = SecretBox(settings.secret_key.get_secret_value(), settings.older_secret_keys)
    listen_url = settings.listen_database_url
    database = Database(database_url, listen_url=listen_url.get_secret_value() if listen_url else None)
    telemetry, tracing = ProcessTelemetry(), tracing_by_environment()
    http = open_http(egress=settings.egress, slots=settings.watcher_concurrency)
    try:
        await check_suitable(database)
        clock = await clock_for(settings, database)
        yield Context(
            database=database,
            clock=clock,
            ids=Ids(clock),
            policy=policy_from(settings),
            operators=Operators(box),
            monta=MontaAccess(
                http=http,
                clock=clock,
                database=database,
                box=box,
                timeouts=Timeouts(start_s=settings.start_timeout_s),
                called=telemetry.monta_called,
            ),
            telemetry=telemetry,
            views=Views(),
            tracing=tracing,
            lease_s=settings.lease_s,
            public_url=settings.public_url,
            inbox_days=settings.inbox_days,
            delivery_days=settings.delivery_days,
            card_days=settings.card_days,
            event_days=settings.event_days,
            clock_is_virtual=settings.clock_origin is not None,
        )
    finally:
        await http.aclose()
        await database.close()
        tracing.close()


@asynccontextmanager
async def open_outlets(settings: Settings) -> AsyncIterator[list[Outlet]]:
    """The ways on which alerts reach operations, as configured; none by default."""
    found: list[Outlet] = []
    async with AsyncExitStack() as stack:
        if settings.alert_webhook_url is not None and settings.alert_webhook_secret is not None:
            from app.alerting.webhook import WebhookOutlet

            http = await stack.enter_async_context(open_http(egress=settings.egress))
            secret = settings.alert_webhook_secret.get_secret_value()
            found.append(WebhookOutlet(http, settings.alert_webhook_url, secret))
        if settings.alert_email_to and settings.alert_email_from and settings.smtp_url is not None:
            from app.alerting.email import EmailOutlet

            receivers = [address.strip() for address in settings.alert_email_to.split(",")]
            console_url = f"{settings.public_url}/console" if settings.public_url else None
            found.append(
                EmailOutlet(
                    settings.smtp_url.get_secret_value(), settings.alert_email_from, receivers, console_url
                )
            )
        yield found


@asynccontextmanager
async def open_event_outlet(settings: Settings) -> AsyncIterator["EventOutlet"]:
    """Opens the way of events to terminal makers. Connections of its own: no endpoint holds up a call to Monta."""
    from app.alerting.signed_webhook import SignedOutlet
    from app.flows.events.send_events import MOST_AT_ONCE, MOST_ENDPOINTS

    async with open_http(egress=settings.egress, slots=MOST_ENDPOINTS * MOST_AT_ONCE) as http:
        yield SignedOutlet(http)


@asynccontextmanager
async def ready_context(settings: KeyedSettings, url: str) -> AsyncIterator[Context]:
    """The context on a database that fits this code and key. Raises NotMigrated, WrongSecretKey."""
    async with open_context(settings, url) as context:
        found = await queries.readiness(context)
        if found.schema is not None:
            raise NotMigrated(f"The database's schema {found.schema}.")
        await check_secret_key(context)
        yield context


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """Returns the configured or the embedded database's URL. The embedded one runs while the block lasts."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    with EmbeddedPostgres(settings.data_dir) as server:
        yield server.service_url


@contextmanager
def migration_urls(settings: Settings) -> Iterator[tuple[str, str]]:
    """The database's URLs for its owner, who migrates, and for the service. They may be the same."""
    if settings.database_url is not None:
        service = settings.database_url.get_secret_value()
        owner = settings.owner_database_url
        yield owner.get_secret_value() if owner else service, service
        return
    with EmbeddedPostgres(settings.data_dir) as server:
        yield server.owner_url, server.service_url
