"""The monitor of a past moment, and the polls used to rebuild the monitor."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW, beating, environment, failed, listed, reading
from support.memory_history import MemoryHistory
from support.policies import soon
from support.silenced_night import SilencedNight, recurring_policies

from envwatch.fleet.alerting.losses import key_of
from envwatch.fleet.alerting.matcher import EVERYTHING
from envwatch.fleet.alerting.recurring_hours import RecurringHours
from envwatch.fleet.alerting.silences import recurring_silences
from envwatch.fleet.events import NO_PROFILE, Event, EventLog, Kind, leaves
from envwatch.fleet.monitor import Monitor
from envwatch.history.rewound import LogEnds, PollRef, Timeline, rewound
from envwatch.model.clock import MonotonicS, ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import PollResult, RecordedPoll
from envwatch.model.text import SafeText, clean
from envwatch.views.table.block import block_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.fleet.alerting.silences import Silence
    from envwatch.model.outcome import Outcome

HOME, WORK = clean("home"), clean("work")
EVER = (WallMs(float("-inf")), WallMs(float("inf")))


def poll(number: int, at: float) -> RecordedPoll:
    return RecordedPoll(number, WallMs(at), PollResult.LISTED, 1, 5.0)


def timeline(**polls: tuple[float, ...]) -> Timeline:
    by_profile: Mapping[SafeText, list[RecordedPoll]] = {
        clean(profile): [poll(number, at) for number, at in enumerate(times, 1)] for profile, times in polls.items()
    }
    return Timeline.from_polls(by_profile, WallMs(0))


def test_polls_of_several_profiles_are_merged_by_time() -> None:
    poll_refs = timeline(home=(1, 5, 9), work=(2, 6)).poll_refs
    assert [(poll_ref.profile, poll_ref.poll.at) for poll_ref in poll_refs] == [
        *((HOME, 1.0), (WORK, 2.0), (HOME, 5.0), (WORK, 6.0), (HOME, 9.0)),
    ]


def test_without_polls_a_timeline_ends_at_its_begin() -> None:
    assert Timeline.from_polls({}, WallMs(7)).until == WallMs(7)
    assert Timeline().until == WallMs(0)


def test_polls_of_one_profile_keep_their_order_where_its_clock_was_set_back() -> None:
    line = timeline(home=(10, 20, 11, 21))
    assert [poll_ref.poll.at for poll_ref in line.poll_refs] == [10.0, 20.0, 11.0, 21.0]
    assert line.until == 21.0


@pytest.mark.parametrize(("wall", "place"), [(0.9, -1), (1, 0), (4.9, 1), (5, 2), (99, 4)])
def test_a_place_is_the_index_of_the_newest_poll_at_or_before_a_moment(wall: float, place: int) -> None:
    assert timeline(home=(1, 5, 9), work=(2, 6)).place_at(WallMs(wall)) == place


def test_after_a_poll_each_profile_is_known_by_its_newest_poll() -> None:
    line = timeline(home=(1, 5, 9), work=(2, 6))
    known = [{profile: each.at for profile, each in line.known_at(place).items()} for place in range(5)]
    assert [(each.get(HOME), each.get(WORK)) for each in known] == [
        *((1.0, None), (1.0, 2.0), (5.0, 2.0), (5.0, 6.0), (9.0, 6.0)),
    ]


def test_a_poll_is_found_by_its_profile_and_number() -> None:
    line = timeline(home=(1, 5, 9), work=(2, 6))
    assert line.place_of(PollRef(WORK, poll(2, 6))) == 3
    assert line.place_of(PollRef(WORK, poll(9, 6))) == -1


def lived(history: MemoryHistory, outcomes: list[Outcome]) -> list[Monitor]:
    monitors = [Monitor.create({NO_PROFILE: Limits()})]
    for outcome in outcomes:
        monitor, changes = monitors[-1].apply(NO_PROFILE, outcome, outcome.ended)  # type: ignore[union-attr]
        history.record(monitor, changes)
        monitors.append(monitor)
    return monitors[1:]


@given(st.lists(st.tuples(st.sampled_from([5, 61, 130]), st.sets(st.integers(0, 3)), st.booleans()), max_size=12))
def test_what_is_rewound_is_what_was_known(life: list[tuple[int, set[int], bool]]) -> None:
    outcomes, at = list[object](), float(NOW)
    for passed_s, down, is_listed in life:
        at += passed_s * 1000
        rows = [
            environment(f"env-{n}", **({"connectionId": None, "lastHeartbeat": None} if n in down else {}))
            for n in range(4)
        ]
        outcomes.append(listed(rows, at) if is_listed else failed(at=at))
    history, ends = MemoryHistory(), LogEnds()
    monitors = lived(history, outcomes)  # type: ignore[arg-type]
    for then, each in zip(monitors, history.polls(*EVER), strict=True):
        ends.note(each.at, then.event_log)
    for then, each in zip(monitors, history.polls(*EVER), strict=True):
        moment = history.moment(each)
        log = ends.log_at(each.at, monitors[-1].event_log)
        past = rewound(replace(monitors[-1], event_log=log), {NO_PROFILE: moment}, moment.now)
        assert past.fleet == then.fleet
        assert past.acks == then.acks
        assert list(past.event_log) == list(then.event_log)
        for tracked in then.fleet.environments:
            assert list(past.event_log.for_environment(tracked.key)) == list(
                then.event_log.for_environment(tracked.key)
            )
        assert past.watched_at(NO_PROFILE, moment.now) == then.watched_at(NO_PROFILE, moment.now)
        assert past.due_alerts(moment.now) == (past, ())


def judged(monitor: Monitor, at: float) -> object:
    """Return the silenced rows, the counts and lines of the block, and incidents and waiting losses of other rows that
    are down.

    No history has an incident's silenced losses, and the rows that were online at the opening.
    """
    now = reading(at)
    block = block_of(monitor, now)
    lines = [(line.key, line.off, line.total, line.began_at, line.not_back) for line in block.lines]
    silenced = {row.key for row in monitor.fleet.environments if monitor.silenced(row, now) is not None}
    down = {row.key for row in monitor.fleet.environments if not row.verdict.is_up}
    opened = [
        each._replace(remaining=each.remaining & down, shared=None, silenced=0) for each in monitor.incidents.open
    ]
    waiting = [
        (loss.event.id, loss.incident, loss.silent_since, loss.noticed_at)
        for loss in monitor.incidents.waiting
        if key_of(loss.event) in down - silenced
    ]
    return (
        *(silenced, block.asides, block.presences, lines),
        *([each for each in opened if each.remaining], sorted(waiting)),
    )


def assert_rewound_as_live(history: MemoryHistory, lived: list[tuple[float, Monitor]]) -> None:
    """Compare the monitor after each poll with the rewound monitor of the same moment."""
    now = lived[-1][1]
    ends = LogEnds()
    for at, then in lived:
        ends.note(WallMs(at), then.event_log)
    for at, then in lived:
        (poll,) = history.polls(WallMs(at), WallMs(at))
        log = ends.log_at(poll.at, now.event_log)
        past = rewound(replace(now, event_log=log), {NO_PROFILE: history.moment(poll)}, reading(poll.at))
        assert judged(past, at) == judged(then, at)


SECONDS_OFF = st.tuples(st.integers(1, 6), st.integers(1, 6)).map(lambda polls: (polls[0] * 5, sum(polls) * 5))


@settings(max_examples=examples(100))
@given(st.dictionaries(st.sampled_from(SilencedNight().names), SECONDS_OFF))
def test_a_rewound_loss_in_a_silence_is_the_incident_of_the_live_screen(
    outages: dict[str, tuple[int, int]],
) -> None:
    night, lived = SilencedNight().poll("19:00"), list[tuple[float, Monitor]]()
    for second in range(5, 60, 5):
        off = [name for name, (lost, back) in outages.items() if lost <= second < back]
        night.poll(f"19:00:{second:02}", *off)
        lived.append((night.at, night.monitor))
    assert_rewound_as_live(night.history, lived)


def test_a_rewound_morning_has_the_rows_that_were_not_back_at_the_end_of_the_hours() -> None:
    night, lived = SilencedNight().poll("19:00"), list[tuple[float, Monitor]]()
    cut = ("mac-1", "web-1")
    steps = [(9, "19:00:05", ("mac-2",)), (9, "20:00", ("mac-2",)), (9, "20:00:05", ("mac-2", *cut))]
    steps += [(9, "20:00:15", ("mac-2", *cut)), (9, "20:30", ("mac-2", "mac-1"))]
    steps += [(10, time, ("mac-2", "mac-1")) for time in ("09:59:55", "10:00", "10:00:05", "10:00:10")]
    for day, time, off in steps:
        night.day = day
        night.poll(time, *off)
        lived.append((night.at, night.monitor))
    assert night.lost() == [{"web-1"}, {"mac-1", "mac-2"}]
    assert_rewound_as_live(night.history, lived)


Life: TypeAlias = "Mapping[int, Sequence[tuple[int, str]]]"
"""Each row's states from a poll on: `up`, `closed` or `silent`. Row 0 is always up."""


def wire_at(states: Sequence[tuple[int, str]], number: int, at: float) -> dict[str, Any]:
    first, state = next((each for each in reversed(states) if each[0] <= number), (0, "up"))
    seen = at - 1_000 if state == "up" else NOW + first * 5_000 - 1_000
    link = {"connectionId": None, "lastHeartbeat": None} if state == "closed" else {"lastHeartbeat": seen}
    return {"lastSeenAt": seen, **link}


def lived_by(
    life: Life, polls: int, silences: Sequence[Silence] = ()
) -> tuple[MemoryHistory, list[tuple[float, Monitor]]]:
    """Poll rows each five seconds; a loss needs a person after ten seconds."""
    history, lived = MemoryHistory(), list[tuple[float, Monitor]]()
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies=soon(silences=silences))
    for number in range(polls):
        at = NOW + number * 5_000
        rows = [environment(f"env-{n}", **wire_at(life.get(n, ()), number, at)) for n in range(5)]
        monitor, changes = monitor.apply(NO_PROFILE, listed(rows, at), reading(at))
        history.record(monitor, changes)
        lived.append((at, monitor))
    return history, lived


STATES = st.lists(st.tuples(st.integers(1, 20), st.sampled_from(["up", "closed", "silent"])), max_size=4).map(sorted)


@settings(max_examples=examples(100))
@given(st.dictionaries(st.integers(1, 4), STATES))
@example({1: [(2, "closed"), (9, "up")], 2: [(2, "closed"), (4, "up"), (6, "closed")], 3: [(3, "silent")]})
@example({1: [(2, "closed")], 2: [(3, "closed"), (5, "up")], 3: [(3, "closed"), (4, "up"), (5, "closed")]})
@example({1: [(2, "silent")], 2: [(8, "closed"), (18, "up"), (20, "closed")], 4: [(10, "closed"), (11, "up")]})
@example({1: [(2, "closed"), (3, "up"), (4, "closed")]})
@example({1: [(2, "closed"), (3, "up")], 2: [(3, "closed")]})
def test_rewound_incidents_have_the_rows_that_are_down_on_the_live_screen(life: Life) -> None:
    assert_rewound_as_live(*lived_by(life, 30))


@pytest.mark.parametrize(
    ("state", "number", "died", "silent_since"), [("closed", 3, (7.5, 15), 10), ("silent", 26, (9, 69), 9)]
)
def test_a_rewound_loss_happened_since_the_last_sign_of_life(
    state: str, number: int, died: tuple[float, float], silent_since: float
) -> None:
    """The last listing with a connection is at most one and a half intervals old; a row dies a minute after the last
    heartbeat at the latest.
    """
    history, lived = lived_by({1: [(2 if state == "silent" else 3, state)]}, number + 1)
    (loss,) = rewound_last(history, lived[-1][1]).incidents.waiting
    assert (loss.died.since - NOW, loss.died.until - NOW) == (died[0] * 1000, died[1] * 1000)
    assert loss.silent_since == MonotonicS(silent_since)
    assert loss.noticed_at == MonotonicS(number * 5)


def rewound_last(history: MemoryHistory, monitor: Monitor) -> Monitor:
    moment = history.moment(history.polls(*EVER)[-1])
    return rewound(monitor, {NO_PROFILE: moment}, moment.now)


def test_a_row_that_went_off_before_a_silence_has_a_rewound_incident_in_the_silence() -> None:
    """The last heartbeat was two minutes and a second before the silence begins; the loss is listed in the silence."""
    from_08_56 = recurring_silences([(EVERYTHING, RecurringHours(begin=8 * 60 + 56, end=10 * 60))], UTC)
    history, lived = lived_by({1: [(8, "silent")], 2: [(33, "closed")]}, 40, from_08_56)
    assert [each.began_at - NOW for each in lived[-1][1].incidents.open] == [160_000]
    assert_rewound_as_live(history, lived)


def test_a_loss_that_is_silenced_before_the_incident_opens_has_no_rewound_incident() -> None:
    night, lived = SilencedNight(monitor=Monitor.create({NO_PROFILE: Limits()}, policies=soon())), []
    night.poll("12:00").poll("12:00:05", "mac-1").tick("12:00:07").silence("mac-1")
    for time in ("12:00:10", "12:00:15"):
        night.poll(time, "mac-1")
        lived.append((night.at, night.monitor))
    assert night.lost() == []
    assert_rewound_as_live(night.history, lived)


def test_a_row_that_was_not_back_is_not_silenced_by_the_end_of_the_silence() -> None:
    """Another estimate of the server's clock may place the end of the silence after the loss."""
    night = SilencedNight(monitor=Monitor.create({NO_PROFILE: Limits()}, policies=soon())).poll("12:00")
    silence = night.silence("mac-1", lasts=timedelta(minutes=1))
    night.poll("12:00:30", "mac-1").poll_until("12:01:20", "mac-1")
    assert night.lost() == [{"mac-1"}]
    longer = night.monitor.with_silences({silence.id: silence._replace(until=WallMs(silence.until + 100))})
    (incident,) = rewound_last(night.history, longer).incidents.open
    assert incident.remaining == {(NO_PROFILE, clean("mac-1"))}


@pytest.mark.parametrize("change", [{"id": clean("env-9")}, {"incident": None}])
def test_an_event_of_an_unknown_row_or_without_an_incident_is_no_rewound_loss(change: dict[str, Any]) -> None:
    history, lived = lived_by({1: [(3, "closed")], 2: [(3, "closed")]}, 9)
    now = lived[-1][1]
    log = EventLog().with_events(
        [replace(event, **change) if event.id == "env-2" else event for event, _ in leaves(now.event_log)]
    )
    incidents = rewound_last(history, replace(now, event_log=log)).incidents
    assert [[loss.id for loss in each.losses] for each in incidents.open] == [["env-1"]]
    assert incidents.waiting == ()


def test_a_loss_at_a_time_of_the_present_silences_opens_no_rewound_incident() -> None:
    night = SilencedNight(monitor=Monitor.create({NO_PROFILE: Limits()}, policies=soon())).poll("19:00")
    night.poll_until("19:00:30", "mac-1", "web-1")
    assert night.lost() == [{"mac-1", "web-1"}]
    silenced = replace(night.monitor, policies=recurring_policies())
    incidents = rewound_last(night.history, silenced).incidents
    assert [[loss.id for loss in each.losses] for each in incidents.open] == [["web-1"]]
    assert [loss.event.id for loss in incidents.waiting] == ["mac-1"]


def test_a_profile_without_a_moment_is_as_before_its_first_poll() -> None:
    history = MemoryHistory(HOME)
    monitor = Monitor.create({HOME: Limits(), WORK: Limits()}, servers={HOME: clean("a.example")})
    for profile in (HOME, WORK):
        outcome = listed(beating(3), NOW)
        monitor, changes = monitor.apply(profile, outcome, outcome.ended)
        history.record(monitor, changes)
    moment = history.moment(history.polls(*EVER)[0])
    past = rewound(monitor, {HOME: moment}, moment.now)
    assert past.fleet.unlisted == (WORK,)
    assert len(past.fleet) == 3
    moved = Monitor.create({HOME: Limits(), WORK: Limits()}, servers={HOME: clean("b.example")})
    assert rewound(moved, {HOME: moment}, moment.now).fleet.servers == moved.fleet.servers


def event(at: float, id_: str = "env-1", kind: Kind = Kind.OFFLINE, *members: Event) -> Event:
    return Event(kind=kind, at=ServerMs(at), id=clean(id_), members=members)


def test_a_log_up_to_a_moment_has_no_later_events_of_any_environment() -> None:
    mass = event(3, "", Kind.TOGETHER, event(3, "env-1"), event(3, "env-2"))
    log = (
        EventLog().with_events([event(1)]).with_events([event(2, "env-2")]).with_events([mass]).with_events([event(4)])
    )
    earlier = log.when_added(2)
    assert list(log.known(lambda each: each.at <= 2)) == list(earlier)
    assert [each.at for each in earlier] == [1.0, 2.0]
    assert [each.at for each in earlier.for_environment((NO_PROFILE, clean("env-1")))] == [1.0]
    assert [each.at for each in earlier.for_environment((NO_PROFILE, clean("env-2")))] == [2.0]
    assert earlier.with_poll_of(earlier[1]) == (earlier[1],)
    assert log.when_added(log.added) is log
    assert len(log.when_added(0)) == 0
    following = earlier.with_events([event(9)])
    assert [each.at for each in following] == [1.0, 2.0, 9.0]
    assert [len(following.when_added(count)) for count in range(4)] == [0, 1, 2, 3]


def test_a_log_up_to_a_moment_has_the_events_from_before_the_start_and_none_that_were_dropped() -> None:
    log = EventLog().with_past([event(-2), event(-1)]).with_events([event(1)]).with_events([event(2)])
    assert [each.at for each in log.when_added(1)] == [-2.0, -1.0, 1.0]
    assert [each.at for each in log.when_added(0)] == [-2.0, -1.0]
    assert [each.at for each in log.when_added(1).with_past([event(-3)])] == [-3.0, -2.0, -1.0, 1.0]
    shortened = log.with_events([event(3)], most=2)
    assert [each.at for each in shortened.when_added(2)] == [2.0]
    assert len(shortened.when_added(1)) == 0


def test_of_two_profiles_a_log_leaves_out_what_was_not_known_also_if_it_happened_before() -> None:
    home, work = replace(event(2), profile=HOME), replace(event(1), profile=WORK)
    log = EventLog().with_past([home]).with_past([work])
    known = log.known(lambda each: each.profile == HOME)
    assert list(known) == [home]
    assert known.for_environment((WORK, clean("env-1"))) == ()


def test_the_log_of_a_moment_is_that_after_the_last_poll_before_it() -> None:
    ends, log = LogEnds(), EventLog().with_past([event(0)])
    for wall, came in ((1, []), (2, [event(2)]), (3, []), (4, [event(4)]), (5, [])):
        log = log.with_events(came)
        ends.note(WallMs(wall), log)
    found = {wall: len(ends.log_at(WallMs(wall), log)) for wall in (0.5, 1, 1.9, 2, 3, 3.9, 4, 5, 9)}
    assert found == {0.5: 1, 1: 1, 1.9: 1, 2: 2, 3: 2, 3.9: 2, 4: 3, 5: 3, 9: 3}
