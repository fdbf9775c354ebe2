"""Defects in stopping and settling."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from sqlalchemy import update

from app.domain.evidence.seal import Sealer
from app.domain.limit.policy import Policy
from app.domain.session import monta_calls
from app.domain.session import settle as settle_module
from app.domain.session.limit import start_limits
from app.domain.session.machine import Change, ReadCharge, SendStop, Settle, Step, Wait
from app.domain.session.payment_session import PaymentSession, StopReason
from app.domain.session.settlement import Settlement, settle
from app.domain.units.ids import SessionId
from app.flows.terminal import top_up as top_up_flow
from app.store.db.connection import Connection
from app.store.db.statements import Params
from app.store.sessions import payment_sessions
from app.store.tables import settlements
from tests.world.defects.planting import Defect, all_of, deciding, substitute
from tests.world.faults import site


def _stops_once(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    again = isinstance(step, SendStop) and session.stop is not None
    return Wait(now + timedelta(minutes=5)) if again else step


def _never_stops(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    limit = isinstance(step, SendStop) and step.reason is StopReason.LIMIT_REACHED
    return Wait(now + timedelta(minutes=5)) if limit else step


def _captures_all(authorized_minor: int, price_minor: int, **rest: Any) -> Settlement:
    settled = settle(authorized_minor, price_minor, **rest)
    return replace(
        settled, to_capture_minor=price_minor, to_release_minor=max(0, authorized_minor - price_minor)
    )


def _a_cent_less(amount: Decimal, currency: str, rounding: Any) -> int:
    """The simulator's prices have whole cents, so that rounding alone would not show here."""
    return max(0, int((amount * 100).quantize(Decimal(1), ROUND_FLOOR)) - 1)


def _settles_when_stopped(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    """Settles by the last price seen instead of the final one."""
    charge = session.charge
    ready = charge is not None and charge.ended and charge.latest.price is not None and charge.energy_wh
    return Settle() if ready and isinstance(step, ReadCharge | Wait) and not session.ended else step


def _settles_while_stopping(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    charge = session.charge
    ready = session.stop is not None and charge is not None and charge.latest.price and not session.ended
    return Settle() if ready and not isinstance(step, SendStop) else step


async def _settlements_follow_reports(
    connection: Connection,
    edits: Sequence[tuple[PaymentSession, Change]],
    now: datetime,
    sealer: Sealer,
    *,
    claims: Mapping[SessionId, Params] | None = None,
) -> list[PaymentSession]:
    """Lets a report of the PSP change the amount."""
    for before, change in edits:
        session = change.session
        if before.settlement is None or session.settlement in (None, before.settlement):
            continue
        await connection.execute(
            update(settlements)
            .where(settlements.c.session_id == session.id)
            .values(to_capture_minor=0, to_release_minor=session.authorized_minor, action="release")
        )
    return await _SAVE_ALL(connection, edits, now, sealer, claims=claims)


_SAVE_ALL = payment_sessions.save_all


def _top_up_always(session: PaymentSession, to_do: str) -> None:
    """Accepts a top-up whatever has been decided."""


def _no_limits(session: PaymentSession, policy: Policy) -> Any:
    found = start_limits(session, policy)
    return replace(found, price_limit=None, kwh_limit=None)


DEFECTS: tuple[Defect, ...] = (
    Defect(
        name="no limits at Monta, and no stop",
        plant=all_of(substitute(monta_calls, "start_limits", _no_limits), deciding(_never_stops)),
        noticed_in=14,
    ),
    Defect(
        name="stop sent once",
        plant=deciding(_stops_once),
        under=(site.stops_ignored, site.limits_ignored),
        noticed_in=10,
    ),
    Defect(
        name="captures above the authorization",
        plant=substitute(settle_module, "settle", _captures_all),
        under=(site.deaf_charge_point,),
    ),
    Defect(name="takes a cent less", plant=substitute(settle_module, "to_minor", _a_cent_less), noticed_in=2),
    Defect(name="settles by the last price seen", plant=deciding(_settles_when_stopped), noticed_in=2),
    Defect(name="settles while the charge runs", plant=deciding(_settles_while_stopping)),
    Defect(
        name="the settlement is rewritten",
        plant=substitute(payment_sessions, "save_all", _settlements_follow_reports),
        schema=("DROP TRIGGER decided_once ON settlements",),
    ),
    Defect(
        name="top-ups after the end",
        plant=substitute(top_up_flow, "_check_running", _top_up_always),
        under=(site.top_up,),
        noticed_in=2,
    ),
)
