"""What run.py and the runner of all checks promise, as far as it can be tried without a network."""

import ast
from pathlib import Path

import pytest

import run
from tests import everything
from tests.postgres import ROOT


def test_it_parses_on_old_pythons_so_that_they_get_a_sentence() -> None:
    source = (ROOT / "run.py").read_text(encoding="utf-8")
    with pytest.raises(SyntaxError):
        ast.parse("if x := 1: pass", feature_version=(3, 6))
    ast.parse(source, feature_version=(3, 6))


def test_uv_is_pinned_and_hashed_in_the_developers_lock() -> None:
    block = run.pinned_block("uv", run.DEV_LOCK.read_text(encoding="utf-8"))
    assert block.startswith("uv==")
    assert block.count("==") == 1
    assert "--hash=sha256:" in block


def test_a_changed_lock_a_moved_checkout_and_another_lock_all_have_another_stamp(tmp_path: Path) -> None:
    one, other = tmp_path / "one.lock", tmp_path / "other.lock"
    one.write_text("a==1", encoding="utf-8")
    other.write_text("a==1", encoding="utf-8")
    before = run.stamp_for(one)
    assert run.stamp_for(other) != before
    one.write_text("a==2", encoding="utf-8")
    assert run.stamp_for(one) != before
    assert str(run.ENV) in before


def test_a_step_fails_when_any_program_of_its_pipeline_fails(capfd: pytest.CaptureFixture[str]) -> None:
    assert everything.passes(everything.Step("good", [["echo", "one"], ["grep", "one"]]))
    assert not everything.passes(everything.Step("bad", [["sh", "-c", "echo why >&2; exit 3"], ["cat"]]))
    assert not everything.passes(everything.Step("absent", [["no-such-program"]]))
    said = capfd.readouterr().out
    assert "why" in said
    assert "no-such-program" in said


def test_the_whole_suite_uses_every_core_and_a_few_tests_need_no_workers() -> None:
    assert everything.in_parallel([])[0] == "-n"
    assert int(everything.in_parallel(["-x", "-v"])[1]) >= everything.cores()
    for few in (["tests/domain"], ["-k", "money"], ["-kmoney"], ["--lf"], ["--pdb"], ["-n", "4"], ["-n0"]):
        assert everything.in_parallel(few) == []
