"""bench: it starts, measures both systems and shows the rows; figures are never asserted."""

import asyncio
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.__main__ import arguments, measure
from bench.report import page, table
from bench.report.rows import TAPWATT, USUAL, Goal, Row, Rows, Want


def test_the_smallest_case_runs_against_both_systems() -> None:
    rows = Rows()
    facts = asyncio.run(measure(arguments(["webhook", "--smallest"]), rows))
    assert facts["failed"] == []
    applied = next(row for row in rows if row.label.endswith("applied"))
    assert all(applied.samples[system][0] > 0 for system in (USUAL, TAPWATT))
    assert facts["postgresql"] in json.dumps(facts)
    assert "applied" in table.plain(table.figures(rows))
    assert table.compared(rows, {"rows": [row.json() for row in rows]})[1][-1] == "1.00 x"


def test_an_unknown_case_is_refused_with_the_names_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(["webhooks"])
    assert "webhook, replay, read, list" in capsys.readouterr().err


def row(goal: Goal, usual: list[float], ours: list[float]) -> Row:
    return Row("case", "label", "req/s", goal, {USUAL: usual, TAPWATT: ours})


def test_the_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    slow_second_round = row(Goal(Want.TIMES, 4), usual=[100, 10, 100], ours=[400, 50, 300])
    assert slow_second_round.ratio == 4
    assert slow_second_round.met is True


def test_goals_are_judged_by_ratio_or_by_our_own_figure() -> None:
    assert row(Goal(Want.TIMES, 8), [100], [700]).met is False
    assert row(Goal(Want.SHARE, 0.2), [100], [20]).met is True
    assert row(Goal(Want.MOST, 50), [], [51]).met is False
    assert row(Goal(Want.LEAST, 300), [], [300]).met is True
    assert row(Goal(Want.TIMES, 8), [], [700]).met is None


def test_the_page_keeps_its_text_and_gets_tables_and_a_small_picture(tmp_path: Path) -> None:
    rows = Rows()
    for system, figure in ((USUAL, 100.0), (TAPWATT, 900.0)):
        rows.row("authorize", "16 callers", "req/s", Goal(Want.TIMES, 8)).add(
            system, figure, {"service": 5.0}
        )
    names = (
        "at",
        "cores",
        "cpu",
        "memory_gb",
        "system",
        "python",
        "postgresql",
        "fsync_ms",
        "load_before",
        "took_s",
    )
    facts = dict.fromkeys(names, "2")
    shown, drawn = tmp_path / "page.md", tmp_path / "picture.svg"
    shown.write_text(f"# Before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    page.write(rows, facts, shown, drawn)
    written = shown.read_text()
    assert written.startswith("# Before\n")
    assert written.endswith(f"{page.END}\nafter\n")
    assert "| authorize | 16 callers | req/s | 100 | 900 |" in written
    assert "old" not in written
    assert len(drawn.read_text()) < 100_000
    assert ElementTree.fromstring(drawn.read_text()).tag.endswith("svg")
