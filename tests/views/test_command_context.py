"""The variables of a row's command."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW
from support.hostile_fleet import WEAPONS
from support.tracked_environments import tracked

from envwatch.model.clock import ServerMs
from envwatch.model.text import clean
from envwatch.views.command_context import (
    KEY_VARIABLE,
    ROW_VARIABLES,
    child_environment,
    ending_text,
    row_variables,
)
from envwatch.views.output.environment_list import ListedEnvironment


def variables(*, is_unknown: bool = False, profile: str = "", **fields: Any) -> dict[str, str]:
    row = ListedEnvironment(tracked(id="env-1", **fields), ServerMs(NOW), is_unknown)
    return {**row_variables(row, profile)}


def test_every_variable_is_set_and_empty_without_a_value() -> None:
    found = variables(podId=None, metadata={"gitBranch": None}, connectionId=None)
    assert found.keys() == ROW_VARIABLES
    assert found["ENVWATCH_ID"] == "env-1"
    assert found["ENVWATCH_DEVICE"] == "device-of-env-1"
    assert {name for name, value in found.items() if not value} >= {
        "ENVWATCH_POD",
        "ENVWATCH_BRANCH",
        "ENVWATCH_PROFILE",
    }


def test_a_verdict_that_is_out_of_date_is_unknown_beside_the_last_one() -> None:
    assert variables()["ENVWATCH_STATE"] == "online"
    found = variables(is_unknown=True, profile="work")
    assert (found["ENVWATCH_STATE"], found["ENVWATCH_LAST_STATE"]) == ("unknown", "online")
    assert found["ENVWATCH_PROFILE"] == "work"


@given(st.text() | st.sampled_from(WEAPONS))
def test_no_value_has_a_character_that_a_terminal_or_an_environment_would_take_for_more_than_text(text: str) -> None:
    found = variables(connectionName=text, podId=text, metadata={"gitBranch": text, "workingDirectory": text})
    assert all(value == clean(value) and "\0" not in value for value in found.values())


@given(st.sets(st.sampled_from(["A", "B", "WORK_KEY", KEY_VARIABLE])), st.sets(st.sampled_from(["A", "WORK_KEY"])))
def test_a_command_gets_our_environment_without_any_key(names: set[str], key_variables: set[str]) -> None:
    found = child_environment(dict.fromkeys(names, "x"), {"ENVWATCH_ID": "env-1"}, key_variables)
    assert found.keys() == names - key_variables - {KEY_VARIABLE} | {"ENVWATCH_ID"}


def test_an_ending_is_said_in_words() -> None:
    assert [ending_text(code) for code in (0, 1, 255, -9)] == [
        "done",
        "failed with exit status 1",
        "failed with exit status 255",
        "ended by signal 9",
    ]
