"""Silenced rows, replaced rows, and one id on two servers: one test for each sink of the facts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from support.builders import NOW, environment, list_of, listed, reading
from support.memory_history import MemoryHistory
from support.policies import soon
from support.reports import names, section, told, values
from support.scripted_watch import SilencedNight, recurring_policies
from support.series import Watch
from support.tracked_environments import ALL, contexts_at

from envwatch.alerts.hook_rules import HookRule, HookState
from envwatch.alerts.incident import Incident
from envwatch.alerts.monitor import Monitor
from envwatch.alerts.recurring_hours import RecurringHours
from envwatch.alerts.silences import silence_of_environments
from envwatch.deliver.message import Context, build_message
from envwatch.fleet.events import NO_PROFILE, Event, Kind, flatten
from envwatch.fleet.problems import counts_at
from envwatch.history.past import Moment
from envwatch.history.redaction import Redaction
from envwatch.model.acks import Ack
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import EMPTY, clean
from envwatch.query.language import parse
from envwatch.query.state_looks import style_of
from envwatch.views.events.cloud_events import cloud_event
from envwatch.views.events.event_stream import initial_line, layout_of
from envwatch.views.events.matching import EventFilter, compile_matcher
from envwatch.views.output.check_result import Metric, check_listing
from envwatch.views.output.environment_list import environment_list_of_rows, remarks_in
from envwatch.views.output.formats import iso, listing_json, listing_table, prompt_line, summary_of
from envwatch.views.pane.explanation import explanation_rows
from envwatch.views.pane.group_details import problem_lines
from envwatch.views.pane.layout import PaneLayout
from envwatch.views.pane.remedies import remedies
from envwatch.views.pane.state_details import mark_lines
from envwatch.views.report.period import recorded_in
from envwatch.views.report.sections import build_report
from envwatch.views.table.arrangement import arrange
from envwatch.views.table.block import Aside, build_block
from envwatch.views.table.block_text import counts_text, nothing_open_text, why_text
from envwatch.views.table.table_view import View

if TYPE_CHECKING:
    from collections.abc import Callable

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment
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


def two_laptops() -> SilencedNight:
    return evening().poll("19:05", "mac-1", "mac-2", "web-1")


def block(night: SilencedNight) -> Block:
    return build_block(night.monitor, reading(night.at))


# Silenced rows.


def test_time_alone_moves_silenced_rows_into_the_block_at_the_end() -> None:
    night = evening()
    found = block(night)
    end = found.changes_at
    assert (found.asides, counts_text(found, ascii_only=False)) == ({Aside.SILENCED: 1}, "○1 +1")
    night.day += 1
    assert end == night.instant("10:00")
    night.poll("09:59:59", "mac-1", "web-1").tick("10:00")
    found = block(night)
    assert found.asides == {}
    assert found.newest is not None
    assert [row.environment.label for row in found.newest.off] == ["mac-1"]
    assert found.newest.noticed_at == end
    assert why_text(found.newest, night.monitor.judge(reading(night.at))) == "not back by 10:00"


@pytest.mark.parametrize("skew", [-600_000, 600_000])
def test_the_end_of_a_silence_is_by_the_clock_of_this_machine(skew: float) -> None:
    night = SilencedNight()
    monitor = night.monitor
    for time, is_up in (("16:00", True), ("18:00", False)):
        at = night.instant(time)
        row = environment("mac-1", connectionName="mac-1", connectionId="c" if is_up else None, lastHeartbeat=at)
        monitor, _ = monitor.apply(NO_PROFILE, listed([row], at, skew=skew), reading(at, skew))
    found = build_block(monitor, reading(night.instant("18:00"), skew))
    night.day += 1
    assert found.asides == {Aside.SILENCED: 1}
    assert found.changes_at == night.instant("10:00") + skew


def test_a_row_silenced_for_over_a_day_is_not_folded_away_as_old() -> None:
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


def test_a_list_says_until_when_a_down_row_is_silenced() -> None:
    night = evening()
    night.silence("web-2")
    now = reading(night.at)
    found = environment_list_of_rows([*night.monitor.fleet.environments], night.monitor, View(), now)
    assert environment_list_of_rows([night.row("mac-1")], night.monitor, View(), now).hidden == 4
    rows = {row["name"]: row for row in json.loads(b"".join(listing_json(found)))["environments"]}
    assert {name: rows[name]["reason"] for name in ("mac-1", "web-1", "web-2")} == {
        "mac-1": "silenced until 10:00",
        "web-1": "disconnected",
        "web-2": "beating",
    }
    whole = replace(found, block=block(night), remarks=remarks_in(night.monitor, now))
    table = b"".join(listing_table(whole, width=None, encoding="utf-8", ascii_only=False)).decode()
    (line,) = [line for line in table.splitlines() if "mac-1" in line]
    assert "disconnected · silenced until 10:00" in line
    assert whole.remarks[night.row("web-2").key] == "silenced until 20:00"
    assert summary_of(whole, "host").startswith("5 machines at host: 1 off, 3 on, 1 silenced")
    line_text = prompt_line(whole, label=clean("acme"), age=timedelta(), encoding="utf-8", ascii_only=False)
    assert line_text == "○1 +1 ●3 acme 0s\n".encode()


@pytest.mark.parametrize(
    ("scene", "text", "detail"),
    [
        (evening, "1 of 5 machines paging (1 off, 1 silenced): web-1", "web-1: off (disconnected)"),
        (morning, "1 of 5 machines paging (1 off): mac-1", "mac-1: off (disconnected, not back by 10:00)"),
    ],
)
def test_check_counts_a_silenced_row_apart_and_from_the_end_as_a_problem(
    scene: Callable[[], SilencedNight], text: str, detail: str
) -> None:
    night = scene()
    result = check_listing(night.monitor, Metric.PAGING, compile_matcher(""), reading(night.at))
    assert result.text == text
    assert result.details[0].startswith(detail)
    silenced = next(datum.value for datum in result.metrics(None, None) if datum.label == "silenced")
    assert silenced == int("silenced" in text)


@pytest.mark.parametrize(("seconds", "count"), [(9.999, 0), (10.0, 1)])
def test_check_without_a_past_waits_for_alert_after_from_the_end_of_the_hours(seconds: float, count: int) -> None:
    night = SilencedNight()
    night.off_at = {"mac-1": night.instant("18:00")}
    night.day += 1
    night.poll(f"10:00:{seconds:06.3f}", "mac-1")
    result = check_listing(night.monitor, Metric.PAGING, compile_matcher(""), reading(night.at))
    assert (result.count, result.waiting) == (count, 1 - count)


def test_pane_and_explanation_say_until_when_a_row_is_silenced_and_from_when_the_loss_counts() -> None:
    def marks(night: SilencedNight, name: str) -> list[tuple[str, str]]:
        lines = mark_lines(night.row(name), contexts_at(night.monitor, night.at)[NO_PROFILE])
        return [(line.label, line.text) for line in lines]

    def explained(night: SilencedNight) -> str:
        rows = explanation_rows(night.row("mac-1"), night.monitor, reading(night.at), UTC, PaneLayout(200))
        return "\n".join("".join(piece.text for piece in row) for row in rows[:2])

    night, later = evening(), morning()
    assert marks(night, "mac-1") == [("silenced", "until 10:00")]
    assert marks(later, "mac-1") == [("silenced", "the silence is over: not back by 10:00")]
    assert marks(night, "web-1") == []
    night.silence("web-1", lasts=timedelta(hours=2, minutes=30))
    assert marks(night, "web-1") == [("silenced", "until 21:30 by ada: disks")]
    assert "This machine is offline: disconnected, silenced until 10:00, since" in explained(night)
    assert "A loss pages from the end of the silence" in explained(night)
    assert "This machine is offline: disconnected, not back by 10:00, since" in explained(later)


def report(night: SilencedNight) -> ProfileReport:
    until = WallMs(night.at)
    recorded = recorded_in(night.history, WallMs(until - 86_400_000), until, profile=clean("work"), host=clean("host"))
    assert recorded is not None
    return build_report(recorded, UTC)


def test_the_report_lists_silenced_rows_apart_and_the_rows_not_back_as_one_incident() -> None:
    night = two_laptops()
    assert section(report(night), "down").heading == "Still down: 3 (2 silenced)"
    assert told(report(night), "down")[1:] == [
        "`mac-2` offline since 19:05 or before (under 1m): disconnected, pod `pod-1`, silenced until Fri 10 Oct 10:00",
        "`mac-1` offline since 18:00 (1h 5m): disconnected, pod `pod-1`, silenced until Fri 10 Oct 10:00",
    ]
    night.silence("web-1")
    night.poll("19:05:05", *night.off_at)
    silenced = {each["name"]: each["silenced_until"][11:16] for each in values(report(night), "down")}
    assert silenced == {"mac-1": "10:00", "mac-2": "10:00", "web-1": "20:05"}
    night.day += 1
    found = report(night.poll("10:00:05", "mac-1", "mac-2").poll("10:00:15", "mac-1", "mac-2"))
    assert told(found, "incidents")[0].endswith("2 not back after a silence: `mac-1` and `mac-2`; none is back")
    assert section(found, "down").heading == "Still down: 2"
    assert {each["reason"] for each in values(found, "down")} == {"not back by 10:00"}


@pytest.mark.parametrize(("until", "down_s", "share"), [("10:00", 0, 1), ("10:00:05", 5, 60 / 65), ("10:01", 60, 0.5)])
def test_availability_leaves_out_the_time_in_a_silence(until: str, down_s: int, share: float) -> None:
    night = SilencedNight().poll("09:58").poll_until("09:58:55").poll("09:59", "mac-1", "web-1")
    availability = values(report(night.poll_until(until, "mac-1", "web-1")), "availability")
    laptop, server = (each for name in ("mac-1", "web-1") for each in availability if each["name"] == name)
    assert (laptop["down_s"], laptop["outages"]) == (down_s, int(down_s > 0))
    assert laptop["share"] == pytest.approx(share)
    assert (server["down_s"], server["outages"]) == (60 + down_s, 1)


def test_a_row_down_and_silenced_all_the_time_has_no_availability() -> None:
    night = SilencedNight()
    night.off_at = {"mac-1": night.instant("18:00")}
    night.poll("19:00", "mac-1").poll_until("19:01", "mac-1")
    assert {*names(report(night), "availability")} == {*night.names} - {"mac-1"}


CONTEXT = Context(source="https://letta.example/v1/environments", host="host", profile="work")


def test_one_message_names_the_rows_not_back() -> None:
    night, state = two_laptops(), HookState(hook=EMPTY, rule=HookRule())
    night.day += 1
    night.poll("09:59", "mac-1", "mac-2")
    fired: list[Any] = []
    for time in ("10:00:05", "10:00:15", "10:00:20"):
        night.at = night.instant(time)
        night.poll(time, "mac-1", "mac-2")
        night.monitor, changes = night.monitor.tick(reading(night.at))
        state, found = state.apply(changes._replace(opened=tuple(night.opened)), night.monitor, {NO_PROFILE})
        fired += found
        for each in found:
            ledger = night.monitor.ledger.due(each.id or EMPTY, EMPTY, NO_PROFILE, reading(night.at).monotonic)
            night.monitor = replace(night.monitor, ledger=ledger)
    messages = [build_message(each, clean("page"), CONTEXT, night.monitor, reading(night.at)) for each in fired]
    (message,) = [each for each in messages if "not back" in each.summary]
    assert message.summary == "2 not back by 10:00: mac-1 and 1 other"
    assert message.text == "mac-1: not back by 10:00\nmac-2: not back by 10:00"
    assert isinstance(message.subject, Incident)
    assert not message.subject.is_mass


# Replaced rows.

OLD_ID = clean("env-old")
END = NOW + 60_000


def row(name: str, *, up: bool = True, beat: float = NOW, **changes: Any) -> Environment:
    live = {"lastHeartbeat": beat, "lastSeenAt": beat}
    lost = {"connectionId": None, "connectedAt": None, "lastHeartbeat": None, "lastSeenAt": beat, "podId": None}
    instance = f"server-{sum(map(ord, name)):016x}"
    shared = {"connectionName": name, "deviceId": "machine", "listenerInstanceId": instance}
    return environment(f"env-{name}", **(shared | (live if up else lost) | changes))


def lived(*, is_renamed: bool = True) -> tuple[Monitor, list[Event], MemoryHistory]:
    """Play a minute in which a computer is renamed, or lost, next to another computer."""
    monitor, history = Monitor.create({NO_PROFILE: Limits()}), MemoryHistory()
    events: list[Event] = []
    down = row("old", up=False, beat=NOW + 4_000)
    for at in range(0, 60_001, 5_000):
        other = environment("env-other", lastHeartbeat=NOW + at)
        new = row("new", beat=NOW + at, firstSeenAt=NOW + 9_000)
        there = [down, new] if is_renamed else [down]
        rows = [row("old")] if at < 5_000 else [down] if at < 10_000 else there
        outcome = listed([*rows, other], NOW + at)
        monitor, changes = monitor.apply(NO_PROFILE, outcome, outcome.ended)
        history.record(monitor, changes)
        events += changes.events
    return monitor, events, history


MONITOR, EVENTS, _ = lived()
(PROFILE_STATE,) = MONITOR.fleet
OLD: TrackedEnvironment = PROFILE_STATE.environments[OLD_ID]
(RENAMED,) = [event for event in flatten(EVENTS) if event.kind is Kind.RENAMED]


def test_a_replaced_row_is_no_problem_and_stands_below_all_but_old_rows() -> None:
    block = build_block(MONITOR, reading(END))
    assert (block.asides, block.lines, MONITOR.incidents.open) == ({Aside.REPLACED: 1}, (), ())
    assert not MONITOR.judge(reading(END)).is_alerting(OLD)
    arrangement = arrange(contexts_at(MONITOR, END), View(), ALL)
    assert [tracked.environment.label for tracked in arrangement.rows] == ["laptop of env-other", "new", "old"]
    assert arrangement.old == 0
    later = reading(END + 86_400_000)
    assert arrange(contexts_at(MONITOR, later.wall + 86_400_000), View(), ALL).old == 1
    fleet = MONITOR.fleet.with_profile_state(NO_PROFILE, replace(PROFILE_STATE, listed=later))
    assert build_block(replace(MONITOR, fleet=fleet), later).asides == {Aside.OLD: 1}


@pytest.mark.parametrize(("is_renamed", "count"), [(True, 0), (False, 1)])
def test_check_reports_a_loss_and_no_rename(count: int, *, is_renamed: bool) -> None:
    rows = [row("old", up=False), *([row("new", beat=END, firstSeenAt=NOW)] if is_renamed else [])]
    outcome = listed(rows, END)
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}, policies=soon()).apply(NO_PROFILE, outcome, outcome.ended)
    result = check_listing(monitor, Metric.PAGING, compile_matcher(""), reading(END))
    assert (result.count, result.block.asides.get(Aside.REPLACED, 0)) == (count, 1 - count)
    others = check_listing(monitor, Metric.ON, compile_matcher(""), reading(END))
    assert [why.partition(",")[0] for _, why in others.named] == [
        "off (replaced by new)" if is_renamed else "off (disconnected)"
    ]


def test_list_watch_and_metrics_name_the_new_row_and_nothing_alerts() -> None:
    outcome = listed([row("old", up=False), row("new", firstSeenAt=NOW)])
    rows = json.loads(b"".join(listing_json(list_of(outcome))))["environments"]
    found = {each["name"]: (each["state"], each["reason"]) for each in rows}
    assert found["old"] == ("offline", "replaced by new")
    assert initial_line(OLD, NOW, layout_of(MONITOR.fleet), is_unknown=False).endswith("offline, replaced by new")
    series = Watch().take(outcome).series()
    assert series.by_id("envwatch_environment_up") == {"env-old": 0, "env-new": 1}
    assert series.by_id("envwatch_environment_paging") == {}
    assert series.by_id("envwatch_environment_down_since_timestamp_seconds") == {}


def test_nobody_starts_the_old_name_again_and_a_flapping_row_is_off() -> None:
    flapped = replace(OLD, is_flapping=True)
    for old in (OLD, flapped):
        (remedy,) = remedies(old, PROFILE_STATE, reading(END))
        assert remedy.command is None
        assert remedy.notes == ("Nothing needs to be done: replaced by new, this machine's new name.",)
    assert style_of(flapped, is_unknown=False).word == "off"
    state = replace(PROFILE_STATE, environments={OLD_ID: flapped})
    assert counts_at(state, reading(END)).flapping == 0


@pytest.mark.parametrize("is_renamed", [True, False])
def test_a_report_has_a_short_outage_and_a_rename_instead_of_a_loss(*, is_renamed: bool) -> None:
    _, _, history = lived(is_renamed=is_renamed)
    recorded = recorded_in(history, WallMs(NOW), WallMs(END), profile=clean("work"), host=clean("api.letta.com"))
    assert recorded is not None
    report = build_report(recorded)
    assert [each["id"] for each in values(report, "down")] == ([] if is_renamed else ["env-old"])
    (outage,) = values(report, "outages")
    assert (outage["ended_at"], outage["lasted_s"]) == ((iso(NOW + 10_000), 5) if is_renamed else (None, 55))
    renamed = [each for each in values(report, "changes") if each["kind"] == "renamed"]
    assert [(each["before"], each["after"]) for each in renamed] == ([("old", "new")] if is_renamed else [])


def test_the_event_is_a_rename_of_the_old_row_in_stream_and_log() -> None:
    event = cloud_event(RENAMED, MONITOR, reading(END), "https://host/v1/environments")
    assert event["type"].endswith(".renamed")
    data = {name: event["data"][name] for name in ("id", "before", "after", "reason")}
    assert data == {"id": "env-old", "before": "old", "after": "new", "reason": "replaced by new"}
    for query, is_found in (("old", True), ("new", True), ("changed:yes", True), ("third", False)):
        assert [*EventFilter(parse(query)).results(RENAMED)] == [is_found], query


def test_a_redacted_recording_keeps_the_link_and_no_name() -> None:
    redaction = Redaction()
    moment, event = redaction.moment(Moment(reading(END), PROFILE_STATE, {})), redaction.event(RENAMED)
    by_name = {each.environment.name: each for each in moment.profile_state.environments.values()}
    (old,) = [each for each in by_name.values() if each.replaced_by is not None]
    new = old.replaced_by_name
    assert new is not None
    assert by_name[new].environment.id == old.replaced_by
    assert (event.before, event.after, event.reason) == (old.environment.name, new, f"replaced by {new}")
    (appeared,) = [each for each in flatten(map(redaction.event, EVENTS)) if each.kind is Kind.APPEARED]
    assert appeared.reason == f"replaces {old.environment.name}, same device"
    assert not {"old", "new"} & {old.environment.name, new, event.name}


# One id on two servers.

SERVERS: Final = {clean("a-home"): clean("one.example"), clean("b-away"): clean("other.example")}
HOME, AWAY = SERVERS


def test_an_acknowledgement_or_a_silence_is_of_the_row_of_its_server() -> None:
    now, id_ = reading(), clean("env-1")
    monitor = Monitor.create(dict.fromkeys(SERVERS, Limits()), servers=SERVERS)
    monitor = monitor.with_acks({(SERVERS[HOME], id_): Ack(now.wall, clean("disk"))})
    for profile in SERVERS:
        row = environment(id_, connectionName=profile, connectionId=None, lastHeartbeat=None)
        monitor, _ = monitor.apply(profile, listed([row]), now)
    assert [(line.profile, line.is_acked) for line in build_block(monitor, now).lines] == [(AWAY, False), (HOME, True)]
    for query in ("acked:yes", "acknowledged:yes"):
        view = View(query=parse(query))
        assert [row.profile for row in arrange(contexts_at(monitor, now.wall), view, ALL).rows] == [HOME], query
    listing = environment_list_of_rows([*monitor.fleet.environments], monitor, View(), now)
    assert listing.acknowledged == {(HOME, id_): "disk"}
    lines = problem_lines([*monitor.fleet.environments], monitor, now)
    assert {line.label: line.text for line in lines}["acked"] == "a-home"
    silence = silence_of_environments([(SERVERS[AWAY], id_)], now.wall, timedelta(hours=1), EMPTY, clean("ana"))
    monitor = monitor.with_silences({silence.id: silence})
    rows = arrange(contexts_at(monitor, now.wall), View(query=parse("silenced:yes")), ALL).rows
    assert [row.profile for row in rows] == [AWAY]
    block = build_block(monitor, now)
    assert [line.profile for line in block.lines] == [HOME]
    assert nothing_open_text(block, monitor.fleet, now, None) == "nothing pages: 1 acknowledged, 1 silenced"
