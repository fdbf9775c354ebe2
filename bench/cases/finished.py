"""Lists and searches over many finished sessions, for operations."""

from datetime import timedelta

from bench.cases.reads import measure
from bench.report.rows import TAPWATT, USUAL
from bench.rig import usual
from bench.rig.rig import Rig
from bench.rig.tapwatt import DONE

CASE = "finished"
AMOUNT = 5_000
APART = timedelta(seconds=1)
SEARCHES = {
    "newest 50": "limit=50",
    "by reference": "limit=50&reference={reference}",
    "a status that none has": "limit=50&status=charging",
}


async def run(rig: Rig) -> None:
    await rig.forget_sessions()
    await rig.usual.forget_sessions()
    tapwatt, count = rig.tapwatt, rig.scale.finished
    running = await tapwatt.running(DONE, AMOUNT)
    await tapwatt.call("POST", f"/v1/payment-sessions/{running.original.session_id}/stop")
    original = await tapwatt.original(await tapwatt.shown(running.original.session_id, "settlement"))
    await rig.copy_many(original, count, apart=APART)
    await rig.usual.sessions(count, status="completed", apart_s=APART.seconds)
    await rig.settle(TAPWATT, USUAL)
    ours, theirs = original.words(count // 2, APART)[original.reference], f"BENCH-{count // 2:09d}"
    for label, query in SEARCHES.items():
        paths = {TAPWATT: "/v1/ops/payment-sessions?" + query.format(reference=ours)}
        paths[USUAL] = "/ops/payment-sessions?" + query.format(reference=theirs)
        await measure(
            rig,
            CASE,
            f"{label}, of {count:,}",
            theirs={"path": paths[USUAL], "key": usual.KEY, "count": 1},
            ours={"path": paths[TAPWATT], "key": tapwatt.ops_key, "count": 1},
        )
    await rig.forget_sessions()
