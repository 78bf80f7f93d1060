"""Decisions about alerts, the outages that would have been told, and the variables of a row's command."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW
from support.hostile_fleet import WEAPONS
from support.tracked_environments import named, tracked

from envwatch.alerts.alert_policy import Decision, Rule, Word
from envwatch.fleet.uptime import Uptime
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.text import EMPTY, SafeText, clean
from envwatch.views.command_context import (
    KEY_VARIABLE,
    ROW_VARIABLES,
    child_environment,
    ending_text,
    row_variables,
)
from envwatch.views.output.alert_decisions import (
    DecidedRow,
    answer_to_word,
    decisions_json,
    decisions_table,
    decisions_tally,
    new_names,
)
from envwatch.views.output.environment_list import ListedEnvironment
from envwatch.views.report.outages import (
    Downtime,
    PastLosses,
    joined,
    outages_json,
    outages_table,
    outages_tally,
    past_losses,
)

HOUR = 3_600_000.0
NEVER, ALWAYS = (Word(is_always, WallMs(0.0), clean("ann")) for is_always in (False, True))


def row(name: str = "a", rule: Rule = Rule.UPTIME, *, counts: bool = False, word: Word | None = None) -> DecidedRow:
    return DecidedRow(named(name), Decision(counts, rule, word))


def by_uptime(name: str, watched_h: float, *, counts: bool = False) -> DecidedRow:
    tracked = replace(named(name), uptime=Uptime().after(watched_h * HOUR, is_up=True))
    return DecidedRow(tracked, Decision(counts, Rule.UPTIME if watched_h >= 48 else Rule.FIRST_DAYS))


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([], "0 machines page"),
        ([row(counts=True)], "1 machine pages"),
        ([row(counts=True), row(rule=Rule.EXPECT, counts=True)], "2 machines page"),
        (
            [by_uptime("a", 48), by_uptime("b", 47.99)],
            "0 machines page; not: 1 not up enough, 1 watched for under two days",
        ),
        ([by_uptime("a", 47.99, counts=True)], "1 machine pages"),
        ([row(rule=Rule.SYSTEM)], "0 machines page; not: 1 on a laptop's system"),
        (
            [row(rule=rule) for rule in (Rule.ALERT, Rule.SANDBOX, Rule.SHARED, Rule.WORD, Rule.WORD)],
            "0 machines page; not: 2 never, 1 by the server, 1 in a sandbox, 1 outside `alert`",
        ),
    ],
)
def test_the_rows_are_counted_by_the_reason(rows: list[DecidedRow], text: str) -> None:
    assert decisions_tally(rows) == text


@pytest.mark.parametrize(
    ("watched_h", "rule", "counts", "is_new"),
    [
        (47.99, Rule.FIRST_DAYS, False, True),
        (48, Rule.UPTIME, False, False),
        (47.99, Rule.FIRST_DAYS, True, False),
        (47.99, Rule.SANDBOX, False, False),
    ],
)
def test_a_new_row_does_not_count_because_of_the_short_time(
    watched_h: float, rule: Rule, *, counts: bool, is_new: bool
) -> None:
    one = by_uptime("a", watched_h)._replace(decision=Decision(counts, rule))
    assert one.is_new is is_new


def test_eight_new_rows_are_named_and_the_others_counted() -> None:
    rows = [by_uptime(f"box-{number}", 10) for number in range(10)]
    assert new_names(rows[:8]) == ", ".join(f"box-{number}" for number in range(8))
    assert new_names(rows).endswith("box-7 and 2 more")
    assert new_names([by_uptime("old", 50)]) == EMPTY


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([row("ci-7", Rule.WORD, word=NEVER)], "ci-7 never pages now: A changes that"),
        ([row(name, Rule.WORD, counts=True, word=ALWAYS) for name in "ab"], "a and b always page now: A changes that"),
        ([row("box", Rule.SANDBOX)], "the rules decide about box again: does not page: a managed sandbox"),
        (
            [row("a", Rule.SANDBOX), row("b", counts=True)],
            "the rules decide about a and b again: 1 of 2 page",
        ),
        (
            [row("web", Rule.EXPECT, counts=True), row("b", Rule.WORD, word=NEVER)],
            "web is in `expect`, and always pages",
        ),
    ],
)
def test_the_answer_to_a_word_says_what_is_in_force(rows: list[DecidedRow], text: str) -> None:
    assert answer_to_word(rows, "A") == text


def test_the_answer_of_a_viewer_names_its_scope_and_what_the_serving_host_does() -> None:
    for counts, still in ((True, "still pages"), (False, "does not page")):
        served = named("web", envwatch={"alerts": {"pages": counts, "why": "up 99 %"}})
        said = DecidedRow(served, Decision(counts=False, rule=Rule.WORD, word=NEVER))
        for server, host in (("watch:8283/profiles/work", "watch:8283"), ("", "the serving host")):
            text = f"web never pages now on this machine (A changes that); {host} {still}"
            assert answer_to_word([said], "A", server_of={served.profile: clean(server)}.__getitem__) == text


def test_the_table_and_the_json_have_a_share_once_the_share_is_known_and_a_profile_if_there_are_several() -> None:
    known, new = by_uptime("web", 48, counts=True), by_uptime("x" * 41, 1)
    assert list(decisions_table([known, new])) == [
        ("NAME", "UP7D", "WHY"),
        ("web", "100 %", "pages: up 100 % of 2 days"),
        (f"{'x' * 32}…{'x' * 7}", "-", "does not page: watched for 1 of 48 h"),
    ]
    work = known._replace(tracked=replace(known.tracked, profile=clean("work")))
    assert list(decisions_table([work, new])) == [
        ("NAME", "PROFILE", "UP7D", "WHY"),
        ("web", "work", "100 %", "pages: up 100 % of 2 days"),
        (f"{'x' * 32}…{'x' * 7}", "", "-", "does not page: watched for 1 of 48 h"),
    ]
    decoded = json.loads(decisions_json([work, new]))
    assert [(each["profile"], each["pages"], each["up7d"]) for each in decoded] == [
        ("work", True, 1.0),
        (None, False, None),
    ]


def outage(id_: str, lasted_s: float, **values: Any) -> Downtime:
    lasted = timedelta(seconds=lasted_s)
    usual: dict[str, Any] = {"began_at": ServerMs(1.0), "ended_at": None, "reason": None}
    return Downtime(clean(id_), clean(id_), lasted=lasted, seen=lasted, **usual | values)


@pytest.mark.parametrize(("lasted_s", "found", "short"), [(239.999, 0, 1), (240, 1, 0)])
def test_an_outage_of_the_length_of_alert_after_would_have_been_told(lasted_s: float, found: int, short: int) -> None:
    losses = past_losses([outage("a", lasted_s)], lambda _: True, timedelta(minutes=4), EMPTY)
    assert (len(losses.found), losses.short, losses.needless) == (found, short, 0)


def test_outages_of_several_profiles_are_in_the_order_of_their_begins() -> None:
    def counts(id_: SafeText) -> bool:
        return id_ != "laptop"

    outages = [outage("b", 300, began_at=ServerMs(20.0)), outage("laptop", 300), outage("c", 10)]
    one = past_losses(outages, counts, timedelta(minutes=4), clean("work"))
    other = past_losses(
        [outage("a", 300, began_at=ServerMs(10.0)), outage("z", 300, began_at=None)],
        counts,
        timedelta(minutes=4),
        clean("home"),
    )
    losses = joined([one, other])
    assert [(profile, outage.id) for profile, outage in losses.found] == [
        ("home", "z"),
        ("home", "a"),
        ("work", "b"),
    ]
    assert outages_tally(losses) == "3 outages would have been told, 1 too short, 1 of machines that do not page"
    assert outages_table(losses, UTC) == [
        ("BEGAN", "LASTED", "NAME", "PROFILE", "WHY"),
        ("before", "5m, still", "z", "home", "-"),
        ("1970-01-01 00:00:00Z", "5m, still", "a", "home", "-"),
        ("1970-01-01 00:00:00Z", "5m, still", "b", "work", "-"),
    ]
    (alone,) = past_losses(
        [outage("x" * 41, 300, ended_at=ServerMs(9.0), reason=clean("gone"))], counts, timedelta(minutes=4), EMPTY
    ).found
    assert outages_table(PastLosses([alone]), UTC)[1:] == [
        ("1970-01-01 00:00:00Z", "5m", f"{'x' * 32}…{'x' * 7}", "gone")
    ]
    decoded = json.loads(outages_json(PastLosses([*losses.found[:1], alone])))
    assert [(each["profile"], each["began_at"], each["ended_at"], each["lasted_s"]) for each in decoded] == [
        ("home", None, None, 300.0),
        (None, "1970-01-01T00:00:00.001Z", "1970-01-01T00:00:00.009Z", 300.0),
    ]
    assert outages_tally(PastLosses([])) == "0 outages would have been told"


# The variables of a row's command.


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


def test_an_outdated_verdict_is_unknown_next_to_the_last_verdict() -> None:
    assert variables()["ENVWATCH_STATE"] == "online"
    found = variables(is_unknown=True, profile="work")
    assert (found["ENVWATCH_STATE"], found["ENVWATCH_LAST_STATE"]) == ("unknown", "online")
    assert found["ENVWATCH_PROFILE"] == "work"


@given(st.text() | st.sampled_from(WEAPONS))
def test_every_value_is_text_alone_for_terminal_and_environment(text: str) -> None:
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
