"""What a claim leads to: the steps of a session until it waits, or one duty of an operator."""

from typing import assert_never

from app.domain.steps import LookUp, ReadCharge, SendStart, SendStop, StopExtra, Wait
from app.flows import enforce, outcomes, probe, reconcile, start, sweep, track, turn, upkeep
from app.flows.tools import Tools
from app.store.duties import Duty, DutyLease
from app.store.leases import Lease

MAX_STEPS = 25
"""Steps in one claim; whoever needs more is due again at once, after the others."""


async def advance(tools: Tools, lease: Lease) -> None:
    """Turn by turn, call by call, until the session waits for something."""
    for _ in range(MAX_STEPS):
        decided = await turn.take_turn(tools, lease)
        if not isinstance(decided.step, Wait):
            await _call(tools, lease, decided)
        elif decided.given_back:
            return
    await turn.yield_turn(tools, lease)


async def _call(tools: Tools, lease: Lease, decided: turn.Turn) -> None:
    """Make the call that was decided, its intent being committed, and commit its outcome."""
    session = decided.session
    match decided.step:
        case SendStart():
            await start.send(tools, lease, session, decided_at_s=decided.decided_at_s)
        case LookUp():
            await start.look_up(tools, lease, session)
        case ReadCharge(charge_id):
            await track.read(tools, lease, session, charge_id)
        case SendStop():
            await enforce.stop(tools, lease, session)
        case StopExtra(charge_id):
            await enforce.stop_extra(tools, lease, session, charge_id)
        case Wait():
            return
        case _:
            assert_never(decided.step)


async def perform(tools: Tools, lease: DutyLease) -> None:
    """One duty of an operator, to its end."""
    match lease.duty:
        case Duty.UPKEEP:
            await upkeep.attend_operator(tools, lease)
        case Duty.SWEEP:
            await sweep.sweep(tools, lease)
        case Duty.RECONCILE:
            await reconcile.reconcile(tools, lease)
        case Duty.PLACES:
            await upkeep.apply_places(tools, lease)
        case Duty.PROBE:
            await probe.probe(tools, lease)
        case Duty.OUTCOMES:
            await outcomes.ask_for_outcomes(tools, lease)
        case _:
            assert_never(lease.duty)
