"""Measures the service beside the usual way and the ceiling: `python -m bench [NAME ...]`."""

import argparse
import asyncio
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.cases import CASES, QUICK_CASES
from bench.report import page, table
from bench.report.rows import Rows
from bench.rig import machine
from bench.rig.rig import FULL, QUICK, SMALLEST, open_rig

EPILOG = """Each case runs by turns against the service, against the usual way to write one (FastAPI, async ORM, pydantic)
and, where it makes sense, against asyncpg alone. Read the ratios: figures of different runs depend on the machine.
bench/README.md says what each case measures."""


def arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run.py bench",
        description="Measure the service; all cases take a quarter of an hour.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"cases to run: {', '.join(CASES)}; all by default, with --quick {', '.join(QUICK_CASES)}",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="fewer cases, rounds and sizes, two minutes; shows big changes only",
    )
    parser.add_argument(
        "--smallest", action="store_true", help="only see that everything runs; the figures mean nothing"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples as JSON")
    parser.add_argument(
        "--compare", type=Path, metavar="FILE", help="show the rows beside those of an earlier --json"
    )
    parser.add_argument(
        "--markdown", action="store_true", help="also write the tables and the picture of docs/performance.md"
    )
    parser.add_argument(
        "--sessions",
        type=_positive,
        metavar="N",
        help="running sessions that get readings, instead of the usual number",
    )
    parser.add_argument(
        "--backlog", type=_positive, metavar="N", help="readings of each session in the case `backlog`"
    )
    parser.add_argument("--finished", type=_positive, metavar="N", help="sessions in the case `finished`")
    chosen = parser.parse_args(given)
    unknown = [name for name in chosen.names if name not in CASES]
    if unknown:
        parser.error(f"there is no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    return chosen


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("at least 1")
    return number


async def measure(chosen: argparse.Namespace, rows: Rows) -> dict[str, Any]:
    """Runs the chosen cases; returns what they ran on."""
    scale = SMALLEST if chosen.smallest else QUICK if chosen.quick else FULL
    scale = replace(
        scale,
        sessions=chosen.sessions or scale.sessions,
        backlog=chosen.backlog or scale.backlog,
        finished=chosen.finished or scale.finished,
    )
    began = time.monotonic()
    failed: list[str] = []
    async with open_rig(scale, rows) as rig:
        facts = machine.facts(rig.database.version, rig.folder)
        _say(f"started in {time.monotonic() - began:.0f} s")
        for name in chosen.names or (QUICK_CASES if chosen.quick else CASES):
            case_began = time.monotonic()
            try:
                await CASES[name](rig)
            except Exception as error:  # the other cases' figures are not lost
                failed.append(f"{name}: {type(error).__name__}: {error}")
                _say(f"FAILED {failed[-1]}")
            _say(f"{name}: {time.monotonic() - case_began:.0f} s")
    return facts | {"took_s": round(time.monotonic() - began), "quick": chosen.quick, "failed": failed}


def main(given: list[str]) -> int:
    chosen = arguments(given)
    earlier = json.loads(chosen.compare.read_text(encoding="utf-8")) if chosen.compare else None
    rows = Rows()
    facts = asyncio.run(measure(chosen, rows))
    print(f"{machine.sentence(facts)}; {facts['took_s']} s in all\n")
    print(table.plain(table.figures(rows)))
    print("\nCPU for each unit\n" + table.plain(table.cpu(rows)))
    if earlier is not None:
        print(f"\nCompared with {chosen.compare}\n" + table.plain(table.compared(rows, earlier)))
    if chosen.markdown:
        page.write(rows, facts)
    if chosen.json:
        document = {"facts": facts, "rows": [row.json() for row in rows]}
        chosen.json.write_text(json.dumps(document, indent=1), encoding="utf-8")
    for failure in facts["failed"]:
        print(f"FAILED {failure}")
    return 1 if facts["failed"] else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
