"""What was configured for an operator against what Monta shows: where starts must fail, where prices are not known."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.domain.charge_point import ChargePoint
from app.domain.ids import ChargePointId


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A charge point that terminals may start at. `shown`: as Monta shows it, None: Monta says that there is none."""

    id: ChargePointId
    shown: ChargePoint | None
    has_tariff: bool = False
    """A person set its tariff, or the operator's."""
    price_problem: str | None = None
    """Why its price group is not known as a tariff."""
    tariff_problem: str | None = None
    """Why a tariff that was set for it prices nothing now."""


def paying_doubts(paying_team_id: str, teams: Iterable[str]) -> tuple[str, ...]:
    """`teams`: those that the credential is for; none means all of the operator's."""
    known = sorted(teams)
    if not known or paying_team_id in known:
        return ()
    return (
        f"the paying team {paying_team_id} is not one of the credential's teams at Monta ({_some(known)}):"
        " Monta may refuse every start",
    )


def hopeless(places: Iterable[Place]) -> tuple[str, ...]:
    """Where every start is refused for certain."""
    return tuple(
        f"charge point {place.id} is not known to Monta, or not shown to this credential: every start is refused"
        for place in places
        if place.shown is None
    )


def place_doubts(places: Iterable[Place], teams: Iterable[str]) -> tuple[str, ...]:
    """What a person should look at before a driver finds it out."""
    known = frozenset(teams)
    return tuple(doubt for place in places for doubt in _doubts(place, known))


def _doubts(place: Place, teams: frozenset[str]) -> Iterator[str]:
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


def told(doubts: Iterable[str]) -> str | None:
    """All of them as one text, the first few in full; None: there are none."""
    every = tuple(doubts)
    more = f"; and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return "; ".join(every[:SHOWN]) + more or None


def _some(teams: list[str]) -> str:
    return ", ".join(teams[:SHOWN]) + (", ..." if len(teams) > SHOWN else "")
