"""Checks that must hold at the end of every journey, whatever faults it had."""

from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise

from sqlalchemy import text

from app.domain.charging.charge import ENDED
from app.simulator.http.pipeline import RequestLine
from app.simulator.site.charge import Charge
from tests.journeys.rig import Json, Rig

DUPLICATE_WATCH_S = 1300
"""Longer than the duplicate watch."""
NOT_DONE = (None, 400, 401, 429)


def starts(rig: Rig) -> list[RequestLine]:
    """The POSTs of charges that Monta did not certainly refuse."""
    return [
        line
        for line in rig.monta.requests
        if (line.method, line.path) == ("POST", "/charges") and line.status not in NOT_DONE
    ]


def the_charge(rig: Rig) -> Charge:
    """The only charge at Monta."""
    (charge,) = rig.monta.charges()
    return charge


def minor(price: Decimal | None) -> int:
    """A price of Monta's in minor units, half up; None is zero."""
    return int(((price or Decimal(0)) * 100).quantize(Decimal(1), ROUND_HALF_UP))


async def kinds(rig: Rig, session_id: str) -> list[str]:
    """The kinds of the journal's lines."""
    return [line["kind"] for line in await rig.journal(session_id)]


async def ended(rig: Rig, session: Json, *, posts: int = 1, within_s: float = 7200) -> Json:
    """Passes time until the session has ended and is complete everywhere; its settlement adds up."""
    await rig.until(session["id"], "completed", "not_started", within_s=within_s)
    await nothing_is_left(rig)
    last = await rig.session(session["id"])
    check_settlement(last)
    check_shown_amounts(rig, last)
    check_way(rig, last)
    settled = [kind for kind in await kinds(rig, session["id"]) if kind == "settlement_decided"]
    assert len(settled) == 1
    assert len(starts(rig)) == posts
    return last


async def nothing_is_left(rig: Rig) -> None:
    """After the duplicate watch: nothing is due, no charge runs at Monta, no inbox entry is unread."""
    await rig.pass_time(DUPLICATE_WATCH_S)
    async with rig.context.database.transaction() as connection:
        due = await connection.execute(text("SELECT id FROM payment_sessions WHERE due_at IS NOT NULL"))
        assert due.all() == []
    assert [charge.id for charge in rig.monta.charges() if charge.state not in ENDED] == []


def check_settlement(session: Json) -> None:
    settlement = session["settlement"]
    captured, released = settlement["amount_to_capture"], settlement["amount_to_release"]
    assert captured + released == session["amount_authorized"]
    assert captured >= 0
    assert released >= 0
    assert (settlement["action"] == "capture") == (captured > 0)
    assert settlement["shortfall"] == 0 or released == 0
    if session["status"] == "not_started":
        assert (captured, session["stop_reason"]) == (0, None)
        assert session["not_started_reason"] is not None
    else:
        assert session["not_started_reason"] is None
        assert session["stop_reason"] is not None


def check_shown_amounts(rig: Rig, last: Json) -> None:
    """The used amount shown to drivers never fell, except to the 0 of a release, and ended as what they pay."""
    used = [each["amount_used"] for each in rig.seen[last["id"]]]
    assert used[-1] == last["settlement"]["amount_to_capture"]
    while used and not last["settlement"]["amount_to_capture"] and not used[-1]:
        used.pop()
    assert used == sorted(used), used
    for each in rig.seen[last["id"]]:
        assert each["amount_used"] + each["amount_remaining"] == each["amount_authorized"]


WAY = ("authorized", "starting", "charging", "stopping", "finishing", "completed", "not_started")


def check_way(rig: Rig, last: Json) -> None:
    """Statuses never went back, and every change had a new version."""
    seen = rig.seen[last["id"]]
    ranks = [WAY.index(each["status"]) for each in seen]
    assert ranks == sorted(ranks)
    versions = [each["version"] for each in seen]
    assert versions == sorted(versions)
    for one, other in pairwise(seen):
        assert (one["version"] == other["version"]) <= (one["status"] == other["status"])
