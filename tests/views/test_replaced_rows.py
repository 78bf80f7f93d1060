"""A replaced row in every channel: no problem, and named with the replacing row."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import NOW, environment, list_of, listed, reading
from support.exact import exact
from support.memory_history import MemoryHistory
from support.policies import soon
from support.recording import decode_event, encode_event
from support.reports import values
from support.series import Watch
from support.tracked_environments import ALL, contexts_at

from envwatch.fleet.events import NO_PROFILE, Event, Kind, flatten
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import counts_at
from envwatch.history.encoding.frames import FrameEncoder, MomentBuilder
from envwatch.history.past import Moment
from envwatch.history.redaction import Redaction
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.query.language import parse
from envwatch.views.events.cloud_events import cloud_event, line_of
from envwatch.views.events.event_stream import initial_line, layout_of
from envwatch.views.events.event_text import event_text
from envwatch.views.events.matching import EventFilter, matcher_of
from envwatch.views.output.check_result import Metric, check_result_of
from envwatch.views.output.formats import iso, json_of
from envwatch.views.pane.remedies import remedies
from envwatch.views.pane.state_details import headline
from envwatch.views.report.period import recorded_in
from envwatch.views.report.sections import report_of
from envwatch.views.state_style import cause_text, style_of
from envwatch.views.table.arrangement import arrange
from envwatch.views.table.block import Aside, block_of
from envwatch.views.table.table_view import View

if TYPE_CHECKING:
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment

OLD_ID, NEW_ID = clean("env-old"), clean("env-new")
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
        other, new = (
            environment("env-other", lastHeartbeat=NOW + at),
            row("new", beat=NOW + at, firstSeenAt=NOW + 9_000),
        )
        there = [down, new] if is_renamed else [down]
        rows = [row("old")] if at < 5_000 else [down] if at < 10_000 else there
        outcome = listed([*rows, other], NOW + at)
        monitor, changes = monitor.apply(NO_PROFILE, outcome, outcome.ended)
        history.record(monitor, changes)
        events += changes.events
    return monitor, events, history


MONITOR, EVENTS, HISTORY = lived()
(PROFILE_STATE,) = MONITOR.fleet
OLD: TrackedEnvironment = PROFILE_STATE.environments[OLD_ID]
(RENAMED,) = [event for event in flatten(EVENTS) if event.kind is Kind.RENAMED]
MOMENT = Moment(reading(END), PROFILE_STATE, {})


def test_it_counts_as_offline_and_as_no_problem() -> None:
    assert [row.presence for row in PROFILE_STATE.known(reading(END))].count(Presence.OFFLINE) == 1
    assert block_of(MONITOR, reading(END)).asides == {Aside.REPLACED: 1}
    assert not MONITOR.is_alerting(OLD, reading(END))
    assert MONITOR.incidents.open == ()


def test_it_stands_below_all_others_and_above_the_old_ones() -> None:
    arrangement = arrange(contexts_at(MONITOR, END), View(), ALL)
    assert [tracked.environment.label for tracked in arrangement.rows] == ["laptop of env-other", "new", "old"]
    assert (arrangement.old, block_of(MONITOR, reading(END)).lines) == (0, ())
    arrangement = arrange(contexts_at(MONITOR, END + 2 * 86_400_000), View(), ALL)
    assert arrangement.old == 1


def test_the_rule_below_the_block_counts_it() -> None:
    down = environment("env-down", connectionId=None, lastHeartbeat=None, lastSeenAt=NOW)
    outcome = listed([row("old", up=False), row("new", firstSeenAt=NOW), down], NOW)
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, outcome, outcome.ended)
    block = block_of(monitor, outcome.ended)
    assert [tracked.environment.id for line in block.lines for tracked in line.off] == ["env-down"]
    assert block.asides == {Aside.REPLACED: 1}
    assert block.presences == {Presence.ONLINE: 1, Presence.OFFLINE: 1}


@pytest.mark.parametrize(("is_renamed", "count"), [(True, 0), (False, 1)])
def test_check_reports_a_loss_and_no_rename(count: int, *, is_renamed: bool) -> None:
    rows = [row("old", up=False), *([row("new", beat=END, firstSeenAt=NOW)] if is_renamed else [])]
    outcome = listed(rows, END)
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}, policies=soon()).apply(NO_PROFILE, outcome, outcome.ended)
    result = check_result_of(monitor, Metric.PROBLEMS, matcher_of(""), reading(END))
    assert (result.count, result.block.asides.get(Aside.REPLACED, 0)) == (count, 1 - count)
    others = check_result_of(monitor, Metric.ONLINE, matcher_of(""), reading(END))
    assert [why.partition(",")[0] for _, why in others.named] == [
        "offline (replaced by new)" if is_renamed else "offline (disconnected)"
    ]


def test_list_says_offline_and_by_what_it_is_replaced() -> None:
    listing = list_of(listed([row("old", up=False), row("new", firstSeenAt=NOW)]))
    rows = json.loads(b"".join(json_of(listing)))["environments"]
    assert [(each["name"], each["state"], each["reason"]) for each in rows if each["name"] == "old"] == [
        ("old", "offline", "replaced by new")
    ]


def test_words_of_the_screen_and_of_watch_name_the_new_row() -> None:
    pieces = headline(OLD, PROFILE_STATE, [], reading(END))
    assert any("replaced by new" in piece.text for piece in pieces)
    assert cause_text(OLD, END, Limits()) == "replaced by new"
    assert initial_line(OLD, NOW, layout_of(MONITOR.fleet), is_unknown=False).endswith("offline, replaced by new")


def test_nobody_is_told_to_start_the_old_name_again() -> None:
    (remedy,) = remedies(OLD, PROFILE_STATE, reading(END))
    assert remedy.command is None
    assert remedy.notes == ("nothing: replaced by new, this machine's new name",)


def test_a_machine_that_flapped_before_it_was_renamed_is_off_and_needs_nothing_more() -> None:
    flapped = replace(OLD, is_flapping=True)
    assert style_of(flapped, is_unknown=False).word == "off"
    assert len([*remedies(flapped, PROFILE_STATE, reading(END))]) == 1
    state = replace(PROFILE_STATE, environments={OLD_ID: flapped})
    assert counts_at(state, reading(END)).flapping == 0


def test_what_was_replaced_a_day_ago_is_old() -> None:
    later = reading(END + 86_400_000)
    fleet = MONITOR.fleet.with_profile_state(NO_PROFILE, replace(PROFILE_STATE, listed=later))
    assert block_of(replace(MONITOR, fleet=fleet), later).asides == {Aside.OLD: 1}


def test_metrics_say_that_it_is_not_up_and_nothing_that_alerts() -> None:
    series = Watch().take(listed([row("old", up=False), row("new", firstSeenAt=NOW)])).series()
    assert series.by_id("envwatch_environment_up") == {"env-old": 0, "env-new": 1}
    assert series.by_id("envwatch_environment_alerting") == {}
    assert series.by_id("envwatch_environment_down_since_timestamp_seconds") == {}


@pytest.mark.parametrize("is_renamed", [True, False])
def test_a_report_has_a_short_outage_and_a_rename_instead_of_a_loss(*, is_renamed: bool) -> None:
    _, _, history = lived(is_renamed=is_renamed)
    recorded = recorded_in(history, WallMs(NOW), WallMs(END), profile=clean("work"), host=clean("api.letta.com"))
    assert recorded is not None
    report = report_of(recorded)
    assert [each["id"] for each in values(report, "down")] == ([] if is_renamed else ["env-old"])
    (outage,) = values(report, "outages")
    assert (outage["ended_at"], outage["lasted_s"]) == ((iso(NOW + 10_000), 5) if is_renamed else (None, 55))
    renamed = [each for each in values(report, "changes") if each["kind"] == "renamed"]
    assert [(each["before"], each["after"]) for each in renamed] == ([("old", "new")] if is_renamed else [])


def test_the_event_reads_as_a_rename_of_the_old_row() -> None:
    assert event_text(RENAMED, None) == "renamed old → new"
    assert (RENAMED.id, RENAMED.name, RENAMED.reason) == (OLD_ID, "old", "replaced by new")
    data = json.loads(line_of(cloud_event(RENAMED, MONITOR, reading(END), "https://host/v1/environments")))
    assert data["type"].endswith(".renamed")
    assert {name: data["data"][name] for name in ("id", "before", "after", "reason")} == {
        "id": "env-old",
        "before": "old",
        "after": "new",
        "reason": "replaced by new",
    }


def test_the_log_finds_the_event_by_both_names_and_as_a_change_that_marks_a_row() -> None:
    for query, is_found in (("old", True), ("new", True), ("status:changed", True), ("third", False)):
        assert [*EventFilter(parse(query)).results(RENAMED)] == [is_found], query


def test_the_event_is_the_same_once_it_was_recorded() -> None:
    assert exact(decode_event(encode_event(RENAMED), NO_PROFILE)) == exact(RENAMED)


def test_a_recorded_moment_is_rebuilt_with_twins_and_replacements() -> None:
    twins = [row("a"), row("b"), row("old", up=False, deviceId="other"), row("new", firstSeenAt=NOW, deviceId="other")]
    encoder, decoder = FrameEncoder(), MomentBuilder(NO_PROFILE)
    monitor = Monitor.create({NO_PROFILE: Limits()})
    back = row("old", beat=NOW + 10_000, deviceId="other")
    for number, rows in enumerate((twins, twins, [*twins[:2], back, twins[3]], twins[1:])):
        outcome = listed(rows, NOW + 5_000 * number)
        monitor, _ = monitor.apply(NO_PROFILE, outcome, outcome.ended)
        moment = Moment(outcome.ended, monitor.fleet.by_profile[NO_PROFILE], {})
        decoder.apply(encoder.encode(moment))
        assert exact(decoder.moment()) == exact(moment)
    fields = [(each.twins, each.offline_beside) for each in monitor.fleet.by_profile[NO_PROFILE].environments.values()]
    assert any(twins for twins, _ in fields)
    assert any(beside for _, beside in fields)


def test_a_redacted_recording_keeps_the_link_and_no_name() -> None:
    redaction = Redaction()
    moment, event = redaction.moment(MOMENT), redaction.event(RENAMED)
    by_name = {each.environment.name: each for each in moment.profile_state.environments.values()}
    (old,) = [each for each in by_name.values() if each.replaced_by is not None]
    assert old.replaced_by_name is not None
    assert by_name[old.replaced_by_name].environment.id == old.replaced_by
    assert (event.before, event.after, event.reason) == (
        old.environment.name,
        old.replaced_by_name,
        f"replaced by {old.replaced_by_name}",
    )
    (appeared,) = [each for each in flatten(map(redaction.event, EVENTS)) if each.kind is Kind.APPEARED]
    assert appeared.reason == f"replaces {old.environment.name}, same device"
    assert not {"old", "new"} & {old.environment.name, old.replaced_by_name, event.name}
