"""Compares a new set-up with Monta's records. So that mistakes show before a driver meets them."""

from collections.abc import Sequence

from app.domain.charging.charge_point import ChargePoint
from app.domain.charging.price_group import to_tariff
from app.domain.charging.setup_check import (
    ConfiguredChargePoint,
    charge_point_warnings,
    paying_team_warnings,
    scope_warnings,
    unknown_to_monta,
)
from app.domain.tariff import InvalidTariff, parse_tariff
from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargePointId, OperatorId
from app.flows.context import Context, OperatorUnknown
from app.monta.client import MontaClient
from app.monta.errors import MontaError, Refused
from app.store.operators import charge_points

MAX_COMPARED = 50
"""Charge points that one command requests from Monta; sync compares them all."""


class EveryStartWouldFail(Exception):
    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(
            "Nothing was added or changed. " + "; ".join(reasons) + ". --unchecked does it all the same."
        )


class SiteUnusable(Exception):
    """Monta shows no charge points. Says what was asked and why there are none."""


@frozen
class Compared:
    """The differences, in words. `unanswered`: why Monta could not be reached; the next sync compares again."""

    found: tuple[str, ...]
    unanswered: str | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        if self.unanswered is None:
            return self.found
        return (
            *self.found,
            f"not compared with Monta, which did not answer as expected: {self.unanswered}; `tapwatt operator check`"
            " asks again",
        )


async def compare_operator(context: Context, operator_id: OperatorId) -> Compared:
    """Checks the paying team and the credential's scopes. Never raises for a Monta failure."""
    async with context.database.transaction() as connection:
        operator = await context.operators.get(connection, operator_id)
    if operator is None:
        return Compared(())
    try:
        consumer = await context.monta.read_only(operator).me()
    except MontaError as error:
        return Compared((), str(error))
    team = paying_team_warnings(operator.paying_team_id, consumer.team_ids)
    return Compared((*team, *scope_warnings(consumer.scopes)))


async def compare_charge_points(
    context: Context, operator_id: OperatorId, charge_point_ids: Sequence[ChargePointId]
) -> Compared:
    """Checks that a new terminal's charge points can be used. They must exist, have the right team, and a readable
    price. Never raises for a Monta failure, but raises EveryStartWouldFail when Monta says that one of them does not
    exist."""
    async with context.database.transaction() as connection:
        operator = await context.operators.get(connection, operator_id)
        priced = await charge_points.are_priced(
            connection, operator_id, charge_point_ids, context.clock.now()
        )
    if operator is None:
        return Compared(())
    monta = context.monta.read_only(operator)
    try:
        consumer = await monta.me()
        shown = {id_: await monta.find_charge_point(id_) for id_ in charge_point_ids[:MAX_COMPARED]}
        problems = await _price_problems(monta, [p for p in shown.values() if p is not None])
    except MontaError as error:
        return Compared((), str(error))
    places = [
        ConfiguredChargePoint(
            id=id_,
            shown=point,
            has_tariff=id_ in priced,
            price_problem=problems.get(point.price_group_id or "") if point else None,
        )
        for id_, point in shown.items()
    ]
    if reasons := unknown_to_monta(places):
        raise EveryStartWouldFail(reasons)
    teams = consumer.team_ids
    return Compared(
        (*paying_team_warnings(operator.paying_team_id, teams), *charge_point_warnings(places, teams))
    )


async def charge_points_of_site(
    context: Context, operator_id: OperatorId, site_id: str
) -> list[ChargePointId]:
    """All charge points that Monta lists for a site. Raises OperatorUnknown, SiteUnusable."""
    listed = await _listed(context, operator_id, site_id)
    if not listed:
        raise SiteUnusable(
            f"Nothing was added or changed: Monta shows no charge points of site {site_id!r} to this credential."
        )
    return listed


async def unknown_charge_points(
    context: Context, operator_id: OperatorId, charge_point_ids: Sequence[ChargePointId]
) -> list[ChargePointId]:
    """Those of these charge points that Monta does not list. Raises OperatorUnknown, SiteUnusable."""
    known = set(await _listed(context, operator_id, None))
    return [each for each in dict.fromkeys(charge_point_ids) if each not in known]


async def _listed(context: Context, operator_id: OperatorId, site_id: str | None) -> list[ChargePointId]:
    async with context.database.read() as connection:
        operator = await context.operators.get(connection, operator_id)
    if operator is None:
        raise OperatorUnknown(operator_id)
    try:
        points = await context.monta.read_only(operator).list_charge_points(site_id=site_id)
    except MontaError as error:
        raise SiteUnusable(
            f"Nothing was added or changed: Monta does not list its charge points ({error})."
        ) from None
    return [point.id for point in points if point.deleted_at is None]


async def _price_problems(monta: MontaClient, points: Sequence[ChargePoint]) -> dict[str, str]:
    """Returns why a price group cannot be a tariff, by its id."""
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
