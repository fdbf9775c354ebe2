"""The one-minute demo: real processes, a simulated Monta, terminals. Its accounts must add up."""

import sys
import time

from app.demo.interrupts import DemoFailed, Interrupted, Interrupts
from app.demo.play import perform
from app.demo.screen import Screen, closing_table, verdict
from app.demo.setup import Installation, invitation, set_up
from app.demo.stories import STORIES
from app.demo.tariffs import GROUP_OF_POINT

__all__ = [
    "run_demo",
]


LOOK_S = 0.2


def run_demo(*, keep: bool = False, speed: float = 60) -> int:
    """Runs the demo. Exit status 0 when all adds up, 1 when not, 128 + n when ended by signal n (Ctrl-C: 130)."""
    interrupts = Interrupts()
    with interrupts.caught():
        try:
            return _demo(interrupts, keep=keep, speed=speed)
        except DemoFailed as error:
            print(f"\nThe demo failed. {error}", file=sys.stderr, flush=True)
            return 1
        except Interrupted as error:
            print("\nEnded: nothing is left running.", file=sys.stderr, flush=True)
            return error.status


def _demo(interrupts: Interrupts, *, keep: bool, speed: float) -> int:
    screen = Screen(STORIES, speed)
    points = set(GROUP_OF_POINT) if keep else {story.charge_point_id for story in STORIES}
    screen.say("Tapwatt's demo: real processes on this machine, and a simulated Monta.")
    with set_up(speed, interrupts, screen.step, points=points) as installation:
        screen.step(f"{len(STORIES)} drivers tap their cards\n")
        accounts = perform(installation, screen, STORIES, speed, interrupts)
        screen.say("")
        screen.console.print(closing_table(accounts))
        problems = verdict(accounts)
        screen.say("\n" + ("\n".join(problems) if problems else _all_well(len(accounts))))
        if keep:
            screen.say(invitation(installation))
            _linger(installation)
    return 1 if problems else 0


def _all_well(sessions: int) -> str:
    return (
        f"All {sessions} sessions add up: authorized = captured + released, captured = Monta's\n"
        "price, one POST /charges each, no hold left open, nothing left running at Monta,\n"
        "and no session needs attention."
    )


def _linger(installation: Installation) -> None:
    """Waits until a signal comes or a process ends."""
    while True:
        installation.processes.check()
        time.sleep(LOOK_S)
