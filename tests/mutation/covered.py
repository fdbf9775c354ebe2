"""Runs tests once and writes which lines each executed: `python -m tests.mutation.covered OUT PACKAGE TESTS...`."""

import json
import sys
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path

import pytest
from coverage import Coverage


class Contexts:
    """Switches coverage's context at each test and adds up the test's seconds."""

    def __init__(self, coverage: Coverage) -> None:
        self._coverage = coverage
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._coverage.switch_context(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration


def main(out: str, package: str, *tests: str) -> int:
    coverage = Coverage(data_file=None, source=[package], concurrency=["thread", "greenlet"])
    contexts = Contexts(coverage)
    coverage.start()
    status = pytest.main(["-q", "--tb=short", *tests], plugins=[contexts])
    coverage.stop()
    data = coverage.get_data()
    lines = {
        str(Path(file).relative_to(Path.cwd())): data.contexts_by_lineno(file)
        for file in data.measured_files()
    }
    Path(out).write_text(json.dumps({"seconds": contexts.seconds, "lines": lines}), encoding="utf-8")
    return int(status)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
