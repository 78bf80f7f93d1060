"""The monitor of a past moment, and the polls used to rebuild the monitor."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW, beating, environment, failed, listed, reading
from support.builders import key_of as key_of_row
from support.memory_history import MemoryHistory
from support.policies import soon
from support.scripted_watch import SilencedNight

from envwatch.alerts.acknowledgements import ack_of
from envwatch.alerts.alert_policy import Rule, Word, decision_sentence
from envwatch.alerts.monitor import Monitor
from envwatch.alerts.uptime_record import UptimeRecord
from envwatch.fleet.events import NO_PROFILE, Event, EventLog, Kind
from envwatch.fleet.uptime import Uptime, share_text
from envwatch.history.encoding.frames import FrameEncoder, MomentBuilder
from envwatch.history.past import Moment
from envwatch.history.rewound import LogEnds, PollRef, Timeline, rewound
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import PollResult, RecordedPoll
from envwatch.model.text import SafeText, clean
from envwatch.views.table.block import build_block

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.fleet.tracking import TrackedEnvironment
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


def test_a_timeline_merges_polls_by_time_and_knows_each_profile_by_its_newest_poll() -> None:
    line = timeline(home=(1, 5, 9), work=(2, 6))
    assert [(each.profile, each.poll.at) for each in line.poll_refs] == [
        *((HOME, 1.0), (WORK, 2.0), (HOME, 5.0), (WORK, 6.0), (HOME, 9.0)),
    ]
    known = [{profile: each.at for profile, each in line.known_at(place).items()} for place in range(5)]
    assert [(each.get(HOME), each.get(WORK)) for each in known] == [
        *((1.0, None), (1.0, 2.0), (5.0, 2.0), (5.0, 6.0), (9.0, 6.0)),
    ]
    assert line.place_of(PollRef(WORK, poll(2, 6))) == 3
    assert line.place_of(PollRef(WORK, poll(9, 6))) == -1


def test_a_timeline_ends_at_its_begin_or_its_last_poll_also_after_a_clock_was_set_back() -> None:
    assert Timeline.from_polls({}, WallMs(7)).until == WallMs(7)
    assert Timeline().until == WallMs(0)
    line = timeline(home=(10, 20, 11, 21))
    assert [each.poll.at for each in line.poll_refs] == [10.0, 20.0, 11.0, 21.0]
    assert line.until == 21.0


@pytest.mark.parametrize(("wall", "place"), [(0.9, -1), (1, 0), (4.9, 1), (5, 2), (99, 4)])
def test_a_place_is_the_index_of_the_newest_poll_at_or_before_a_moment(wall: float, place: int) -> None:
    assert timeline(home=(1, 5, 9), work=(2, 6)).place_at(WallMs(wall)) == place


def lived(history: MemoryHistory, outcomes: list[Outcome]) -> list[Monitor]:
    monitors = [Monitor.create({NO_PROFILE: Limits()})]
    for outcome in outcomes:
        monitor, changes = monitors[-1].apply(NO_PROFILE, outcome, outcome.ended)  # type: ignore[union-attr]
        history.record(monitor, changes)
        monitors.append(monitor)
    return monitors[1:]


@given(st.lists(st.tuples(st.sampled_from([5, 61, 130]), st.sets(st.integers(0, 3)), st.booleans()), max_size=12))
def test_a_rewound_monitor_is_the_monitor_of_then(life: list[tuple[int, set[int], bool]]) -> None:
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
        past = rewound(replace(monitors[-1], event_log=log), {NO_PROFILE: moment})
        assert past.fleet == then.fleet
        assert past.acks == then.acks
        assert list(past.event_log) == list(then.event_log)
        for tracked in then.fleet.environments:
            assert list(past.event_log.for_environment(tracked.key)) == list(
                then.event_log.for_environment(tracked.key)
            )
        assert past.watched_at(NO_PROFILE, moment.now) == then.watched_at(NO_PROFILE, moment.now)
        assert past.due_alerts(moment.now) == (past, ())


def told(monitor: Monitor, at: float) -> object:
    """Return everything that a person and a hook learn about losses."""
    now = reading(at)
    judge = monitor.judge(now)

    def of_row(row: TrackedEnvironment) -> object:
        silenced, decision = judge.silenced_time(row), judge.decision_of(row)
        times = None if silenced is None else (*silenced[1:], silenced.silence.by, silenced.silence.note)
        is_silenced = judge.silenced(row) is not None
        share = None if row.up_share is None else share_text(row.up_share)
        return judge.is_alerting(row), decision, decision_sentence(decision, row), share, times, is_silenced

    waiting, opened = monitor.incidents.waiting, monitor.incidents.open
    statuses = {key: judge.status_of(key) for key in monitor.incidents.lost}
    block = replace(build_block(monitor, now), changes_at=0.0)
    rows = {row.key: of_row(row) for row in monitor.fleet.environments}
    return rows, monitor.acks, monitor.words, waiting, opened, statuses, block


def in_file(moments: Sequence[Moment]) -> Sequence[Moment]:
    """Return moments that were encoded and read."""
    encoder, builder, found = FrameEncoder(), MomentBuilder(NO_PROFILE), list[Moment]()
    for moment in moments:
        builder.apply(encoder.encode(moment))
        found.append(builder.moment())
    return found


def assert_rewound_as_live(history: MemoryHistory, lived: list[tuple[float, Monitor]]) -> None:
    """Compare the monitor after each poll with the rewound monitor, under other policies, silences and words."""
    present = replace(lived[-1][1], policies={}, silences={}, words={}, uptime_records={})
    moments = in_file([history.moment(poll) for at, _ in lived for poll in history.polls(WallMs(at), WallMs(at))])
    for (at, then), moment in zip(lived, moments, strict=True):
        assert told(rewound(present, {NO_PROFILE: moment}), at) == told(then, at)


SECONDS_OFF = st.tuples(st.integers(1, 6), st.integers(1, 6)).map(lambda polls: (polls[0] * 5, sum(polls) * 5))


@settings(max_examples=examples(100))
@given(st.dictionaries(st.sampled_from(SilencedNight().names), SECONDS_OFF))
def test_a_loss_in_a_silence_is_rewound_as_shown_then(outages: dict[str, tuple[int, int]]) -> None:
    night, lived = SilencedNight().poll("19:00"), list[tuple[float, Monitor]]()
    for second in range(5, 60, 5):
        off = [name for name, (lost, back) in outages.items() if lost <= second < back]
        night.poll(f"19:00:{second:02}", *off)
        lived.append((night.at, night.monitor))
    assert_rewound_as_live(night.history, lived)


def test_a_morning_is_rewound_with_the_rows_not_back_at_the_end_of_the_hours() -> None:
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


def test_hours_of_a_silence_ended_by_a_person_are_over_in_the_past_too() -> None:
    night, lived = SilencedNight().poll("19:00").poll("19:00:05", "mac-1"), list[tuple[float, Monitor]]()
    lived.append((night.at, night.monitor))
    night.end("mac-1").poll("19:00:10", "mac-1")
    lived.append((night.at, night.monitor))
    assert not night.silenced()
    assert_rewound_as_live(night.history, lived)


def test_a_silence_of_an_hour_ago_is_shown_with_the_rows_and_the_end_of_then() -> None:
    night, lived = SilencedNight(monitor=Monitor.create({NO_PROFILE: Limits()}, policies=soon())).poll("12:00"), []
    night.silence("mac-1", "web-1")
    for time, off in (("12:00:05", ()), ("12:30", ("mac-1",)), ("13:00:05", ("mac-1",)), ("13:01", ("mac-1",))):
        night.poll(time, *off)
        lived.append((night.at, night.monitor))
    assert night.lost() == [{"mac-1"}]
    assert_rewound_as_live(night.history, lived)


def test_words_acknowledgements_and_uptimes_of_the_moment_are_rewound() -> None:
    night, lived = SilencedNight(monitor=Monitor.create({NO_PROFILE: Limits()})), list[tuple[float, Monitor]]()
    night.monitor = night.monitor.with_uptime_record(NO_PROFILE, UptimeRecord())
    night.poll("12:00")
    full = Uptime(up=6e8, watched=6e8 + 1, is_up=True)
    rows = {clean("web-1"): full, clean("web-2"): full._replace(up=5e8)}
    night.monitor = night.monitor.with_uptime_record(NO_PROFILE, UptimeRecord(rows=rows, has_begun=True))
    words = {key_of_row("mac-1"): Word(is_always=True, at=WallMs(NOW), by=clean("ann"))}
    for time, spoken in (("12:00:05", {}), ("12:00:10", words)):
        night.monitor, _ = night.monitor.with_words(spoken, reading(night.at))
        night.poll(time, "web-1", "web-2", "mac-1")
        lived.append((night.at, night.monitor))
    known = ack_of(night.row("web-2"), night.at, clean("known"))
    night.monitor = night.monitor.with_acks({key_of_row("web-2"): known})
    night.poll("12:00:15", "web-1", "web-2", "mac-1")
    assert night.monitor.acks
    lived.append((night.at, night.monitor))
    judge = lived[-1][1].judge(reading(night.at))
    rows_at = {name: judge.decision_of(night.row(name)) for name in ("web-1", "web-2", "mac-1")}
    assert [(each.counts, each.rule) for each in rows_at.values()] == [
        (True, Rule.UPTIME),
        (False, Rule.UPTIME),
        (True, Rule.WORD),
    ]
    assert_rewound_as_live(night.history, lived)


Life: TypeAlias = "Mapping[int, Sequence[tuple[int, str]]]"
"""Each row's states from a poll on: `up`, `closed` or `silent`. Row 0 is always up."""


def wire_at(states: Sequence[tuple[int, str]], number: int, at: float) -> dict[str, Any]:
    first, state = next((each for each in reversed(states) if each[0] <= number), (0, "up"))
    seen = at - 1_000 if state == "up" else NOW + first * 5_000 - 1_000
    link = {"connectionId": None, "lastHeartbeat": None} if state == "closed" else {"lastHeartbeat": seen}
    return {"lastSeenAt": seen, **link}


def lived_by(life: Life, polls: int) -> tuple[MemoryHistory, list[tuple[float, Monitor]]]:
    """Poll rows each five seconds; a loss needs a person after ten seconds."""
    history, lived = MemoryHistory(), list[tuple[float, Monitor]]()
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies=soon())
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
def test_incidents_and_waiting_losses_are_rewound_as_known_then(life: Life) -> None:
    assert_rewound_as_live(*lived_by(life, 30))


def test_a_profile_without_a_moment_is_as_before_its_first_poll() -> None:
    history = MemoryHistory(HOME)
    monitor = Monitor.create({HOME: Limits(), WORK: Limits()}, servers={HOME: clean("a.example")})
    for profile in (HOME, WORK):
        outcome = listed(beating(3), NOW)
        monitor, changes = monitor.apply(profile, outcome, outcome.ended)
        history.record(monitor, changes)
    moment = history.moment(history.polls(*EVER)[0])
    past = rewound(monitor, {HOME: moment})
    assert past.fleet.unlisted == (WORK,)
    assert len(past.fleet) == 3
    moved = Monitor.create({HOME: Limits(), WORK: Limits()}, servers={HOME: clean("b.example")})
    assert rewound(moved, {HOME: moment}).fleet.servers == moved.fleet.servers


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


def test_a_log_up_to_a_moment_has_the_events_known_then_also_from_before_the_start() -> None:
    log = EventLog().with_past([event(-2), event(-1)]).with_events([event(1)]).with_events([event(2)])
    assert [each.at for each in log.when_added(1)] == [-2.0, -1.0, 1.0]
    assert [each.at for each in log.when_added(0)] == [-2.0, -1.0]
    assert [each.at for each in log.when_added(1).with_past([event(-3)])] == [-3.0, -2.0, -1.0, 1.0]
    shortened = log.with_events([event(3)], most=2)
    assert [each.at for each in shortened.when_added(2)] == [2.0]
    assert len(shortened.when_added(1)) == 0
    home, work = replace(event(2), profile=HOME), replace(event(1), profile=WORK)
    known = EventLog().with_past([home]).with_past([work]).known(lambda each: each.profile == HOME)
    assert list(known) == [home]
    assert known.for_environment((WORK, clean("env-1"))) == ()


def test_the_log_of_a_moment_is_the_log_after_the_poll_before() -> None:
    ends, log = LogEnds(), EventLog().with_past([event(0)])
    for wall, came in ((1, []), (2, [event(2)]), (3, []), (4, [event(4)]), (5, [])):
        log = log.with_events(came)
        ends.note(WallMs(wall), log)
    found = {wall: len(ends.log_at(WallMs(wall), log)) for wall in (0.5, 1, 1.9, 2, 3, 3.9, 4, 5, 9)}
    assert found == {0.5: 1, 1: 1, 1.9: 1, 2: 2, 3: 2, 3.9: 2, 4: 3, 5: 3, 9: 3}
