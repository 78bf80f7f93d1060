"""Replacement: a renamed computer's old row is no loss; a dead twin is a loss."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW, environment, listed, reading, watched
from support.policies import soon

from envwatch.alerts.alert_policy import Word, Words
from envwatch.alerts.alert_state import AlertState, alert_state, alert_state_content
from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE, Kind, flatten
from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import is_problem
from envwatch.fleet.profile_state import ProfileState
from envwatch.fleet.replacement import siblings
from envwatch.fleet.tracking import ChangeTag, RecentChange
from envwatch.model import limits
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import EMPTY, clean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envwatch.alerts.incident import Incident
    from envwatch.fleet.events import Event
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Listed

A, B, C = (f"server-{letter * 16}" for letter in "abc")
"""Instances of one computer under three names."""
LOST: Final = NOW - 10_000


def row(id_: str, instance: str | None = A, *, up: bool = True, beat: float = NOW, **changes: Any) -> Environment:
    live = {"lastHeartbeat": beat, "lastSeenAt": beat}
    lost = {"connectionId": None, "connectedAt": None, "lastHeartbeat": None, "lastSeenAt": beat, "podId": None}
    names = {"connectionName": f"nas {id_}", "deviceId": "machine", "listenerInstanceId": instance}
    return environment(id_, **(names | (live if up else lost) | changes))


def old(**changes: Any) -> Environment:
    values: dict[str, Any] = {"up": False, "beat": LOST}
    return row("old", **(values | changes))


def new(**changes: Any) -> Environment:
    values: dict[str, Any] = {"instance": B, "firstSeenAt": NOW - 5_000}
    return row("new", **(values | changes))


def after(*rows: Environment) -> ProfileState:
    return watched([listed(rows)])[0]


def replaced(profile_state: ProfileState) -> dict[str, str]:
    return {
        id_: tracked.replaced_by
        for id_, tracked in profile_state.environments.items()
        if tracked.replaced_by is not None
    }


def lives(*listings: Iterable[Environment], every: float = 5_000) -> tuple[ProfileState, list[Event]]:
    return watched(listed([*rows], NOW + every * number) for number, rows in enumerate(listings))


def seen(events: Iterable[Event]) -> list[tuple[Kind, str | None]]:
    return [(event.kind, event.id) for event in flatten(events)]


def test_one_listing_shows_a_renamed_computer() -> None:
    profile_state = after(old(), new())
    tracked = profile_state.environments[old().id]
    assert replaced(profile_state) == {"old": "new"}
    assert (tracked.presence, tracked.reason, tracked.tag(NOW)) == (
        Presence.OFFLINE,
        "replaced by nas new",
        ChangeTag.MOVED,
    )
    assert not is_problem(tracked, NOW)
    assert not tracked.is_unhealthy


@pytest.mark.parametrize(("seen_at", "moved_at"), [(-5_000, -5_000), (0, 0), (3_600_000, 0)])
def test_a_row_replaced_at_the_first_listing_moved_when_the_new_row_was_first_seen(
    seen_at: float, moved_at: float
) -> None:
    change = after(old(), new(firstSeenAt=NOW + seen_at)).environments[old().id].last_change
    assert change == RecentChange(ChangeTag.MOVED, ServerMs(NOW + moved_at))


NEVER_ALERTS: Final = Word(is_always=False, at=WallMs(NOW), by=clean("ann"))
OWN: Final = Word(is_always=True, at=WallMs(NOW), by=clean("ben"))


@pytest.mark.parametrize("others", [{}, {"new": OWN}])
def test_a_new_row_without_an_own_word_inherits_the_word_of_the_replaced_row(others: dict[str, Word]) -> None:
    words = {"old": NEVER_ALERTS, "other": OWN} | others
    inherited = {} if others else {"new": NEVER_ALERTS}
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}).with_words(keyed(words), reading(NOW))
    monitor, _ = monitor.apply(NO_PROFILE, listed([old(up=True, beat=NOW)]), reading(NOW))
    later = [old(beat=NOW), new(beat=NOW + 4_000, firstSeenAt=NOW + 2_000)]
    monitor, changes = monitor.apply(NO_PROFILE, listed(later, NOW + 5_000), reading(NOW + 5_000))
    assert changes.inherited_words == keyed(inherited)
    assert monitor.words == keyed(words | inherited)


def keyed(words: dict[str, Word]) -> Words:
    return {(EMPTY, clean(id_)): word for id_, word in words.items()}


def test_the_siblings_of_a_row_are_the_other_listed_rows_of_the_place() -> None:
    rows = [row("a", A), row("b", B, up=False), row("c", C, deviceId="other"), row("d", None), row("e", C)]
    profile_state, _ = lives([*rows, row("f", C)], rows, rows)
    known = profile_state.environments
    found = siblings(known[clean("a")], known.values())
    assert [each.environment.id for each in found] == ["b", "e"]
    assert siblings(known[clean("d")], known.values()) == ()


@pytest.mark.parametrize(("before_ms", "is_one"), [(-1, True), (0, True), (5_000, True), (5_001, False)])
def test_the_new_row_may_be_first_seen_5_s_before_the_last_sign_of_life(before_ms: int, *, is_one: bool) -> None:
    assert (replaced(after(old(), new(firstSeenAt=LOST - before_ms))) == {"old": "new"}) is is_one


@pytest.mark.parametrize(("before_ms", "is_one"), [(5_000, True), (5_001, False)])
def test_the_last_sign_of_life_of_a_silent_row_is_its_heartbeat(before_ms: int, *, is_one: bool) -> None:
    silent = old(up=True, beat=NOW - 130_000)
    assert (replaced(after(silent, new(firstSeenAt=NOW - 130_000 - before_ms))) == {"old": "new"}) is is_one


@pytest.mark.parametrize("surface", ["server", "listen"])
def test_listeners_of_one_surface_replace_each_other(surface: str) -> None:
    instances = [f"{surface}-{letter * 16}" for letter in "ab"]
    assert replaced(after(old(instance=instances[0]), new(instance=instances[1]))) == {"old": "new"}


@pytest.mark.parametrize(
    ("lost", "other"),
    [
        pytest.param(old(up=True), new(), id="a row that is online"),
        pytest.param(old(up=True, beat=NOW - 60_000), new(), id="a row that is late"),
        pytest.param(old(), new(deviceId="other"), id="another device"),
        pytest.param(old(), new(organizationId="org-2"), id="another organization"),
        pytest.param(old(), new(instance="listen-" + "b" * 16), id="another surface"),
        pytest.param(old(), new(instance="server-" + "b" * 15), id="15 digits"),
        pytest.param(old(), new(instance="server-" + "b" * 17), id="17 digits"),
        pytest.param(old(), new(instance="server-" + "g" * 16), id="no hexadecimal digits"),
        pytest.param(old(instance=None), new(instance=None), id="no instance"),
        pytest.param(old(instance="sandbox:1"), new(instance="sandbox:2"), id="sandboxes by their instances"),
        pytest.param(old(deviceId="sandbox-1"), new(deviceId="sandbox-1"), id="sandboxes by their device"),
        pytest.param(old(instance="desktop-primary:1"), new(instance="desktop-primary:2"), id="desktop apps"),
        pytest.param(old(deviceId=""), new(deviceId=""), id="no device"),
        pytest.param(old(beat=LOST / 1000), new(), id="seconds in place of milliseconds"),
        pytest.param(old(), new(firstSeenAt=NOW + 86_401_000), id="a row of the future"),
        pytest.param(old(), new(firstSeenAt=LOST - 60_000, connectedAt=NOW), id="a new connection of an old row"),
    ],
)
def test_no_other_row_is_replaced(lost: Environment, other: Environment) -> None:
    assert replaced(after(lost, other)) == {}


def test_the_new_row_need_not_be_online() -> None:
    profile_state = after(old(), new(up=False))
    assert replaced(profile_state) == {"old": "new"}
    assert is_problem(profile_state.environments[new().id], NOW)


def test_of_several_rows_one_new_row_replaces_the_last_to_live() -> None:
    earlier = row("earlier", C, up=False, beat=LOST - 60_000)
    assert replaced(after(earlier, old(), new())) == {"old": "new"}


def test_a_computer_renamed_twice_leaves_two_replaced_rows() -> None:
    first = row("first", C, up=False, beat=LOST - 60_000, firstSeenAt=LOST - 90_000)
    second = old(firstSeenAt=LOST - 58_000)
    assert replaced(after(first, second, new())) == {"first": "old", "old": "new"}


def test_two_rows_of_a_moment_do_not_replace_each_other() -> None:
    """Both rows lived for 2 s, and both count as new within the tolerance: one row is a loss."""
    one = row("one", A, up=False, beat=LOST, firstSeenAt=LOST - 2_000)
    other = row("other", B, up=False, beat=LOST - 1_000, firstSeenAt=LOST - 2_500)
    assert replaced(after(one, other)) == {"other": "one"}


@pytest.mark.parametrize(("count", "is_one"), [(limits.REPLACEMENT_ROWS, True), (limits.REPLACEMENT_ROWS + 1, False)])
def test_a_device_id_of_many_rows_is_the_id_of_an_image(count: int, *, is_one: bool) -> None:
    rest = [row(f"clone-{number}", f"server-{number:016x}") for number in range(count - 2)]
    assert bool(replaced(after(old(), new(), *rest))) is is_one


def test_a_going_row_and_a_coming_row_are_one_renamed_computer() -> None:
    up = old(up=True, beat=NOW)
    down = old(beat=NOW + 4_000)
    profile_state, events = lives([up], [down], [down, new(firstSeenAt=NOW + 8_000, beat=NOW + 9_000)])
    assert replaced(profile_state) == {"old": "new"}
    assert seen(events) == [(Kind.OFFLINE, "old"), (Kind.RENAMED, "old"), (Kind.APPEARED, "new")]
    renamed, appeared = events[1:]
    assert (renamed.name, renamed.before, renamed.after, renamed.reason) == (
        "nas old",
        "nas old",
        "nas new",
        "replaced by nas new",
    )
    assert appeared.reason == "replaces nas old, same device"


def test_the_new_row_may_come_first() -> None:
    """The server registers the new row 3 s before noting the old connection's end. The renaming explains the loss."""
    there = [old(beat=NOW + 4_000), new(firstSeenAt=NOW + 1_000, beat=NOW + 1_000)]
    profile_state, events = lives([old(up=True, beat=NOW)], there, there)
    assert replaced(profile_state) == {"old": "new"}
    assert seen(events) == [(Kind.RENAMED, "old"), (Kind.OFFLINE, "old"), (Kind.APPEARED, "new")]


def test_a_row_online_again_is_no_longer_replaced() -> None:
    down, back = old(beat=NOW), old(up=True, beat=NOW + 9_000)
    profile_state, _ = lives([old(up=True)], [down, new(firstSeenAt=NOW)], [back, new(firstSeenAt=NOW)])
    assert replaced(profile_state) == {}
    assert profile_state.environments[old().id].tag(NOW) is ChangeTag.BACK


def test_a_replaced_row_dropped_by_the_server_is_no_loss() -> None:
    there = [old(beat=NOW), new(firstSeenAt=NOW)]
    profile_state, _ = lives([old(up=True)], there, there[1:], there[1:])
    tracked = profile_state.environments[old().id]
    assert (tracked.presence, tracked.reason) == (Presence.GONE, "replaced by nas new")
    assert tracked.tag(NOW + 15_000) is ChangeTag.MOVED
    assert not is_problem(tracked, NOW + 15_000)


@pytest.mark.parametrize("pause", [0, 2])
def test_a_row_dropped_at_once_is_replaced_by_a_row_first_seen_later(pause: int) -> None:
    fresh = new(firstSeenAt=NOW + 2_000, beat=NOW + 4_000)
    profile_state, events = lives([old(up=True)], *[[]] * pause, [fresh], [fresh])
    tracked = profile_state.environments[old().id]
    assert (tracked.presence, tracked.reason) == (Presence.GONE, "replaced by nas new")
    assert (Kind.RENAMED, "old") in seen(events)
    assert not is_problem(tracked, NOW + 15_000)


@pytest.mark.parametrize("first_seen", [NOW - 60_000, NOW - 5_001])
def test_a_row_dropped_at_once_is_not_replaced_by_a_row_seen_before(first_seen: float) -> None:
    other = new(firstSeenAt=first_seen)
    assert replaced(lives([old(up=True), other], [other], [other])[0]) == {}


def test_a_dropped_twin_is_a_loss_whatever_comes_after() -> None:
    began = NOW - 600_000
    twins = [row(id_, place, firstSeenAt=began, connectedAt=began) for id_, place in (("one", A), ("two", B))]
    third = row("three", C, firstSeenAt=NOW + 20_000, beat=NOW + 21_000)
    profile_state, _ = lives(twins, twins, twins[:1], twins[:1], [twins[0], third], [twins[0], third])
    assert profile_state.environments[clean("two")].presence is Presence.GONE
    assert replaced(profile_state) == {}


def test_an_expected_replaced_row_is_missing_once_gone_for_long() -> None:
    down, minute = old(beat=NOW), 60_000
    listings = [[old(up=True)], [down, new(firstSeenAt=NOW)], *[[new(firstSeenAt=NOW)]] * 20]
    profile_state, seen_missing = ProfileState(expect=(down.name,)), 0
    for number, rows in enumerate(listings):
        profile_state, _ = profile_state.apply(listed(rows, NOW + minute * number))
        tracked = profile_state.environments[down.id]
        is_missing = tracked.verdict.is_missing
        seen_missing += is_missing
        assert is_problem(tracked, NOW + minute * number) is is_missing
        assert (tracked.replaced_by is None) is (is_missing or number == 0)
    assert seen_missing


def test_a_row_whose_successor_leaves_the_list_is_a_loss_again() -> None:
    down = old(beat=NOW)
    profile_state, _ = lives([old(up=True)], [down, new(firstSeenAt=NOW)], [down], [down])
    tracked = profile_state.environments[old().id]
    assert (replaced(profile_state), tracked.tag(NOW + 15_000)) == ({}, ChangeTag.NEW)
    assert is_problem(tracked, NOW + 15_000)


def test_nothing_changes_in_a_listing_of_the_same_rows() -> None:
    rows = [old(), new()]
    before, _ = watched([listed(rows)])
    again, events = watched([listed(rows, NOW + 5_000)], before)
    assert not events
    assert all(again.environments[id_] is tracked for id_, tracked in before.environments.items())


# Twins


def test_the_loss_of_a_twin_is_a_loss_whatever_comes_after() -> None:
    third = row("third", C, firstSeenAt=NOW + 8_000, beat=NOW + 8_000)
    twin = row("twin", B)
    profile_state, _ = lives([old(up=True), twin], [old(beat=NOW), twin], [old(beat=NOW), twin, third])
    assert replaced(profile_state) == {}


def test_twins_are_twins_until_one_of_them_leaves_the_list() -> None:
    third = row("third", C, firstSeenAt=NOW + 14_000, beat=NOW + 14_000)
    up, twin, down = old(up=True, beat=NOW + 9_000), row("twin", B), old(beat=NOW + 13_000)
    profile_state, _ = lives([up, twin], [up], [up, twin], [down, third])
    assert replaced(profile_state) == {}  # one listing may have shifted during the walk
    profile_state, _ = lives([up, twin], [up], [up], [down, third])
    assert replaced(profile_state) == {"old": "third"}


def test_a_silent_machine_is_replaced_although_both_rows_are_online_until_the_heartbeat_expires() -> None:
    renamed: dict[str, Any] = {"instance": B, "firstSeenAt": NOW + 30_000, "connectedAt": NOW + 30_000}
    listings = [
        [old(up=True, beat=NOW), *([row("new", beat=at - 2_000, **renamed)] if at > NOW + 30_000 else [])]
        for at in (NOW + 15_000 * number for number in range(9))
    ]
    (both, _), (expired, events) = lives(*listings[:-1], every=15_000), lives(*listings, every=15_000)
    assert all(tracked.verdict.is_up for tracked in both.environments.values())
    assert replaced(expired) == {"old": "new"}
    assert [event.kind for event in events if event.id == "old"] == [Kind.RENAMED, Kind.OFFLINE]


@pytest.mark.parametrize(("beats_ms", "are_twins"), [((14_999, 60_000), False), ((15_000, 15_000), True)])
@pytest.mark.parametrize("began", ["connectedAt", "firstSeenAt"])
def test_twins_have_sent_a_heartbeat_each_since_both_were_connected(
    beats_ms: tuple[int, int], began: str, *, are_twins: bool
) -> None:
    one, other = (NOW - 60_000 + each for each in beats_ms)
    later: dict[str, Any] = {"connectedAt": None} | {began: NOW - 60_000}
    a, b = after(row("a", A, beat=one), row("b", B, beat=other, **later)).environments.values()
    assert a.twins == ({"b"} if are_twins else set())
    assert b.twins == ({"a"} if are_twins else set())


def test_rows_of_another_surface_are_no_twins() -> None:
    """A computer's desktop app is online next to the listener, and the computer may be renamed."""
    app = row("app", "desktop-direct-cloud:1")
    profile_state, _ = lives([old(up=True), app], [old(beat=NOW), new(firstSeenAt=NOW), app])
    assert replaced(profile_state) == {"old": "new"}


def test_a_computer_with_its_old_name_back_is_a_renamed_computer() -> None:
    a_up, a_down = row("a", A, beat=NOW), row("a", A, up=False, beat=NOW + 1_000)
    b_up, b_down = row("b", B, beat=NOW + 6_000, firstSeenAt=NOW + 3_000), row("b", B, up=False, beat=NOW + 11_000)
    b_down = replace(b_down, first_seen_at=b_up.first_seen_at)
    a_back = row("a", A, beat=NOW + 13_000)
    profile_state, events = lives([a_up], [a_down, b_up], [a_down, b_up], [a_back, b_down])
    assert replaced(profile_state) == {"b": "a"}
    assert [(event.id, event.before, event.after) for event in events if event.kind is Kind.RENAMED] == [
        ("a", "nas a", "nas b"),
        ("b", "nas b", "nas a"),
    ]
    # One listing alone cannot tell a loss from a name that is back.
    assert replaced(after(a_back, b_down)) == {}


def test_a_name_given_up_long_ago_replaces_nothing() -> None:
    """The row was offline at the same time as the lost row, as a returning row must be, but never comes up."""
    b_down = row("b", B, up=False, beat=NOW - 60_000, firstSeenAt=NOW - 90_000)
    profile_state, _ = lives([row("a", A), b_down], [row("a", A, up=False, beat=NOW + 2_000), b_down])
    assert replaced(profile_state) == {}


def test_a_row_back_and_lost_then_still_replaces_the_other_name() -> None:
    a_down, b_up = row("a", A, up=False, beat=NOW - 60_000), row("b", B)
    b_down = row("b", B, up=False, beat=NOW + 2_000)
    back, lost = row("a", A, beat=NOW + 9_000), row("a", A, up=False, beat=NOW + 12_000)
    profile_state, _ = lives([a_down, b_up], [a_down, b_down], [back, b_down], [lost, b_down])
    assert replaced(profile_state) == {"b": "a"}
    assert is_problem(profile_state.environments[lost.id], NOW + 15_000)


def test_a_returning_twin_replaces_nothing() -> None:
    a, b = row("a", A), row("b", B)
    a_down, b_down = row("a", A, up=False), row("b", B, up=False, beat=NOW + 7_000)
    profile_state, _ = lives([a, b], [a_down, b], [row("a", A, beat=NOW + 9_000), b_down])
    assert replaced(profile_state) == {}


@pytest.mark.parametrize(("moved_ms", "is_off"), [(999, False), (-999, False), (1_000, True), (-1_000, True)])
def test_the_rule_is_off_once_the_server_changes_when_a_row_was_first_seen(moved_ms: int, *, is_off: bool) -> None:
    """Two replicas may round one instant differently."""
    other = environment("env-9", firstSeenAt=NOW - 50_000)
    moved = environment("env-9", firstSeenAt=NOW - 50_000 + moved_ms)
    profile_state, _ = lives([old(), new(), other], [old(), new(), moved])
    assert (replaced(profile_state) == {}) is is_off
    assert profile_state.has_moved_identity is is_off
    assert is_problem(profile_state.environments[old().id], NOW) is is_off


def test_a_row_with_another_device_ends_what_rested_on_the_device() -> None:
    profile_state, _ = lives([old(), new()], [old(), new(deviceId="elsewhere")])
    assert replaced(profile_state) == {}


def test_a_row_listed_anew_may_be_first_seen_anew() -> None:
    other, anew = environment("env-9"), environment("env-9", firstSeenAt=NOW + 10_000)
    profile_state, _ = lives([old(), new(), other], [old(), new()], [old(), new()], [old(), new(), anew])
    assert replaced(profile_state) == {"old": "new"}


# Alerts


def monitored(*outcomes: Any) -> tuple[Monitor, list[Incident], list[Incident]]:
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies=soon())
    opened: list[Incident] = []
    resolved: list[Incident] = []
    for outcome in outcomes:
        monitor, changes = monitor.apply(NO_PROFILE, outcome, outcome.ended)
        opened += changes.opened
        resolved += changes.resolved
    return monitor, opened, resolved


def test_a_rename_within_the_time_of_waiting_for_a_loss_opens_no_incident() -> None:
    down = old(beat=NOW + 4_000)
    there = [down, new(firstSeenAt=NOW + 9_000, beat=NOW + 9_000)]
    outcomes = [
        listed(rows, NOW + 5_000 * number) for number, rows in enumerate([[old(up=True)], [down], *[there] * 4])
    ]
    monitor, opened, _ = monitored(*outcomes)
    assert opened == []
    judge = monitor.judge(outcomes[-1].ended)
    assert not judge.is_alerting(judge.fleet.by_profile[NO_PROFILE].environments[down.id])


def test_an_open_incident_resolves_once_the_new_name_is_listed() -> None:
    down = old(beat=NOW + 4_000)
    there = [down, new(firstSeenAt=NOW + 29_000, beat=NOW + 29_000)]
    listings = [[old(up=True)], *[[down]] * 5, there]
    _, opened, resolved = monitored(*(listed(rows, NOW + 5_000 * number) for number, rows in enumerate(listings)))
    assert [[loss.id for loss in incident.losses] for incident in opened] == [["old"]]
    assert [(incident.id, incident.ended_by) for incident in resolved] == [(opened[0].id, "replaced by nas new")]


def test_an_incident_whose_other_row_is_back_does_not_end_by_the_replacement() -> None:
    down, zed_down = old(beat=NOW + 4_000), environment("zed", connectionId=None)
    there = [down, new(firstSeenAt=NOW + 29_000, beat=NOW + 29_000), environment("zed", lastHeartbeat=NOW + 29_000)]
    listings = [[old(up=True), environment("zed")], *[[down, zed_down]] * 5, *[there] * 14]
    _, opened, resolved = monitored(*(listed(rows, NOW + 5_000 * number) for number, rows in enumerate(listings)))
    assert [[loss.id for loss in incident.losses] for incident in opened] == [["old", "zed"]]
    assert [incident.ended_by for incident in resolved] == [None]


def resumed(before: ProfileState, *outcomes: Listed) -> tuple[ProfileState, list[Event]]:
    """Return the state and the events of a run that knows a run before."""
    return watched(outcomes, ProfileState().resuming(before.as_last_run))


def test_a_run_knows_the_twins_of_the_run_before() -> None:
    third = row("third", C, firstSeenAt=NOW + 60_000, beat=NOW + 60_000)
    before, _ = lives([old(up=True), row("twin", B)])
    first = listed([old(beat=NOW + 50_000), row("twin", B, beat=NOW + 60_000), third], NOW + 60_000)
    assert replaced(watched([first])[0]) == {"old": "third"}
    assert replaced(resumed(before, first)[0]) == {}


def test_a_run_knows_who_was_offline_in_the_run_before() -> None:
    before, _ = lives([row("a", A, up=False, beat=NOW - 9_000), row("b", B)])
    first = listed([row("a", A, beat=NOW + 60_000), row("b", B, up=False, beat=NOW + 50_000)], NOW + 60_000)
    assert replaced(watched([first])[0]) == {}
    following, events = resumed(before, first)
    assert replaced(following) == {"b": "a"}
    assert (Kind.RENAMED, "b") in seen(events)


def test_a_replaced_row_gone_with_its_successor_is_a_loss_of_the_next_run() -> None:
    before, _ = lives([old(), new(), environment("env-9")])
    listings = (listed([environment("env-9")], NOW + at) for at in (60_000, 65_000))
    following, _ = resumed(before, *listings)
    assert following.environments[old().id].presence is Presence.GONE
    assert replaced(following) == {}


def test_the_rule_stays_off_in_the_next_run() -> None:
    other, moved = environment("env-9"), environment("env-9", firstSeenAt=NOW)
    before, _ = lives([other], [moved])
    first = listed([old(), new(), moved], NOW + 60_000)
    assert replaced(resumed(before, first)[0]) == {}
    honest, _ = lives([other])
    assert replaced(resumed(honest, first)[0]) == {}  # moved between the two runs


@pytest.mark.parametrize(
    ("shifts", "is_off"), [((9_000,) * 3, False), ((9_000, 9_000, 12_001), True), ((9_000,) * 2, True)]
)
def test_a_clock_set_between_two_runs_moves_all_rows_by_the_same_time(
    shifts: tuple[float, ...], *, is_off: bool
) -> None:
    first_seen = NOW - 86_400_000
    others = [environment(f"env-{number}", firstSeenAt=first_seen) for number in range(len(shifts))]
    moved = [environment(f"env-{number}", firstSeenAt=first_seen + shift) for number, shift in enumerate(shifts)]
    before, _ = lives(others)
    first = listed([old(), new(), *moved], NOW + 60_000)
    assert replaced(resumed(before, first)[0]) == ({} if is_off else {"old": "new"})


@dataclass
class Listener:
    number: int
    device: int
    first_seen_at: float = 0.0
    is_listed: bool = False
    is_up: bool = False
    seen_at: float = 0.0
    connections: int = 0
    rows: int = 0
    """Number of rows so far: the server lists a dropped row again under another id."""

    @property
    def id(self) -> str:
        return f"row-{self.number}-{self.rows}"

    def start(self, at: float) -> None:
        if not self.is_listed:
            self.is_listed, self.first_seen_at = True, at
            self.rows += 1
        self.is_up, self.seen_at = True, at
        self.connections += 1

    def stop(self, at: float) -> None:
        if self.is_up:
            self.is_up, self.seen_at = False, at

    def row(self, at: float) -> Environment:
        return row(
            self.id,
            f"{'server' if self.number % 4 else 'listen'}-{self.number:016x}",
            up=self.is_up,
            beat=at if self.is_up else self.seen_at,
            deviceId=f"device-{self.device}",
            firstSeenAt=self.first_seen_at,
            connectionId=f"conn-{self.number}-{self.connections}" if self.is_up else None,
        )


@dataclass
class Specified:
    """A second implementation of the specified rule over all listings."""

    together: set[frozenset[str]] = field(default_factory=set)
    """Pairs that were online in one listing, until a row of the pair leaves the listing."""
    offline_while_up: set[tuple[str, str]] = field(default_factory=set)
    """Pairs of a row listed as offline and a row online at that time."""
    rows: dict[str, Environment] = field(default_factory=dict)
    """Rows that have not left the listing; one listing alone proves no absence."""
    lacked: dict[str, int] = field(default_factory=dict)

    def apply(self, rows: Iterable[Environment]) -> dict[str, str]:
        by_id: dict[str, Environment] = {each.id: each for each in rows}
        self.rows |= by_id
        self.lacked = {id_: self.lacked.get(id_, 0) + 1 for id_ in self.rows if id_ not in by_id}
        left = {id_ for id_, count in self.lacked.items() if count >= 2}
        self.rows = {id_: each for id_, each in self.rows.items() if id_ not in left}
        self.together = {pair for pair in self.together if not pair & left}
        self.offline_while_up = {pair for pair in self.offline_while_up if not left & {*pair}}
        for one in by_id.values():
            for other in by_id.values():
                if one is other or not self._is_same_machine(one, other) or not one.connection_id:
                    continue
                if other.connection_id:
                    self.together.add(frozenset({one.id, other.id}))
                else:
                    self.offline_while_up.add((other.id, one.id))
        twins = {id_ for pair in self.together for id_ in pair}
        lost = [each for each in self.rows.values() if not each.connection_id and each.id not in twins]
        found: dict[str, str] = {}
        for new_row in sorted(self.rows.values(), key=lambda each: (each.first_seen_at, each.id)):
            candidates = [each for each in lost if self._can_replace(new_row, each)]
            if candidates:
                newest = min(candidates, key=lambda each: (-each.last_seen_at, each.id))
                found.setdefault(newest.id, new_row.id)
        return found

    def _is_same_machine(self, one: Environment, other: Environment) -> bool:
        surfaces = {(each.listener_instance_id or "").partition("-")[0] for each in (one, other)}
        return one.device_id == other.device_id and len(surfaces) == 1

    def _can_replace(self, new_row: Environment, lost: Environment) -> bool:
        if new_row is lost or not self._is_same_machine(new_row, lost):
            return False
        if new_row.first_seen_at >= lost.last_seen_at - 5_000:
            return True
        if (new_row.id, lost.id) not in self.offline_while_up:
            return False
        # Offline next to the lost row, and online later: now, or while the lost row was offline.
        is_later = (lost.id, new_row.id) in self.offline_while_up and new_row.last_seen_at > lost.last_seen_at
        return bool(new_row.connection_id) or is_later


NUMBERS = st.integers(1, 5)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["rename", "start", "stop", "power cycle", "drop", "poll", "poll"]),
        NUMBERS,
        NUMBERS,
        st.sampled_from([500, 3_000, 6_000, 40_000, 600_000]),
    ),
    min_size=8,
    max_size=30,
)


@settings(max_examples=examples(300), deadline=None)
@given(steps=STEPS, devices=st.lists(st.integers(0, 1), min_size=6, max_size=6))
def test_random_lives_of_listeners_agree_with_the_specification(
    steps: list[tuple[str, int, int, int]], devices: list[int]
) -> None:
    """Renames, returning names, reconnecting twins, cloned device ids, power cycles."""
    at: float = NOW
    listeners = [Listener(number, device) for number, device in enumerate(devices)]
    listeners[1].start(at)
    profile_state, specified = ProfileState(), Specified()
    for what, number, other, pause in [*steps, ("poll", 1, 1, 500)]:
        at += pause
        one = listeners[number]
        match what:
            case "start":
                one.start(at)
            case "stop":
                one.stop(at)
            case "rename":
                one.stop(at)
                listeners[other].start(at + 400)
            case "power cycle":
                for each in listeners:
                    each.stop(at)
            case "drop":
                one.stop(at)
                one.is_listed = False
            case _:
                rows = [each.row(at) for each in listeners if each.is_listed]
                profile_state, _ = profile_state.apply(listed(rows, at))
                if profile_state.quarantine is not None:
                    return  # an emptied list is not believed
                expected = specified.apply(rows)
                found = {id_: new_id for id_, new_id in replaced(profile_state).items() if id_ in specified.rows}
                circles = in_circles(expected)
                assert {**expected, **found} == expected, "a loss is hidden"
                assert expected.keys() - found.keys() <= circles, "a rename is a loss"
                hidden = [id_ for id_ in found if not specified.rows[id_].connection_id]
                assert len(hidden) == len(found), "a row that is online is replaced"


def in_circles(found: dict[str, str]) -> set[str]:
    """Return rows that replace each other in a circle: one row of each circle is the loss."""
    inside = set()
    for start, first in found.items():
        id_, steps = first, 0
        while id_ in found and id_ != start and steps < len(found):
            id_, steps = found[id_], steps + 1
        if id_ == start:
            inside.add(start)
    return inside


AT: Final = NOW + 60_000
NAMES: Final = [old(beat=NOW - 60_000), new(firstSeenAt=NOW - 50_000)]
"""The old name was listed offline while the new name was online."""
NAME_BACK: Final = [old(up=True, beat=AT), new(firstSeenAt=NOW - 50_000, up=False, beat=NOW)]
TWINS: Final = [old(up=True), new(firstSeenAt=NOW - 1_000)]
TWIN_LOST: Final = [old(beat=NOW), new(firstSeenAt=NOW - 1_000, beat=AT)]


def forgetful(state: AlertState) -> AlertState:
    """Return the state without the memory of names and twins."""
    rows = state.last_run.rows.items()
    forgotten = {id_: replace(tracked, twins=frozenset(), offline_beside=frozenset()) for id_, tracked in rows}
    return replace(state, last_run=state.last_run._replace(rows=forgotten))


@pytest.mark.parametrize(
    ("before", "after_restart", "has_state", "lost"),
    [(NAMES, NAME_BACK, True, []), (NAMES, NAME_BACK, False, ["new"]), (TWINS, TWIN_LOST, True, ["old"])],
    ids=["a name is back", "a name is back, unknown", "a twin is lost"],
)
def test_the_alert_state_knows_names_and_twins_over_a_restart(
    before: list[Environment], after_restart: list[Environment], lost: list[str], *, has_state: bool
) -> None:
    monitor, _, _ = monitored(listed(before))
    now = reading(AT)
    content = json.loads(json.dumps(alert_state_content(monitor.alert_state(NO_PROFILE, now), now)))
    state = alert_state(content, NO_PROFILE, now)
    assert state is not None
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies=soon())
    monitor = monitor.with_alert_state(NO_PROFILE, state if has_state else forgetful(state))
    opened: list[Incident] = []
    for at in (AT, AT + 5_000, AT + 10_000, AT + 15_000):
        monitor, changes = monitor.apply(NO_PROFILE, listed(after_restart, at), reading(at))
        opened += changes.opened
    assert [loss.id for incident in opened for loss in incident.losses] == lost
