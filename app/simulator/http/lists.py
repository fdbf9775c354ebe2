"""Pages lists as Monta does, and filters charges. The envelope of offset paging, and the filters of GET /charges."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from app.domain.units.frozen import frozen
from app.simulator.faults.misreports import is_gone
from app.simulator.http.answers import Answer, Call, ErrorCode, Refusal, bad_request, json_answer
from app.simulator.http.fields import query_choice, query_date, query_id, query_int
from app.simulator.site.charge import Charge
from app.simulator.site.site import Site
from app.simulator.wire import JsonValue

Row = TypeVar("Row")
MAX_ROWS = 20_000
"""No query returns more rows than this."""
_STATES = frozenset(
    {"reserved", "starting", "charging", "stopping", "paused", "scheduled", "stopped", "completed"}
)


def page(call: Call, rows: Sequence[Row], show: Callable[[Row], JsonValue]) -> Answer:
    """Returns one page of a list as `{data, meta}`. By `page` (from 0) and `perPage` (1 to 100, default 10) of the
    query."""
    number = query_int(call, "page", 0, 0, 2**31 - 1)
    size = query_int(call, "perPage", 10, 1, 100)
    shown = rows[:MAX_ROWS][number * size : (number + 1) * size]
    total = min(len(rows), MAX_ROWS)
    return json_answer(
        {
            "data": [show(row) for row in shown],
            "meta": {
                "itemCount": len(shown),
                "currentPage": number,
                "perPage": size,
                "totalPageCount": -(-total // size),
                "totalItemCount": total,
            },
        }
    )


def check_operator(site: Site, call: Call) -> None:
    """Applies the filter operatorId: 403 for operators outside of the credential."""
    if query_id(call, "operatorId") not in {None, site.config.operator_id}:
        raise Refusal(403, ErrorCode.ACCESS_FORBIDDEN, "operatorId is not among those of this consumer")


@frozen
class _Span:
    """A range of createdAt, updatedAt or completedAt, both ends included."""

    read: Callable[[Charge], datetime | None]
    since: datetime | None
    until: datetime | None

    def holds(self, charge: Charge) -> bool:
        at = self.read(charge)
        if self.since is None and self.until is None:
            return True
        # Filters have whole seconds: an event at 12:00:00.500 is within "to 12:00:00".
        after = self.since is None or (at is not None and at >= self.since)
        return after and (self.until is None or (at is not None and at.replace(microsecond=0) <= self.until))


def matching_charges(site: Site, call: Call, lag_s: float) -> list[Charge]:
    """Returns the charges that match a query, newest first. Those younger than `lag_s` are not found yet."""
    check_operator(site, call)
    visible_until = call.at - timedelta(seconds=lag_s)
    tests = (_by_ids(site, call), _by_words(call), _by_dates(call))
    found = (
        charge
        for charge in reversed(site.charges.values())
        if charge.created_at <= visible_until and not is_gone(site, charge)
    )
    return [charge for charge in found if all(test(charge) for test in tests)]


Test = Callable[[Charge], bool]


def _by_ids(site: Site, call: Call) -> Test:
    point_id, team_id, site_id = (query_id(call, name) for name in ("chargePointId", "teamId", "siteId"))
    role = query_choice(call, "operatorRole", frozenset({"owner", "payer"})) or "owner"

    def test(charge: Charge) -> bool:
        payer = charge.order.paying_team_id
        team = site.config.owner_team_id if role == "owner" else payer
        return (
            point_id in {None, charge.point_id}
            and team_id in {None, team}
            and site_id is None
            and (role == "owner" or payer in site.config.paying_team_ids)
        )

    return test


def _by_words(call: Call) -> Test:
    state = query_choice(call, "state", _STATES)
    external_id = call.query.get("partnerExternalId")
    auth_type, auth_id = call.query.get("chargeAuthType"), call.query.get("chargeAuthId")
    if (auth_type is None) != (auth_id is None):
        raise bad_request("chargeAuthType and chargeAuthId: only together")
    query_choice(call, "chargeAuthType", frozenset({"rfid", "vehicleId"}))

    def test(charge: Charge) -> bool:
        return (
            state in {None, charge.state.value}
            and (external_id is None or external_id == (charge.partner_external_id or ""))
            and (auth_id is None or (auth_type == "rfid" and auth_id == charge.order.rfid))
        )

    return test


def _by_dates(call: Call) -> Test:
    spans = (
        _Span(lambda charge: charge.created_at, query_date(call, "fromDate"), query_date(call, "toDate")),
        _Span(lambda charge: charge.updated_at, query_date(call, "fromUpdatedDate"), None),
        _Span(
            lambda charge: charge.completed_at,
            query_date(call, "fromCompletedDate"),
            query_date(call, "toCompletedDate"),
        ),
    )
    return lambda charge: all(span.holds(charge) for span in spans)
