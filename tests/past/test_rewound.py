"""The monitor of a past moment, and the polls used to rebuild the monitor."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW, beating, environment, failed, listed, reading
from support.memory_history import MemoryHistory
from support.silenced_night import SilencedNight

from envwatch.fleet.events import NO_PROFILE, Event, EventLog, Kind
from envwatch.fleet.monitor import Monitor
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import PollResult, RecordedPoll
from envwatch.model.text import SafeText, clean
from envwatch.past.rewound import LogEnds, PollRef, Timeline, rewound
from envwatch.views.table.block import block_of

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    """Return the silenced rows, and the counts and lines of the block."""
    now = reading(at)
    block = block_of(monitor, now)
    lines = [(line.key, line.off, line.total, line.began_at, line.not_back) for line in block.lines]
    silenced = {row.key for row in monitor.fleet.environments if monitor.silenced(row, now) is not None}
    return silenced, block.asides, block.presences, lines


def assert_rewound_as_live(night: SilencedNight, lived: list[tuple[float, Monitor]]) -> None:
    """Compare the monitor after each poll with the rewound monitor of the same moment."""
    ends = LogEnds()
    for at, then in lived:
        ends.note(WallMs(at), then.event_log)
    for at, then in lived:
        (poll,) = night.history.polls(WallMs(at), WallMs(at))
        log = ends.log_at(poll.at, night.monitor.event_log)
        past = rewound(
            replace(night.monitor, event_log=log), {NO_PROFILE: night.history.moment(poll)}, reading(poll.at)
        )
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
    assert_rewound_as_live(night, lived)


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
    assert_rewound_as_live(night, lived)


def test_a_profile_without_a_moment_is_as_before_its_first_poll() -> None:
    history = MemoryHistory(HOME)
    monitor = Monitor.create({HOME: Limits(), WORK: Limits()})
    for profile in (HOME, WORK):
        outcome = listed(beating(3), NOW)
        monitor, changes = monitor.apply(profile, outcome, outcome.ended)
        history.record(monitor, changes)
    moment = history.moment(history.polls(*EVER)[0])
    past = rewound(monitor, {HOME: moment}, moment.now)
    assert past.fleet.unlisted == (WORK,)
    assert len(past.fleet) == 3


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
