"""What is kept of the events, and what is known of one environment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envwatch.fleet.event_log import EventLog
from envwatch.fleet.events import Event, Kind, flatten
from envwatch.model.clock import ServerMs
from envwatch.model.text import Clean

ADA, BOB = (Clean(""), Clean("ada")), (Clean(""), Clean("bob"))


def lost(name: str, at: float = 0) -> Event:
    return Event(kind=Kind.OFFLINE, at=ServerMs(at), id=Clean(name), name=Clean(name))


def merge_streams(*members: Event, at: float = 0) -> Event:
    return Event(kind=Kind.TOGETHER, at=ServerMs(at), of=Kind.OFFLINE, members=members)


def test_the_events_of_an_environment_are_those_of_its_groups_too() -> None:
    first, second, third = lost("ada", 1), lost("ada", 2), lost("bob", 2)
    event_log = EventLog().after([first]).after([merge_streams(second, third, at=2)])
    assert list(event_log.of(ADA)) == [first, second]
    assert list(event_log.of(BOB)) == [third]
    assert list(event_log.of((Clean(""), Clean("cyd")))) == []
    assert len(event_log) == 2
    assert event_log.cut_at is None


@pytest.mark.parametrize(("most", "kept", "cut_at"), [(4, 3, None), (3, 2, 1), (1, 1, 2)])
def test_each_member_of_a_group_counts(most: int, kept: int, cut_at: float | None) -> None:
    events = [lost("ada", 1), merge_streams(lost("ada", 2), lost("bob", 2), at=2), lost("ada", 3)]
    event_log = EventLog().after(events, most)
    assert list(event_log) == events[-kept:]
    assert event_log.cut_at == cut_at
    assert len(event_log.of(ADA)) == kept


def test_a_group_is_kept_however_large_it_is_until_something_newer_comes() -> None:
    large = merge_streams(*(lost(f"env-{n}") for n in range(9)))
    event_log = EventLog().after([lost("ada")], 5).after([large], 5)
    assert list(event_log) == [large]
    assert list(event_log.after([lost("bob", 1)], 5)) == [lost("bob", 1)]


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
        event_log, every = event_log.after(events, most), [*every, *events]
        kept = flatten(event_log)
        assert len(kept) <= most or len(event_log) == 1
        for name in ("ada", "bob", "cyd"):
            assert list(event_log.of((Clean(""), Clean(name)))) == [event for event in kept if event.id == name]
        assert list(event_log) == every[len(every) - len(event_log) :]
