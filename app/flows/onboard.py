"""Onboarding: what was typed is compared with Monta before a driver finds out that it does not fit."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.charge_point import ChargePoint
from app.domain.ids import ChargePointId, OperatorId
from app.domain.price_group_tariff import to_tariff
from app.domain.scopes import scope_doubts
from app.domain.setup import Place, hopeless, paying_doubts, place_doubts
from app.domain.tariff import InvalidTariff, parse_tariff
from app.flows.tools import Tools
from app.monta.client import MontaClient
from app.monta.errors import MontaError, Refused
from app.store import charge_points

MAX_COMPARED = 50
"""Charge points that one command asks Monta for; upkeep compares them all."""


class EveryStartWouldFail(Exception):
    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(
            "Nothing was added. " + "; ".join(reasons) + ". --unchecked adds the terminal all the same."
        )


@dataclass(frozen=True, slots=True)
class Compared:
    """What does not fit, in words. `unanswered`: why Monta could not be asked; the next upkeep compares again."""

    doubts: tuple[str, ...]
    unanswered: str | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        if self.unanswered is None:
            return self.doubts
        return (*self.doubts, f"not compared with Monta, which did not answer as expected: {self.unanswered}")


async def compare_operator(tools: Tools, operator_id: OperatorId) -> Compared:
    """Is the paying team one of the credential's, and which scopes does it lack? Never raises for Monta's sake."""
    async with tools.database.transaction() as connection:
        operator = await tools.operators.get(connection, operator_id)
    if operator is None:
        return Compared(())
    try:
        consumer = await tools.monta.passing(operator).me()
    except MontaError as error:
        return Compared((), str(error))
    team = paying_doubts(operator.paying_team_id, consumer.team_ids)
    return Compared((*team, *scope_doubts(consumer.scopes)))


async def compare_places(
    tools: Tools, operator_id: OperatorId, charge_point_ids: Sequence[ChargePointId]
) -> Compared:
    """The charge points of a new terminal: known, of the right team, with a price that can be read? Never raises for
    Monta's sake, but raises EveryStartWouldFail when Monta says that one of them does not exist."""
    async with tools.database.transaction() as connection:
        operator = await tools.operators.get(connection, operator_id)
        priced = await charge_points.are_priced(connection, operator_id, charge_point_ids, tools.clock.now())
    if operator is None:
        return Compared(())
    monta = tools.monta.passing(operator)
    try:
        consumer = await monta.me()
        shown = {id_: await monta.find_charge_point(id_) for id_ in charge_point_ids[:MAX_COMPARED]}
        problems = await _price_problems(monta, [p for p in shown.values() if p is not None])
    except MontaError as error:
        return Compared((), str(error))
    places = [
        Place(
            id=id_,
            shown=point,
            has_tariff=id_ in priced,
            price_problem=problems.get(point.price_group_id or "") if point else None,
        )
        for id_, point in shown.items()
    ]
    if reasons := hopeless(places):
        raise EveryStartWouldFail(reasons)
    teams = consumer.team_ids
    return Compared((*paying_doubts(operator.paying_team_id, teams), *place_doubts(places, teams)))


async def _price_problems(monta: MontaClient, points: Sequence[ChargePoint]) -> dict[str, str]:
    """Why a price group cannot be used as a tariff, by its id."""
    problems: dict[str, str] = {}
    for group_id in sorted({p.price_group_id for p in points if p.price_group_id is not None}):
        try:
            converted = to_tariff(await monta.get_price_group(group_id))
            if converted.tariff is None:
                problems[group_id] = "it cannot be converted"
            else:
                parse_tariff(converted.tariff)
        except (Refused, InvalidTariff) as error:
            problems[group_id] = str(error)
    return problems
