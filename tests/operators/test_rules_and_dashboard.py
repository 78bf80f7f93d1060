"""The files for operators: programs accept alert rules and examples, and the Grafana dashboard uses existing series."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.builders import NOW, environment, failed, listed, reading
from support.policies import soon
from support.prometheus_programs import (
    AMTOOL,
    OPERATORS,
    PROMTOOL,
    concrete,
    dashboard,
    expressions,
    needs_amtool,
    needs_promtool,
)

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.serve.exposition import Polls, exposition, with_poll

if TYPE_CHECKING:
    from pathlib import Path

    from envwatch.model.environment import Environment

RULES = (OPERATORS / "alerts.yml").read_text(encoding="utf-8")
CASES = sorted(OPERATORS.glob("*_test.yml"))


def said(*command: str | Path | None) -> str:
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def alerts() -> list[str]:
    return re.findall(r"- alert: (\w+)", RULES)


@pytest.mark.slow
@needs_promtool
@pytest.mark.parametrize("cases", CASES, ids=lambda cases: cases.name)
def test_each_alert_fires_and_resolves_in_time(cases: Path) -> None:
    assert "SUCCESS" in said(PROMTOOL, "test", "rules", cases)


def test_each_alert_has_cases_a_severity_a_summary_and_what_to_do() -> None:
    text = "".join(cases.read_text(encoding="utf-8") for cases in CASES)
    for alert in alerts():
        assert re.search(rf"- name: {alert}\b", text), alert
    rules = RULES.split("- alert: ")[1:]
    assert len(rules) == len(alerts())
    for rule in rules:
        assert re.search(r"severity: (critical|warning)\n", rule)
        assert "summary: " in rule
        assert "What to do: " in rule


def test_the_page_has_each_alert_with_its_time_and_its_severity() -> None:
    page = (OPERATORS / "README.md").read_text(encoding="utf-8")
    rules = re.findall(r"- alert: (\w+)\n(?:.*\n)*? +for: (\d+)m\n(?:.*\n)*? +severity: (\w+)\n", RULES)
    assert [name for name, _, _ in rules] == alerts()
    for name, minutes, severity in rules:
        line = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"for {minutes} minute" in line
        assert line.split("|")[3].strip() == severity


def test_the_page_links_to_each_file() -> None:
    page = (OPERATORS / "README.md").read_text(encoding="utf-8")
    links = {link for link in re.findall(r"\]\(([^)#]+)\)", page) if "://" not in link}
    assert all((OPERATORS / link).is_file() for link in links)
    for file in OPERATORS.iterdir():
        assert file.name == "README.md" or file.name.endswith("_test.yml") or file.name in links


@needs_promtool
def test_prometheus_takes_its_example(tmp_path: Path) -> None:
    shutil.copy(OPERATORS / "alerts.yml", tmp_path)
    shutil.copy(OPERATORS / "prometheus.yml", tmp_path)
    # Only the syntax: token and certificate are not on this machine.
    assert "SUCCESS" in said(PROMTOOL, "check", "config", "--syntax-only", tmp_path / "prometheus.yml")


@needs_amtool
def test_alertmanager_takes_its_example() -> None:
    assert "SUCCESS" in said(AMTOOL, "check-config", OPERATORS / "alertmanager.yml")


@needs_amtool
@pytest.mark.parametrize(("severity", "receiver"), [("critical", "pager"), ("warning", "chat")])
def test_alertmanager_sends_critical_alerts_to_the_pager(severity: str, receiver: str) -> None:
    config = OPERATORS / "alertmanager.yml"
    found = said(AMTOOL, "config", "routes", "test", f"--config.file={config}", f"severity={severity}")
    assert found.strip() == receiver


# -- the dashboard -----------------------------------------------------------------------------------------------------
OF_PROMETHEUS = {"up", "ALERTS", "node_textfile_mtime_seconds"}
"""Series of Prometheus or node_exporter."""

_NAME = re.compile(r"\b(?:envwatch[\w:]*|ALERTS\w*|node_\w+|up)\b(?!\")")
"""Possible series in an expression; names of alerts, jobs and files are quoted."""


def names_in(expression: str) -> set[str]:
    return set(_NAME.findall(re.sub(r'"[^"]*"', '""', expression)))


def rows(at: float, *, flapping_is_up: bool, pod_is_up: bool) -> list[Environment]:

    def row(number: int) -> Environment:
        is_up = {0: flapping_is_up, 1: True, 2: True, 3: True}.get(number, pod_is_up)
        beat = {"lastHeartbeat": at - 1_000, "lastSeenAt": at - 1_000, "podId": f"p-{number // 4}"}
        return environment(f"env-{number}", **(beat if is_up else {"connectionId": None, "lastHeartbeat": None}))

    return [row(number) for number in range(12)]


@pytest.fixture(scope="module")
def existing() -> set[str]:
    """Return all series of a fleet with every event, and the recorded series of the rules."""
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies=soon(), profile_name=clean("work"))
    polls: Polls = {}
    at: float = NOW
    for number in range(13):
        at = NOW + number * 31_000
        outcome = listed(rows(at, flapping_is_up=number % 2 == 0, pod_is_up=number < 11), at)
        monitor, _ = monitor.apply(NO_PROFILE, outcome, outcome.ended)
        polls = with_poll(with_poll(polls, NO_PROFILE, outcome), NO_PROFILE, failed(at=at))
    body, _ = exposition(monitor, polls, reading(at + 1_000), hooks={clean("pager"): False})
    samples = [sample for family in text_string_to_metric_families(body.decode()) for sample in family.samples]
    return {sample.name for sample in samples} | set(re.findall(r"- record: (\S+)", RULES)) | OF_PROMETHEUS


def test_the_fleet_of_these_tests_has_every_series(existing: set[str]) -> None:
    assert {"envwatch_incident_machines", "envwatch_environment_flapping"} <= existing


@pytest.mark.parametrize("title", expressions())
def test_each_query_of_the_dashboard_is_about_existing_series(title: str, existing: set[str]) -> None:
    names = names_in(expressions()[title])
    assert names
    assert names <= existing


def test_each_alert_is_about_existing_series(existing: set[str]) -> None:
    texts = re.findall(r"expr: \|\n((?: {10}.*\n)+)", RULES)
    assert len(texts) == len(re.findall(r"expr:", RULES))
    names = {name for text in texts for name in names_in(text)}
    assert "envwatch_environment_lost_together" in names
    assert names <= existing


def test_each_variable_and_each_mark_is_about_existing_series(existing: set[str]) -> None:
    loaded = dashboard()
    queries = [each["definition"] for each in loaded["templating"]["list"] if each["type"] == "query"]
    queries += [each["expr"] for each in loaded["annotations"]["list"]]
    assert len(queries) == 3
    for query in queries:
        assert names_in(query.replace("label_values", "")) <= existing


@needs_promtool
def test_prometheus_takes_each_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": each} for number, each in enumerate(expressions().values())]
    assert len(rules) >= 15
    path = tmp_path / "queries.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")  # YAML as well
    command = [str(PROMTOOL), "check", "rules", "--lint-fatal", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_dashboard_uses_any_chosen_data_source_and_its_panels_do_not_overlap() -> None:
    loaded = dashboard()
    assert loaded["id"] is None
    assert [each["name"] for each in loaded["templating"]["list"]] == ["datasource", "instance", "profile"]
    assert loaded["templating"]["list"][0]["type"] == "datasource"
    assert concrete('{instance=~"$instance"}') == '{instance=~".*"}'

    def sources(value: Any) -> list[Any]:
        if isinstance(value, dict):
            own = [value["datasource"]] if "datasource" in value else []
            return own + [found for each in value.values() for found in sources(each)]
        return [found for each in value for found in sources(each)] if isinstance(value, list) else []

    found = sources(loaded)
    assert len(found) > 30
    assert all(each == {"type": "prometheus", "uid": "${datasource}"} for each in found)

    panels = loaded["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below
