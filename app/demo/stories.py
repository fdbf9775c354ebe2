"""The demo's sessions: who taps where, and what must happen. And how each session must end."""

from enum import StrEnum

from app.domain.session.payment_session import NotStartedReason, Status, StopReason
from app.domain.session.states.journal import JournalKind
from app.domain.units.frozen import frozen


class Gesture(StrEnum):
    """What the driver does at the terminal while the car charges."""

    NOTHING = "nothing"
    CARD_AGAIN = "card_again"
    """Presents the same card once more: POST /v1/stop-requests."""
    STOP_BUTTON = "stop_button"
    """Presses stop: POST /v1/payment-sessions/{id}/stop."""


@frozen(kw_only=True)
class Ending:
    """How a session must end. `proof` lists the kinds of journal lines it requires."""

    status: Status = Status.COMPLETED
    stop_reason: StopReason | None = None
    not_started_reason: NotStartedReason | None = None
    charges: int = 1
    """Number of charges with our reference at Monta in the end."""
    least_stops: int = 0
    """Least number of stops sent."""
    webhooks: bool = True
    """Whether webhooks may arrive; False: none at all."""
    proof: tuple[JournalKind, ...] = ()


@frozen(kw_only=True)
class Story:
    """One tap. `amount_minor` in EUR cents, times in seconds of the demo's clock, at most 17 letters for the
    title."""

    title: str
    charge_point_id: str
    amount_minor: int
    begins_after_s: float
    gesture: Gesture = Gesture.NOTHING
    gesture_from_wh: int = 0
    ending: Ending


CURRENCY = "EUR"

STORIES: tuple[Story, ...] = (
    Story(
        title="AC, to its limit",
        charge_point_id="103",
        amount_minor=700,
        begins_after_s=0,
        ending=Ending(stop_reason=StopReason.LIMIT_REACHED, least_stops=1),
    ),
    Story(
        title="DC, to its limit",
        charge_point_id="105",
        amount_minor=3000,
        begins_after_s=300,
        ending=Ending(stop_reason=StopReason.LIMIT_REACHED, least_stops=1),
    ),
    Story(
        title="driver unplugs",
        charge_point_id="907",
        amount_minor=2500,
        begins_after_s=600,
        ending=Ending(stop_reason=StopReason.VEHICLE_OR_CHARGE_POINT),
    ),
    Story(
        title="refused at start",
        charge_point_id="901",
        amount_minor=2000,
        begins_after_s=900,
        ending=Ending(
            status=Status.NOT_STARTED,
            not_started_reason=NotStartedReason.REFUSED,
            charges=0,
            proof=(JournalKind.START_REFUSED,),
        ),
    ),
    Story(
        title="never plugged in",
        charge_point_id="906",
        amount_minor=2000,
        begins_after_s=120,
        ending=Ending(
            status=Status.NOT_STARTED, not_started_reason=NotStartedReason.START_TIMEOUT, least_stops=1
        ),
    ),
    Story(
        title="start answer lost",
        charge_point_id="903",
        amount_minor=1800,
        begins_after_s=1080,
        gesture=Gesture.CARD_AGAIN,
        gesture_from_wh=9_000,
        ending=Ending(
            stop_reason=StopReason.DRIVER,
            least_stops=1,
            proof=(JournalKind.START_UNKNOWN, JournalKind.CHARGE_ADOPTED),
        ),
    ),
    Story(
        title="webhooks lost",
        charge_point_id="910",
        amount_minor=1200,
        begins_after_s=720,
        ending=Ending(stop_reason=StopReason.LIMIT_REACHED, least_stops=1, webhooks=False),
    ),
    Story(
        title="stops ignored",
        charge_point_id="908",
        amount_minor=2500,
        begins_after_s=1440,
        gesture=Gesture.STOP_BUTTON,
        gesture_from_wh=8_000,
        ending=Ending(stop_reason=StopReason.DRIVER, least_stops=4),
    ),
)
