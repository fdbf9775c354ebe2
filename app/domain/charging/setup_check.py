"""Compares an operator's set-up and the credential's scopes with what Monta shows."""

from collections.abc import Iterable, Iterator

from app.domain.charging.charge_point import ChargePoint
from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargePointId

_RANKS = {"read": 1, "write": 2, "delete": 3}
_EVERY = max(_RANKS.values())
_SHORT_LIST = frozenset({"charge-points", "charge-transactions", "control-charging"})
"""The entities that the old form of scopes can name. Other scopes are unknown there."""


@frozen
class Need:
    """One of these scopes is needed. `always`: without it no session is possible, however Tapwatt is set up."""

    any_of: tuple[str, ...]
    without: str
    always: bool = False

    @property
    def words(self) -> str:
        return " or ".join(self.any_of)


CONTROL = Need(
    ("control-charging:write", "control-public-charging:write"),
    "no charge can be started or stopped",
    always=True,
)
NEEDS = (
    Need(
        ("charge-transactions:read",),
        "no charge can be read or looked for, so none can be limited or settled",
        always=True,
    ),
    CONTROL,
    Need(
        ("charge-points:read",),
        "terminals see no state of a charge point, and its rating and price group are not known",
        always=True,
    ),
    Need(("price-groups:read",), "prices are not known but by tariffs that you set, or from earlier charges"),
    Need(
        ("manage-webhooks:write",),
        "webhooks do not register themselves: set them at Monta by hand, or each charge is read again and again",
    ),
    Need(("webhooks:read",), "what Monta could not deliver is not found in its log"),
)


def missing(scopes: Iterable[str]) -> tuple[Need, ...]:
    """Returns needed scopes that are missing. None when Monta reports no scopes at all. Unknown words are ignored."""
    held = _held(scopes)
    if held is None:
        return ()
    ranks, is_whole = held
    return tuple(need for need in NEEDS if not _covers(ranks, need) and (is_whole or _is_told(need)))


def scope_warnings(scopes: Iterable[str], *, always_only: bool = False) -> tuple[str, ...]:
    """Describes each missing scope and what will not work without it."""
    return tuple(
        f"the credential lacks the scope {need.words}: {need.without}"
        for need in missing(scopes)
        if need.always or not always_only
    )


def may_control(scopes: Iterable[str]) -> bool:
    """Whether charges may be started and stopped. Certain only where scopes name their permissions."""
    held = _held(scopes)
    return held is None or _covers(held[0], CONTROL) or not held[1]


def _held(scopes: Iterable[str]) -> tuple[dict[str, int], bool] | None:
    """The highest permission by entity, and whether the list is complete. None: no scopes reported."""
    words = [scope.strip().lower() for scope in scopes if scope.strip()]
    if not words:
        return None
    ranks: dict[str, int] = {}
    is_whole = False
    for word in words:
        entity, colon, permission = word.partition(":")
        if not colon:
            rank = _EVERY
        elif (found := _RANKS.get(permission)) is not None:
            rank, is_whole = found, True
        else:
            continue
        ranks[entity] = max(ranks.get(entity, 0), rank)
    return ranks, is_whole


def _covers(ranks: dict[str, int], need: Need) -> bool:
    everything = ranks.get("all", 0)
    return any(max(everything, ranks.get(entity, 0)) >= rank for entity, rank in _parts(need))


def _is_told(need: Need) -> bool:
    return any(entity in _SHORT_LIST for entity, _ in _parts(need))


def _parts(need: Need) -> Iterator[tuple[str, int]]:
    for scope in need.any_of:
        entity, _, permission = scope.partition(":")
        yield entity, _RANKS[permission]


@frozen(kw_only=True)
class ConfiguredChargePoint:
    """A charge point that terminals may start at. `shown`: Monta's record, None: Monta says that there is none."""

    id: ChargePointId
    shown: ChargePoint | None
    has_tariff: bool = False
    """A tariff is configured for it, or for the operator."""
    price_problem: str | None = None
    """Why its price group could not be converted to a tariff."""
    tariff_problem: str | None = None
    """Why its configured tariff prices nothing now."""


def paying_team_warnings(paying_team_id: str, teams: Iterable[str]) -> tuple[str, ...]:
    """Compares the paying team with `teams`, the credential's. None means all of the operator's."""
    known = sorted(teams)
    if not known or paying_team_id in known:
        return ()
    return (
        f"the paying team {paying_team_id} is not one of the credential's teams at Monta ({_some(known)}):"
        " Monta may refuse every start",
    )


def unknown_to_monta(places: Iterable[ConfiguredChargePoint]) -> tuple[str, ...]:
    """Charge points where every start would certainly be refused."""
    return tuple(
        f"charge point {place.id} is not known to Monta, or not shown to this credential: every start is refused"
        for place in places
        if place.shown is None
    )


def charge_point_warnings(places: Iterable[ConfiguredChargePoint], teams: Iterable[str]) -> tuple[str, ...]:
    """Warns about charge points that operations should fix before a driver arrives."""
    known = frozenset(teams)
    return tuple(warning for place in places for warning in _warnings(place, known))


def _warnings(place: ConfiguredChargePoint, teams: frozenset[str]) -> Iterator[str]:
    if place.shown is None:
        return
    team = place.shown.team_id
    if teams and team is not None and team not in teams:
        yield (
            f"charge point {place.id} belongs to team {team}, which is not one of the credential's teams at Monta"
            f" ({_some(sorted(teams))}): Monta may refuse every start"
        )
    if place.tariff_problem is not None:
        yield f"the tariff that was set for charge point {place.id} prices nothing now: {place.tariff_problem}"
    if place.price_problem is not None and not place.has_tariff:
        yield (
            f"the price group {place.shown.price_group_id} of charge point {place.id} is not known as a tariff"
            f" ({place.price_problem}), and no tariff is set: limits rest on what is learned"
        )


SHOWN = 5


def summary_of(warnings: Iterable[str]) -> str | None:
    """All warnings as one text, the first few in full. None: there are none."""
    every = tuple(warnings)
    more = f"; and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return "; ".join(every[:SHOWN]) + more or None


def _some(teams: list[str]) -> str:
    return ", ".join(teams[:SHOWN]) + (", ..." if len(teams) > SHOWN else "")
