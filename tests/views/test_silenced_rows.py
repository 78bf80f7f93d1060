"""Silenced rows on every channel: rule line, block, list, JSON, check, pane, Explain, report, hooks."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import environment, listed, reading
from support.reports import names, section, told, values
from support.scripted_watch import SilencedNight, recurring_policies
from support.tracked_environments import contexts_at

from envwatch.fleet.alerting.incidents import Incident
from envwatch.fleet.alerting.recurring_hours import RecurringHours
from envwatch.fleet.events import NO_PROFILE, Kind, flatten
from envwatch.fleet.monitor import Monitor
from envwatch.hooks.decision import HookRule, HookState
from envwatch.hooks.message import Context, message_of
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import EMPTY, clean
from envwatch.views.events.event_stream import event_line, layout_of
from envwatch.views.events.matching import matcher_of
from envwatch.views.output.check_result import Metric, check_result_of
from envwatch.views.output.environment_list import environment_list_of_rows, remarks_in
from envwatch.views.output.formats import csv_of, json_of, line_of, summary_of, table_of
from envwatch.views.pane.explanation import explanation_rows
from envwatch.views.pane.layout import PaneLayout
from envwatch.views.pane.state_details import mark_lines
from envwatch.views.report.period import recorded_in
from envwatch.views.report.sections import report_of
from envwatch.views.table.arrangement import arrange
from envwatch.views.table.block import Aside, block_of
from envwatch.views.table.block_text import counts_text, why_text
from envwatch.views.table.table_view import View

if TYPE_CHECKING:
    from envwatch.views.output.environment_list import EnvironmentList
    from envwatch.views.report.document import ProfileReport
    from envwatch.views.table.block import Block


def evening() -> SilencedNight:
    """A laptop that went off in the hours of a silence, and a server that no silence covers."""
    night = SilencedNight().poll("16:00").poll("18:00").poll("18:00:05", "mac-1")
    return night.poll("19:00", "mac-1").poll("19:00:05", "mac-1", "web-1").poll_until("19:00:20", "mac-1", "web-1")


def morning() -> SilencedNight:
    night = evening()
    night.day += 1
    return night.poll("09:59:55", "mac-1").poll("10:00:05", "mac-1").poll("10:00:15", "mac-1")


def block(night: SilencedNight) -> Block:
    return block_of(night.monitor, reading(night.at))


def listing(night: SilencedNight) -> EnvironmentList:
    return environment_list_of_rows([*night.monitor.fleet.environments], night.monitor, View(), reading(night.at))


def test_a_silenced_row_stands_outside_the_block_and_is_counted_by_its_word() -> None:
    found = block(evening())
    assert found.asides == {Aside.SILENCED: 1}
    assert [[row.environment.label for row in line.off] for line in found.lines] == [["web-1"]]
    assert counts_text(found, ascii_only=False) == "○1"


def test_time_alone_moves_silenced_rows_into_the_block_at_the_end() -> None:
    night = evening()
    end = block(night).changes_at
    night.day += 1
    assert end == night.instant("10:00")
    night.poll("09:59:59", "mac-1", "web-1").tick("10:00")
    found = block(night)
    assert found.asides == {}
    not_back = found.newest
    assert not_back is not None
    assert [row.environment.label for row in not_back.off] == ["mac-1"]
    assert not_back.noticed_at == end
    assert why_text(not_back, night.monitor, reading(night.at)) == "not back by 10:00"


@pytest.mark.parametrize("skew", [-600_000, 0, 600_000])
def test_the_end_of_a_silence_is_by_the_clock_of_this_machine(skew: float) -> None:
    night = SilencedNight()
    monitor = night.monitor
    for time, is_up in (("16:00", True), ("18:00", False)):
        at = night.instant(time)
        row = environment("mac-1", connectionName="mac-1", connectionId="c" if is_up else None, lastHeartbeat=at)
        monitor, _ = monitor.apply(NO_PROFILE, listed([row], at, skew=skew), reading(at, skew))
    found = block_of(monitor, reading(night.instant("18:00"), skew))
    night.day += 1
    assert found.asides == {Aside.SILENCED: 1}
    assert found.changes_at == night.instant("10:00") + skew


def test_a_row_that_is_silenced_for_over_a_day_is_not_folded_away_as_old() -> None:
    weekend = Monitor.create(
        {NO_PROFILE: Limits()}, policies=recurring_policies(RecurringHours(days=frozenset({5, 6})))
    )
    night = SilencedNight(monitor=weekend, day=10).poll("23:59")
    night.day = 11
    night.poll("00:10", "mac-1")
    night.day = 12
    night.poll("12:00", "mac-1")
    found, fleet = block(night), night.monitor.fleet
    assert found.asides == {Aside.SILENCED: 1}
    silenced, loud = (arrange(contexts_at(fleet, night.at), View(), (), silenced=keys) for keys in (found.silenced, ()))
    assert (silenced.old, loud.old) == (0, 1)


def test_a_list_says_until_when_a_row_is_silenced() -> None:
    night = evening()
    found, now = listing(night), reading(night.at)
    rows = {row["name"]: row for row in json.loads(b"".join(json_of(found)))["environments"]}
    assert (rows["mac-1"]["state"], rows["mac-1"]["reason"]) == ("offline", "silenced until 10:00")
    assert (rows["web-1"]["state"], rows["web-1"]["reason"]) == ("offline", "disconnected")
    assert b'"silenced until 10:00"' in b"".join(csv_of(found))
    whole = found.__class__(
        **{
            **{name: getattr(found, name) for name in found.__slots__},
            "block": block(night),
            "remarks": remarks_in(night.monitor, now),
        }
    )
    table = b"".join(table_of(whole, width=None, encoding="utf-8", ascii_only=False)).decode()
    (line,) = [line for line in table.splitlines() if "mac-1" in line]
    assert "disconnected · silenced until 10:00" in line
    assert summary_of(whole, "host").startswith("5 environments at host: 1 off, 3 on, 1 silenced")
    line_text = line_of(whole, label=clean("acme"), age=timedelta(), encoding="utf-8", ascii_only=False)
    assert line_text == "○1 ●3 acme 0s\n".encode()


@pytest.mark.parametrize(
    ("night", "text", "detail"),
    [
        (evening, "1 problem in 5 environments (1 offline, 1 silenced): web-1", "web-1: offline (disconnected)"),
        (
            morning,
            "1 problem in 5 environments (1 offline): mac-1",
            "mac-1: offline (disconnected, not back by 10:00)",
        ),
    ],
)
def test_check_counts_a_silenced_row_apart_and_from_the_end_as_a_problem(night: object, text: str, detail: str) -> None:
    assert callable(night)
    one: SilencedNight = night()
    result = check_result_of(one.monitor, Metric.PROBLEMS, matcher_of(""), reading(one.at))
    assert result.text == text
    assert result.details[0].startswith(detail)
    silenced = next(datum.value for datum in result.metrics(None, None) if datum.label == "silenced")
    assert silenced == int("silenced" in text)


@pytest.mark.parametrize(("seconds", "count"), [(9.999, 0), (10.0, 1)])
def test_check_without_a_past_waits_for_alert_after_from_the_end_of_the_hours(seconds: float, count: int) -> None:
    night = SilencedNight()
    night.off_at = {"mac-1": night.instant("18:00")}
    night.day += 1
    night.off_at = {"mac-1": night.off_at["mac-1"]}
    night.poll(f"10:00:{seconds:06.3f}", "mac-1")
    result = check_result_of(night.monitor, Metric.PROBLEMS, matcher_of(""), reading(night.at))
    assert (result.count, result.waiting) == (count, 1 - count)


def explained(night: SilencedNight) -> str:
    rows = explanation_rows(night.row("mac-1"), night.monitor, reading(night.at), UTC, PaneLayout(200))
    return "\n".join("".join(piece.text for piece in row) for row in rows[:2])


def marks(night: SilencedNight, name: str) -> list[tuple[str, str]]:
    lines = mark_lines(night.row(name), contexts_at(night.monitor, night.at)[NO_PROFILE])
    return [(line.label, line.text) for line in lines]


def test_pane_and_explanation_say_until_when_a_row_is_silenced_and_from_when_the_loss_counts() -> None:
    night, later = evening(), morning()
    assert marks(night, "mac-1") == [("silenced", "until 10:00")]
    assert marks(later, "mac-1") == [("silenced", "the silence is over: not back by 10:00")]
    assert marks(night, "web-1") == []
    night.silence("web-1", lasts=timedelta(hours=2, minutes=30))
    assert marks(night, "web-1") == [("silenced", "until 21:30 by ada: disks")]
    assert "This environment is offline: disconnected, silenced until 10:00, since" in explained(night)
    assert "A loss counts from the end of the silence" in explained(night)
    assert "This environment is offline: disconnected, not back by 10:00, since" in explained(later)


def test_a_silence_of_a_person_has_the_word_of_a_recurring_silence_in_list_json_and_report() -> None:
    night = evening()
    night.silence("web-1", "web-2")
    rows = {row["name"]: row for row in json.loads(b"".join(json_of(listing(night))))["environments"]}
    assert [rows[name]["reason"] for name in ("mac-1", "web-1")] == ["silenced until 10:00", "silenced until 20:00"]
    assert rows["web-2"]["reason"] == night.row("web-2").reason, "an environment that is up"
    remarks = {name: remarks_in(night.monitor, reading(night.at))[night.row(name).key] for name in ("mac-1", "web-2")}
    assert remarks == {"mac-1": "silenced until 10:00", "web-2": "silenced until 20:00"}
    night.poll("19:00:25", *night.off_at)  # the report has the recorded silences
    assert {each["name"]: each["silenced_until"][11:16] for each in values(report(night), "down")} == {
        "mac-1": "10:00",
        "web-1": "20:00",
    }


def report(night: SilencedNight) -> ProfileReport:
    until = WallMs(night.at)
    recorded = recorded_in(night.history, WallMs(until - 86_400_000), until, profile=clean("work"), host=clean("host"))
    assert recorded is not None
    return report_of(recorded, UTC)


def test_the_report_lists_silenced_rows_apart_and_the_rows_that_are_not_back_as_one_incident() -> None:
    night = evening().poll("19:05", "mac-1", "mac-2", "web-1")
    assert section(report(night), "down").heading == "Still down: 3 (2 silenced)"
    assert told(report(night), "down")[1:] == [
        "`mac-2` offline since 19:05 or before (under 1m): disconnected, pod `pod-1`, silenced until Fri 10 Oct 10:00",
        "`mac-1` offline since 18:00 (1h 5m): disconnected, pod `pod-1`, silenced until Fri 10 Oct 10:00",
    ]
    night.day += 1
    found = report(night.poll("10:00:05", "mac-1", "mac-2").poll("10:00:15", "mac-1", "mac-2"))
    assert told(found, "incidents")[0].endswith(
        "2 not back after a silence, on pod `pod-1`: `mac-1` and `mac-2`; none is back"
    )
    assert section(found, "down").heading == "Still down: 2"
    assert {each["reason"] for each in values(found, "down")} == {"not back by 10:00"}


@pytest.mark.parametrize(("until", "down_s", "share"), [("10:00", 0, 1), ("10:00:05", 5, 60 / 65), ("10:01", 60, 0.5)])
def test_availability_leaves_out_the_time_that_a_row_is_down_and_silenced(
    until: str, down_s: int, share: float
) -> None:
    night = SilencedNight().poll("09:58").poll_until("09:58:55").poll("09:59", "mac-1", "web-1")
    availability = values(report(night.poll_until(until, "mac-1", "web-1")), "availability")
    laptop, server = (each for name in ("mac-1", "web-1") for each in availability if each["name"] == name)
    assert (laptop["down_s"], laptop["outages"]) == (down_s, int(down_s > 0))
    assert laptop["share"] == pytest.approx(share)
    assert (server["down_s"], server["outages"]) == (60 + down_s, 1)


def test_a_row_that_was_down_and_silenced_all_the_time_has_no_availability() -> None:
    night = SilencedNight()
    night.off_at = {"mac-1": night.instant("18:00")}
    night.poll("19:00", "mac-1").poll_until("19:01", "mac-1")
    assert {*names(report(night), "availability")} == {*night.names} - {"mac-1"}


CONTEXT = Context(source="https://letta.example/v1/environments", host="host", profile="work")


def test_one_message_says_which_rows_are_not_back() -> None:
    night = evening().poll("19:05", "mac-1", "mac-2", "web-1")
    state = HookState(hook=EMPTY, rule=HookRule())
    night.day += 1
    night.poll("09:59", "mac-1", "mac-2")
    fired: list[Any] = []
    for time in ("10:00:05", "10:00:15", "10:00:20"):
        at = night.instant(time)
        night.at = at
        night.poll(time, "mac-1", "mac-2")
        night.monitor, changes = night.monitor.tick(reading(at))
        state, found = state.apply(changes._replace(opened=tuple(night.opened)), night.monitor, {NO_PROFILE})
        fired += found
        for each in found:
            ledger = night.monitor.ledger.due(each.id or EMPTY, EMPTY, NO_PROFILE, reading(at).monotonic)
            night.monitor = replace(night.monitor, ledger=ledger)
    messages = [message_of(each, clean("page"), CONTEXT, night.monitor, reading(night.at)) for each in fired]
    (message,) = [each for each in messages if "not back" in each.summary]
    assert message.summary == "2 not back by 10:00: mac-1 and 1 other"
    assert message.text == "mac-1: not back by 10:00\nmac-2: not back by 10:00"
    assert isinstance(message.subject, Incident)
    assert not message.subject.is_mass


@pytest.mark.parametrize(("back_at", "are_told"), [("08:00", False), ("10:30", True)])
def test_a_hook_for_returns_is_told_of_a_return_after_the_silence_only(back_at: str, *, are_told: bool) -> None:
    night = SilencedNight().poll("16:00").poll("18:00", "mac-1")
    night.day += 1
    night.poll("07:00", "mac-1")
    if are_told:
        night.poll("10:00", "mac-1").poll("10:20", "mac-1")
    before = len(night.events)
    night.poll(back_at)
    (event,) = [each for each in flatten(night.events[before:]) if each.kind is Kind.ONLINE]
    _, changes = night.monitor.tick(reading(night.at))
    _, fired = HookState(hook=EMPTY, rule=HookRule(kinds=frozenset({Kind.ONLINE}))).apply(
        changes._replace(events=(event,)), night.monitor, {NO_PROFILE}
    )
    assert bool(fired) is are_told


def test_the_line_of_watch_names_the_rows_that_are_not_back() -> None:
    night = evening().poll("19:05", "mac-1", "mac-2", "web-1")
    night.day += 1
    night.poll("10:00:05", "mac-1", "mac-2")
    (event,) = [each for each in night.events if each.kind is Kind.NOT_BACK]
    line = event_line(event, layout_of(night.monitor.fleet, UTC))
    assert line.split(None, 2)[1] == "not-back"
    assert line.endswith("by 10:00, mac-1, mac-2")
