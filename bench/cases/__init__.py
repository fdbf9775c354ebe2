"""The cases by name, in the order in which they run."""

from collections.abc import Awaitable, Callable, Mapping

from bench.cases import (
    authorize,
    backlog,
    console,
    fairness,
    finished,
    process,
    reads,
    replay,
    starts,
    stops,
    ticks,
    waiting,
    webhook,
)
from bench.rig.rig import Rig

CASES: Mapping[str, Callable[[Rig], Awaitable[None]]] = {
    "webhook": webhook.run,
    "replay": replay.run,
    "read": reads.run_read,
    "list": reads.run_list,
    "stop": stops.run,
    "overload": stops.run_overload,
    "backlog": backlog.run,
    "process": process.run,
    "wait": waiting.run,
    "authorize": authorize.run,
    "start": starts.run,
    "tick": ticks.run,
    "finished": finished.run,
    "fairness": fairness.run,
    "console": console.run,
}
"""Those that use the same running sessions come first."""
QUICK_CASES = ("webhook", "read", "list", "stop", "overload", "process", "authorize", "start")
"""Those that `--quick` runs unless others are named."""
