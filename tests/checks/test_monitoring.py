"""Prometheus' rules, the dashboard and the docs name metrics that exist, and every alert leads to its section."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.checks.exported_metrics import exported
from tests.checks.pages import PAGES, anchors
from tests.checks.runbook import RULES_FILE, rules
from tests.postgres import ROOT

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/tapwatt.json").read_text(encoding="utf-8"))
EXPRESSIONS = {rule["alert"]: rule["expr"] for rule in rules()} | {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}
FROM_PROMETHEUS = {"up"}
"""What Prometheus adds itself, with these labels."""
OF_THE_TARGET = {"job", "instance"}
SELECTOR = re.compile(r"\b(tapwatt_\w+|up)\b(?:\{([^}]*)\})?")


def faults_of(expression: str) -> list[str]:
    """Series and labels of an expression that nothing exports."""
    known = {**exported(), **{name: set[str]() for name in FROM_PROMETHEUS}}
    found = []
    labels_here = set(OF_THE_TARGET)
    for name, matchers in SELECTOR.findall(re.sub(r'"tapwatt[^"]*"', '""', expression)):
        labels_here |= known.get(name, set())
        named = set(re.findall(r"(\w+)\s*[=!]", matchers))
        if name not in known or not named <= known[name] | OF_THE_TARGET:
            found.append(f"{name}{{{matchers}}}")
    for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
        found += sorted({label.strip() for label in grouped.split(",")} - labels_here)
    return found


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_names_only_series_and_labels_that_are_exported(name: str) -> None:
    assert SELECTOR.search(EXPRESSIONS[name])
    assert faults_of(EXPRESSIONS[name]) == []


def test_a_series_or_label_that_is_not_exported_is_found() -> None:
    assert faults_of("max(tapwatt_oldest_due) > 1") == ["tapwatt_oldest_due{}"]
    assert faults_of("tapwatt_sessions_settled > 1") == [
        "tapwatt_sessions_settled{}"
    ]  # a counter ends in _total
    assert faults_of('tapwatt_sessions{state="x"}') == ['tapwatt_sessions{state="x"}']
    assert faults_of("sum by (currency) (tapwatt_sessions)") == ["currency"]


def test_every_exported_metric_is_on_the_dashboard() -> None:
    shown = " ".join(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])
    histograms = {name.removesuffix("_bucket") for name in exported() if name.endswith("_bucket")}
    single = {name for name in exported() if not any(name.startswith(f"{h}_") for h in histograms)}
    assert {name for name in single | {f"{h}_bucket" for h in histograms} if name not in shown} == set()


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_is_whole_and_leads_to_its_section_of_the_runbook(rule: dict[str, Any]) -> None:
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "meaning", "look", "action", "runbook_url"}
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert page == "docs/runbook.md"
    assert anchor == rule["alert"].lower()
    assert anchor in set(anchors(ROOT / page))


def test_no_two_alerts_have_one_name_and_no_two_panels_one_place() -> None:
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]}
    assert len(places) == len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_takes_the_rules() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", str(RULES_FILE)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


TESTED = ROOT / "deploy/prometheus/alerts_test.yml"


def test_each_alert_is_made_to_fire_by_the_rules_own_test() -> None:
    groups = yaml.safe_load(TESTED.read_text(encoding="utf-8"))["tests"]
    fired = [
        name
        for group in groups
        for test in group["promql_expr_test"]
        for sample in test["exp_samples"]
        for name in re.findall(r'alertname="(\w+)"', sample["labels"])
    ]
    assert sorted(fired) == sorted(rule["alert"] for rule in rules())
    quiet = [test for test in groups[0]["promql_expr_test"] if test["exp_samples"] == []]
    assert quiet, "and what makes none of them fire"
    series = {SELECTOR.match(each["series"])[1] for group in groups for each in group["input_series"]}  # type: ignore[index]
    assert series <= exported().keys() | FROM_PROMETHEUS


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_sees_each_alert_fire_and_none_without_a_cause() -> None:
    done = subprocess.run(
        ["promtool", "test", "rules", str(TESTED)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    config = RULES_FILE.with_name("prometheus.yml")
    done = subprocess.run(
        ["promtool", "check", "config", str(config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_no_metric_that_does_not_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    ended = r"`(tapwatt_\w+_(?:total|seconds|minor|remaining|charges|overdue|attention|problem|in_use))[`{]"
    known = {name.removesuffix("_bucket") for name in exported()}
    assert set(re.findall(ended, text)) <= known
