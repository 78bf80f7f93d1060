"""The kept events, and an environment's events."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envwatch.fleet.events import Event, EventLog, Kind, flatten
from envwatch.model.clock import ServerMs
from envwatch.model.text import clean

ADA, BOB = (clean(""), clean("ada")), (clean(""), clean("bob"))


def lost(name: str, at: float = 0) -> Event:
    return Event(kind=Kind.OFFLINE, at=ServerMs(at), id=clean(name), name=clean(name))


def merge_streams(*members: Event, at: float = 0) -> Event:
    return Event(kind=Kind.TOGETHER, at=ServerMs(at), of=Kind.OFFLINE, members=members)


def test_the_events_of_an_environment_are_those_of_its_groups_too() -> None:
    first, second, third = lost("ada", 1), lost("ada", 2), lost("bob", 2)
    event_log = EventLog().with_events([first]).with_events([merge_streams(second, third, at=2)])
    assert list(event_log.for_environment(ADA)) == [first, second]
    assert list(event_log.for_environment(BOB)) == [third]
    assert list(event_log.for_environment((clean(""), clean("cyd")))) == []
    assert [*reversed(event_log)] == [*event_log][::-1]
    assert len(event_log) == 2
    assert event_log.cut_at is None


@pytest.mark.parametrize(("added", "kept"), [(0, [0]), (1, [0, 1]), (3, [0, 1, 2, 3])])
def test_a_log_has_the_past_and_the_events_added_first(added: int, kept: list[float]) -> None:
    event_log = EventLog().with_past([lost("ada", 0)]).with_events([lost("ada", 1)])
    event_log = event_log.with_events([lost("bob", 2), lost("ada", 3)])
    assert [float(event.at) for event in event_log.when_added(added)] == kept


@pytest.mark.parametrize(("most", "kept", "cut_at"), [(4, 3, None), (3, 2, 1), (1, 1, 2)])
def test_each_member_of_a_group_counts(most: int, kept: int, cut_at: float | None) -> None:
    events = [lost("ada", 1), merge_streams(lost("ada", 2), lost("bob", 2), at=2), lost("ada", 3)]
    event_log = EventLog().with_events(events, most)
    assert list(event_log) == events[-kept:]
    assert event_log.cut_at == cut_at
    assert len(event_log.for_environment(ADA)) == kept


def test_a_group_of_any_size_is_kept_until_something_newer_comes() -> None:
    large = merge_streams(*(lost(f"env-{n}") for n in range(9)))
    event_log = EventLog().with_events([lost("ada")], 5).with_events([large], 5)
    assert list(event_log) == [large]
    assert list(event_log.with_events([lost("bob", 1)], 5)) == [lost("bob", 1)]


def test_removed_events_leave_room() -> None:
    first, later = lost("ada"), merge_streams(lost("bob", 1), lost("cyd", 1), at=1)
    event_log = EventLog().with_events([first, later], 3).known(lambda event: event is first)
    assert list(event_log.with_events([later], 3)) == [first, later]


EVENTS = st.recursive(
    st.sampled_from(["ada", "bob", "cyd"]).map(lost),
    lambda inner: st.lists(inner, min_size=1, max_size=4).map(lambda members: merge_streams(*members)),
    max_leaves=6,
)


@given(st.lists(st.lists(EVENTS, max_size=4), max_size=8), st.integers(1, 12))
def test_what_is_known_of_each_environment_is_what_the_kept_events_stand_for(
    listings: list[list[Event]], most: int
) -> None:
    event_log = EventLog()
    every: list[Event] = []
    for events in listings:
        event_log, every = event_log.with_events(events, most), [*every, *events]
        kept = flatten(event_log)
        assert len(kept) <= most or len(event_log) == 1
        for name in ("ada", "bob", "cyd"):
            assert list(event_log.for_environment((clean(""), clean(name)))) == [
                event for event in kept if event.id == name
            ]
        assert list(event_log) == every[len(every) - len(event_log) :]


def of_profile(profile: str, *moments: float) -> list[Event]:
    return [
        Event(kind=Kind.OFFLINE, at=ServerMs(at), profile=clean(profile), id=clean("ada"), name=clean(f"{place}"))
        for place, at in enumerate(moments)
    ]


def test_events_of_the_past_stand_before_those_since_the_start_whatever_the_clocks_say() -> None:
    live = [lost("ada", 5), lost("bob", 9)]
    past = [lost("ada", 1), lost("bob", 30), lost("cyd", 8)]
    event_log = EventLog().with_events(live[:1]).with_past(past).with_events(live[1:])
    assert list(event_log) == [*past, *live]
    assert list(event_log.for_environment(ADA)) == [past[0], live[0]]
    assert event_log.cut_at is None


def test_the_pasts_of_profiles_are_merged_by_time() -> None:
    one, other, live = of_profile("one", 1, 4, 6), of_profile("other", 2, 5, 3), [lost("ada", 0)]
    expected = [one[0], other[0], one[1], other[1], other[2], one[2], *live]
    assert list(EventLog().with_events(live).with_past(one).with_past(other)) == expected
    assert list(EventLog().with_past(other).with_events(live).with_past(one)) == expected


def test_events_recorded_since_the_start_come_once() -> None:
    live = [merge_streams(lost("ada", 5), lost("bob", 5), at=5), lost("ada", 6)]
    past = [lost("ada", 1), merge_streams(lost("ada", 5), lost("bob", 5), at=5), lost("ada", 6)]
    assert list(EventLog().with_events(live).with_past(past)) == [past[0], *live]


@pytest.mark.parametrize(("most", "kept", "cut_at"), [(5, 4, None), (4, 3, 1), (3, 2, 2), (1, 1, 4)])
def test_the_oldest_of_the_past_go_first_where_there_are_too_many(most: int, kept: int, cut_at: float | None) -> None:
    past, live = [lost("ada", 1), merge_streams(lost("ada", 2), lost("bob", 2), at=2)], [lost("ada", 4), lost("bob", 5)]
    event_log = EventLog().with_events(live).with_past(past, most)
    assert list(event_log) == [*past, *live][-kept:]
    assert event_log.cut_at == cut_at
    assert event_log.with_events([lost("cyd", 6)], 2)[0] is live[-1]


def test_the_past_of_another_profile_finds_its_place_after_some_were_dropped() -> None:
    event_log = EventLog().with_past(of_profile("one", 1, 2, 3)).with_events([lost("ada", 9), lost("bob", 9)], 3)
    assert [event.at / 1 for event in event_log] == [3, 9, 9]
    assert [event.at / 1 for event in event_log.with_past(of_profile("other", 2, 4))] == [2, 3, 4, 9, 9]


def test_past_events_of_one_poll_are_found_together() -> None:
    past = [lost("ada", 1_000), lost("bob", 1_999), lost("cyd", 2_999)]
    event_log = EventLog().with_events([lost("dan", 3_000)]).with_past(past).with_events([lost("eve", 3_001)])
    assert [len(event_log.with_poll_of(event)) for event in event_log] == [2, 2, 1, 1, 1]


@given(st.lists(EVENTS, max_size=8), st.lists(st.lists(EVENTS, max_size=3), max_size=4), st.integers(1, 20))
def test_a_log_with_a_later_past_equals_a_log_with_the_past_from_the_start(
    past: list[Event], listings: list[list[Event]], most: int
) -> None:
    past = [replace(event, at=ServerMs(-1)) for event in past]
    late, early = EventLog(), EventLog().with_events(past, most)
    for events in listings:
        late, early = late.with_events(events, most), early.with_events(events, most)
    if late.cut_at is None:
        late = late.with_past(past, most)
    assert list(late) == list(early)
    assert late.cut_at == early.cut_at
    assert all(late.for_environment(key) == early.for_environment(key) for key in (ADA, BOB))


def test_what_came_since_the_start_is_no_part_of_a_poll_of_the_past() -> None:
    """Another profile's past is read later, and splits the events of a poll."""
    first = EventLog().with_past([lost("ada", 1_000), lost("bob", 1_500)])
    event_log = first.with_events([lost("cyd", 9_000)]).with_past(of_profile("other", 1_200))
    assert event_log.with_poll_of(event_log[-1]) == (event_log[-1],)
