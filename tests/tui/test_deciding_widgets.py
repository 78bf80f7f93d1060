"""Widgets draw decided values: no widget asks which rows are acknowledged, silenced or alerting."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from envwatch.fleet.monitor import Monitor
from envwatch.tui import widgets

QUESTIONS = {
    "ack_of",
    "counted_from",
    "decision_by_rule",
    "decision_of",
    "is_acked",
    "is_alerting",
    "is_in_force",
    "is_judged_by_system",
    "is_loud",
    "policy_of",
    "silenced",
    "silenced_time",
}


def questions_in(source: str) -> set[str]:
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return {call.attr for call in calls if isinstance(call, ast.Attribute)} & QUESTIONS


@pytest.mark.parametrize("path", sorted(Path(*widgets.__path__).glob("*.py")), ids=lambda path: path.stem)
def test_a_widget_decides_nothing(path: Path) -> None:
    assert questions_in(path.read_text(encoding="utf-8")) == set()


def test_every_question_is_asked_of_the_monitor() -> None:
    assert {name for name in QUESTIONS if callable(getattr(Monitor, name, None))} == QUESTIONS
    assert questions_in("if self.state.monitor.is_acked(row) and line.is_acked: row.silenced") == {"is_acked"}
