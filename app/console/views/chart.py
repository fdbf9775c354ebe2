"""Draws a session over time: cost and limit, energy, forecast, decisions."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation

from app.console.views.formats import amount, clock_time, kwh, words
from app.domain.limit.policy import Policy
from app.domain.session.limit import amount_used_minor, expected_end
from app.domain.session.payment_session import PaymentSession
from app.domain.session.states.journal import JournalKind
from app.domain.units.frozen import frozen
from app.domain.units.money import Rounding, to_minor
from app.store.sessions.journal import JournalEntry

WIDTH, LEFT, RIGHT = 760, 56, 16
COST_TOP, COST_BOTTOM = 34, 172
ENERGY_TOP, ENERGY_BOTTOM = 196, 270
MOST_POINTS = 300
"""Readings drawn; of more, every second, third, ... one."""
MOST_DECISIONS = 12
LABEL_WIDTH = 14
LEAST_SPAN = timedelta(minutes=1)

DECISIONS = frozenset(
    {
        JournalKind.START_INTENDED,
        JournalKind.TOPPED_UP,
        JournalKind.HOLD_CHANGED,
        JournalKind.STOP_REQUESTED,
        JournalKind.STOP_DECIDED,
        JournalKind.SETTLEMENT_DECIDED,
        JournalKind.AMOUNT_DECIDED,
        JournalKind.CLOSED_BY_OPERATIONS,
    }
)


@frozen
class Tick:
    at: float
    text: str


@frozen
class Decision:
    """A numbered vertical line; the list below the chart has its words."""

    number: int
    x: float
    label_x: float
    """Where its number stands: beside that of the decision before when both would meet."""
    text: str


@frozen(kw_only=True)
class Chart:
    """The drawing's coordinates in its view box, and a description."""

    cost: str
    energy: str
    cost_forecast: str
    limit_y: float
    limit_text: str
    decisions: tuple[Decision, ...]
    times: tuple[Tick, ...]
    costs: tuple[Tick, ...]
    energies: tuple[Tick, ...]
    summary: str


@frozen
class Point:
    at: datetime
    energy_wh: int
    cost_minor: int | None


@frozen
class _Scale:
    """Maps times and values to coordinates."""

    begin: datetime
    end: datetime
    most_minor: int
    most_wh: int

    def x(self, at: datetime) -> float:
        part = (at - self.begin) / (self.end - self.begin)
        return round(LEFT + min(1.0, max(0.0, part)) * (WIDTH - LEFT - RIGHT), 1)

    def cost_y(self, minor: int) -> float:
        return round(COST_BOTTOM - min(1.0, minor / self.most_minor) * (COST_BOTTOM - COST_TOP), 1)

    def energy_y(self, energy_wh: int) -> float:
        return round(ENERGY_BOTTOM - min(1.0, energy_wh / self.most_wh) * (ENERGY_BOTTOM - ENERGY_TOP), 1)


def chart_of(
    session: PaymentSession, lines: Sequence[JournalEntry], policy: Policy, now: datetime
) -> Chart | None:
    """The chart of a session that has a charge; None: nothing flowed and nothing is to be seen."""
    points = points_of(session, lines, policy)
    if len(points) < 2:
        return None
    currency, limit_minor = session.authorization.currency, session.authorized_minor
    ends_at = expected_end(session, policy)
    last = points[-1]
    end = max(last.at, *(line.at for line in lines), *([] if session.ended else [now]))
    if ends_at is not None:
        end = max(end, min(ends_at, session.created_at + 3 * (end - session.created_at)))
    scale = _Scale(
        begin=session.created_at,
        end=max(end, session.created_at + LEAST_SPAN),
        most_minor=round(1.12 * max(limit_minor, *(p.cost_minor or 0 for p in points))),
        most_wh=max(100, round(1.1 * last.energy_wh)),
    )
    costs = [(scale.x(p.at), scale.cost_y(p.cost_minor)) for p in points if p.cost_minor is not None]
    forecast = []
    if ends_at is not None and costs:
        forecast = [costs[-1], (scale.x(ends_at), _forecast_y(scale, points, ends_at, limit_minor))]
    return Chart(
        cost=_path(costs),
        energy=_path([(scale.x(p.at), scale.energy_y(p.energy_wh)) for p in points]),
        cost_forecast=_path(forecast),
        limit_y=scale.cost_y(limit_minor),
        limit_text=f"limit {amount(limit_minor, currency)} {currency}",
        decisions=_decisions(lines, scale),
        times=tuple(_times(scale)),
        costs=tuple(Tick(scale.cost_y(v), amount(v, currency)) for v in (0, limit_minor // 2)),
        energies=tuple(Tick(scale.energy_y(v), kwh(v)) for v in (0, last.energy_wh)),
        summary=_summary(session, last, currency, ends_at),
    )


def points_of(session: PaymentSession, lines: Sequence[JournalEntry], policy: Policy) -> list[Point]:
    """Returns every reading since the tap, and the newest state."""
    currency = session.authorization.currency
    found = [Point(session.created_at, 0, 0)]
    for line in lines:
        if line.kind != JournalKind.CHARGE_REPORTED:
            continue
        energy_wh = line.detail.get("energy_wh")
        if isinstance(energy_wh, int):
            found.append(Point(line.at, energy_wh, _minor(line.detail.get("price"), currency)))
    settled = session.settlement
    if settled is not None:
        paid = settled.to_capture_minor + settled.shortfall_minor
        found.append(Point(settled.decided_at, settled.energy_wh, paid))
    elif session.charge is not None and session.energy_wh >= found[-1].energy_wh:
        used = amount_used_minor(session, policy)
        found.append(Point(max(found[-1].at, session.charge.seen_at), session.energy_wh, used))
    step = len(found) // MOST_POINTS + 1
    return [*found[:-1:step], found[-1]] if len(found) > 1 else found


def _minor(price: object, currency: str) -> int | None:
    try:
        return None if price is None else to_minor(Decimal(str(price)), currency, Rounding.HALF_UP)
    except InvalidOperation:
        return None


def _forecast_y(scale: _Scale, points: Sequence[Point], ends_at: datetime, limit_minor: int) -> float:
    """Returns where the forecast ends. At the limit, or where the picture is cut."""
    costs = [p for p in points if p.cost_minor is not None]
    last = costs[-1]
    if ends_at <= scale.end or last.cost_minor is None or ends_at <= last.at:
        return scale.cost_y(limit_minor)
    part = (scale.end - last.at) / (ends_at - last.at)
    return scale.cost_y(round(last.cost_minor + (limit_minor - last.cost_minor) * part))


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)


def _decisions(lines: Sequence[JournalEntry], scale: _Scale) -> tuple[Decision, ...]:
    decided = [line for line in lines if line.kind in DECISIONS][-MOST_DECISIONS:]
    found: list[Decision] = []
    for number, line in enumerate(decided, 1):
        x = scale.x(line.at)
        label_x = max(x, found[-1].label_x + LABEL_WIDTH) if found else x
        found.append(
            Decision(number, x, label_x, f"{clock_time(line.at)} {words(line.kind)}{_because(line)}")
        )
    return tuple(found)


def _because(line: JournalEntry) -> str:
    reason = line.detail.get("reason") or line.detail.get("action")
    return f": {words(str(reason))}" if reason else ""


def _times(scale: _Scale) -> list[Tick]:
    span = scale.end - scale.begin
    return [Tick(scale.x(at), clock_time(at)) for at in (scale.begin + span * n / 4 for n in range(5))]


def _summary(session: PaymentSession, last: Point, currency: str, ends_at: datetime | None) -> str:
    """The chart in one sentence, for those who do not see it."""
    used = amount(last.cost_minor, currency)
    limit = amount(session.authorized_minor, currency)
    end = f"; at the present rate the limit is reached at {clock_time(ends_at)} UTC" if ends_at else ""
    return f"{kwh(last.energy_wh)} kWh and {used} of {limit} {currency} by {clock_time(last.at)} UTC{end}."
