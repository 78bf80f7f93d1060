"""Suggested quiet hours as tables: blocks of rows, the shortest filter, and TOML that the configuration reads."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st
from support.builders import environment
from support.habits import Weeks, a_company

from envwatch.config.validators import QuietTable
from envwatch.fleet.alerting.alert_policy import AlertPolicy
from envwatch.fleet.alerting.quiet import quiet_end
from envwatch.fleet.presence import Presence
from envwatch.model.clock import WallMs
from envwatch.model.text import cells, clean
from envwatch.views.events.matching import matcher_of
from envwatch.views.report.profile_report import recorded_in
from envwatch.views.report.quiet_suggestion import QuietSuggestions, json_of, suggestions_in, tables_of

if TYPE_CHECKING:
    from envwatch.fleet.alerting.quiet import QuietHours
    from envwatch.views.report.profile_report import Recorded

BERLIN: Final = ZoneInfo("Europe/Berlin")
MONDAY: Final = date(2026, 10, 19)
EVERY: Final = timedelta(minutes=30)


def some_weeks(days: int = 14) -> Weeks:
    return Weeks(BERLIN, MONDAY, days)


def recorded(weeks: Weeks) -> Recorded:
    history = weeks.recorded(EVERY)
    since, until = weeks.period
    found = recorded_in(history, WallMs(since), WallMs(until), profile=clean("work"), host=clean("letta.example"))
    assert found is not None
    return found


def suggested(weeks: Weeks, **policy: Any) -> QuietSuggestions:
    return suggestions_in(recorded(weeks), AlertPolicy(zone=weeks.zone, **policy))


def tables(found: QuietSuggestions) -> list[QuietHours]:
    return [QuietTable(**table).value for table in tomllib.loads(tables_of(found, "")).get("quiet", [])]


def office(weeks: Weeks, *names: str, begin: float = 9, end: float = 18, **wire: Any) -> None:
    for name in names:
        weeks.office(name, Random(1), begin=begin + 0.2, end=end + 0.2, jitter=0.1, **wire)


def test_rows_with_a_common_trait_share_a_block_with_a_filter_that_matches_no_other_row() -> None:
    weeks = some_weeks()
    office(weeks, "ana", "hiro", metadata={"os": "darwin"})
    office(weeks, "kim", metadata={"os": "win32"})
    weeks.always_on("web", metadata={"os": "linux"})
    found = suggested(weeks)
    assert [str(each) for each in tables(found)] == [
        "os:darwin,win32 18:30-09:30",
        "os:darwin,win32 sat-sun 09:30-18:30",
    ]
    weeks.always_on("mac-build", metadata={"os": "darwin"})
    assert {each.filter for each in tables(suggested(weeks))} == {"name:ana,hiro,kim"}


def test_rows_with_other_hours_have_a_block_of_their_own() -> None:
    weeks = some_weeks()
    office(weeks, "ana", "hiro", metadata={"os": "darwin"})
    office(weeks, "kim", begin=12, end=21, metadata={"os": "darwin"})
    assert {each.filter for each in tables(suggested(weeks))} == {"name:ana,hiro", "name:kim"}


def test_a_name_within_another_name_is_written_as_an_equal_text() -> None:
    weeks = some_weeks()
    office(weeks, "ana")
    weeks.always_on("ana-build")
    assert {each.filter for each in tables(suggested(weeks))} == {"name:=ana"}


def test_two_rows_of_one_name_are_told_apart_by_id() -> None:
    weeks = some_weeks()
    office(weeks, "a", connectionName="same")
    weeks.always_on("b", connectionName="same")
    assert {each.filter for each in tables(suggested(weeks))} == {"id:=env-a"}


def test_rows_that_end_by_design_or_never_alert_get_no_hours() -> None:
    weeks = some_weeks()
    office(weeks, "ci-1", "test-1", "ana")
    office(weeks, "box", listenerInstanceId="sandbox:1")
    found = suggested(weeks, ephemeral=matcher_of("name:ci-*"), alert=matcher_of("!name:test-*"))
    assert {each.filter for each in tables(found)} == {"name:ana"}


def test_rows_whose_hours_are_covered_are_named_and_not_suggested_again() -> None:
    weeks = some_weeks()
    office(weeks, "ana", "hiro")
    first = tables(suggested(weeks))
    policy = {"quiet": tuple((matcher_of(each.filter), each) for each in first)}
    found = suggested(weeks, **policy)
    assert [each.environment.label for each in found.covered] == ["ana", "hiro"]
    assert tables_of(found, "") == ""
    weekday_nights = {"quiet": policy["quiet"][:1]}
    assert not suggested(weeks, **weekday_nights).covered, "the days of the weekend are open"


def test_the_filter_of_the_command_chooses_rows_but_other_rows_still_count_for_the_filter_of_a_block() -> None:
    weeks = some_weeks()
    office(weeks, "mac-1", "mac-2", metadata={"os": "darwin"})
    weeks.always_on("mac-3", metadata={"os": "darwin"})
    found = suggestions_in(recorded(weeks), AlertPolicy(zone=BERLIN), matcher_of("name:mac-1"))
    assert {each.filter for each in tables(found)} == {"name:mac-1"}


def test_rows_with_many_outages_outside_their_hours_are_proposed_as_ephemeral_in_a_comment() -> None:
    weeks = some_weeks()
    for name, pauses in (("ana", 3), ("hiro", 2)):
        for day in [day for day in weeks.dates if day.weekday() < 5]:
            at = 10 + day.day * 7 % 6 if day.day % 5 < pauses else 17
            weeks.on.setdefault(name, []).extend(
                [(weeks.at(day, 9), weeks.at(day, at)), (weeks.at(day, at + 1), weeks.at(day, 18))]
            )
        weeks.wire[name] = {"metadata": {"os": "darwin"}}
    found = suggested(weeks)
    assert found.restless == ("os:darwin",)
    assert '\n# ephemeral = "os:darwin"\n' in tables_of(found, "")
    assert "ephemeral" not in tomllib.loads(tables_of(found, ""))
    assert suggested(weeks, ephemeral=matcher_of("name:ci-*")).restless == ("name:ci-*", "ana", "hiro")


def test_a_company_gets_hours_for_each_habit_and_for_nothing_else() -> None:
    weeks = a_company(BERLIN, MONDAY, laptops=8, servers=4)
    recording = recorded(weeks)
    found = suggestions_in(recording, AlertPolicy(zone=BERLIN))
    rows = {str(row.tracked.environment.label): each.hours for each in found.suggestions for row in each.rows}
    expected = {name for name in weeks.on if not name.startswith(("web-", "sandbox", "scrapped"))}
    assert rows.keys() == expected
    matchers = {hours: matcher_of(hours.filter) for hours in tables(found)}
    for tracked in recording.last.profile_state.environments.values():
        assert tracked.presence is not Presence.MISSING
        name = str(tracked.environment.label)
        matching = tuple(hours for hours, matcher in matchers.items() if matcher.matches(tracked, weeks.period[1]))
        assert matching == rows.get(name, ())
        if name == "night-shift" or name.startswith("laptop-"):
            lefts = [(until + EVERY).timestamp() * 1000 for _, until in weeks.on[name]]
            assert sum(quiet_end(matching, at, BERLIN) is not None for at in lefts) >= 0.9 * len(lefts)


def test_every_line_fits_a_terminal_of_80_columns() -> None:
    weeks = some_weeks()
    office(weeks, *(f"{letter}-{'long-' * 5}{letter}" for letter in "abcdefgh"))
    weeks.always_on("other")
    text = tables_of(suggested(weeks), "a \x7f")
    assert '[[profiles."a \\u007f".quiet]]' in text
    assert all(cells(clean(line)) < 80 for line in text.splitlines())
    assert tomllib.loads(text)["profiles"]["a \x7f"]["quiet"][0]["filter"].count(",") == 7


names: Final = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12) | st.sampled_from(
    [
        '"',
        "'",
        "\\",
        '"""',
        "#",
        "]]\n[[hooks]]",
        "\x7f",
        "a,b",
        "none",
        "=x",
        "!x",
        "*",
        "\u202e",
        "\ud800",
        "a  b ",
        "⚠️",
    ]
)


@cache
def pair() -> Recorded:
    weeks = some_weeks()
    office(weeks, "a", "b")
    weeks.always_on("c", connectionName="laptop")
    return recorded(weeks)


@given(first=names, second=names)
def test_any_names_give_toml_whose_filter_matches_exactly_the_rows(first: str, second: str) -> None:
    recording = pair()
    rows = dict(recording.last.profile_state.environments)
    for id_, name in (("env-a", first), ("env-b", second)):
        row = rows[clean(id_)]
        rows[clean(id_)] = replace(row, environment=environment(id_, connectionName=name))
    state = replace(recording.last.profile_state, environments=rows)
    found = suggestions_in(
        replace(recording, last=replace(recording.last, profile_state=state)), AlertPolicy(zone=BERLIN)
    )
    matched = set()
    for hours in tables(found):
        matcher = matcher_of(hours.filter, found.profile)
        matched |= {str(id_) for id_, row in rows.items() if matcher.matches(row, 0)}
    assert matched == {"env-a", "env-b"}
    assert json.loads(json_of([found]))["profiles"][0]["suggestions"]
    assert tables_of(found, "").replace("\n", "").isprintable()
