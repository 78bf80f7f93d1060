"""The alert rules and example configurations, checked by the programs that read them."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.prometheus_programs import AMTOOL, OPERATORS, PROMTOOL, needs_amtool, needs_promtool

if TYPE_CHECKING:
    from pathlib import Path

RULES = OPERATORS / "alerts.yml"
CASES = sorted(OPERATORS.glob("*_test.yml"))


def said(*command: str | Path | None) -> str:
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def alerts() -> list[str]:
    return re.findall(r"- alert: (\w+)", RULES.read_text(encoding="utf-8"))


@needs_promtool
@pytest.mark.parametrize("cases", CASES, ids=lambda cases: cases.name)
def test_each_alert_fires_and_resolves_when_it_should(cases: Path) -> None:
    assert "SUCCESS" in said(PROMTOOL, "test", "rules", cases)


def test_each_alert_has_cases() -> None:
    text = "".join(cases.read_text(encoding="utf-8") for cases in CASES)
    for alert in alerts():
        assert re.search(rf"- name: {alert}\b", text), alert


def test_each_alert_has_a_severity_a_summary_and_says_what_to_do() -> None:
    rules = RULES.read_text(encoding="utf-8").split("- alert: ")[1:]
    assert len(rules) == len(alerts())
    for rule in rules:
        assert re.search(r"severity: (critical|warning)\n", rule)
        assert "summary: " in rule
        assert "What to do: " in rule


def test_the_page_has_each_alert_with_its_time_and_its_severity() -> None:
    page = (OPERATORS / "README.md").read_text(encoding="utf-8")
    rules = re.findall(r"- alert: (\w+)\n(?:.*\n)*? +for: (\d+)m\n(?:.*\n)*? +severity: (\w+)\n", RULES.read_text())
    assert [name for name, _, _ in rules] == alerts()
    for name, minutes, severity in rules:
        line = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"for {minutes} minute" in line
        assert line.split("|")[3].strip() == severity


def test_the_page_links_to_each_file_that_is_there() -> None:
    page = (OPERATORS / "README.md").read_text(encoding="utf-8")
    links = {link for link in re.findall(r"\]\(([^)#]+)\)", page) if "://" not in link}
    assert all((OPERATORS / link).is_file() for link in links)
    for file in OPERATORS.iterdir():
        assert file.name == "README.md" or file.name.endswith("_test.yml") or file.name in links


@needs_promtool
def test_prometheus_takes_its_example(tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path)
    shutil.copy(OPERATORS / "prometheus.yml", tmp_path)
    # Only the syntax: token and certificate are not on this machine.
    assert "SUCCESS" in said(PROMTOOL, "check", "config", "--syntax-only", tmp_path / "prometheus.yml")


@needs_amtool
def test_alertmanager_takes_its_example() -> None:
    assert "SUCCESS" in said(AMTOOL, "check-config", OPERATORS / "alertmanager.yml")


@needs_amtool
@pytest.mark.parametrize(("severity", "receiver"), [("critical", "pager"), ("warning", "chat")])
def test_alertmanager_sends_what_cannot_wait_to_the_pager(severity: str, receiver: str) -> None:
    config = OPERATORS / "alertmanager.yml"
    found = said(AMTOOL, "config", "routes", "test", f"--config.file={config}", f"severity={severity}")
    assert found.strip() == receiver
