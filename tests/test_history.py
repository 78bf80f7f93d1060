"""What is kept of the events, and what is known of one environment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envwatch.events import Event, Kind, leaves
from envwatch.history import History
from envwatch.text import Clean

ADA, BOB = (Clean(""), Clean("ada")), (Clean(""), Clean("bob"))


def lost(name: str, at: float = 0) -> Event:
    return Event(kind=Kind.OFFLINE, at=at, id=Clean(name), name=Clean(name))


def together(*members: Event, at: float = 0) -> Event:
    return Event(kind=Kind.TOGETHER, at=at, of=Kind.OFFLINE, members=members)


def test_the_events_of_an_environment_are_those_of_its_groups_too() -> None:
    first, second, third = lost("ada", 1), lost("ada", 2), lost("bob", 2)
    history = History().after([first]).after([together(second, third, at=2)])
    assert list(history.of(ADA)) == [first, second]
    assert list(history.of(BOB)) == [third]
    assert list(history.of((Clean(""), Clean("cyd")))) == []
    assert len(history) == 2
    assert history.cut_at is None


@pytest.mark.parametrize(("most", "kept", "cut_at"), [(4, 3, None), (3, 2, 1), (1, 1, 2)])
def test_each_member_of_a_group_counts(most: int, kept: int, cut_at: float | None) -> None:
    events = [lost("ada", 1), together(lost("ada", 2), lost("bob", 2), at=2), lost("ada", 3)]
    history = History().after(events, most)
    assert list(history) == events[-kept:]
    assert history.cut_at == cut_at
    assert len(history.of(ADA)) == kept


def test_a_group_is_kept_however_large_it_is_until_something_newer_comes() -> None:
    large = together(*(lost(f"env-{n}") for n in range(9)))
    history = History().after([lost("ada")], 5).after([large], 5)
    assert list(history) == [large]
    assert list(history.after([lost("bob", 1)], 5)) == [lost("bob", 1)]


EVENTS = st.recursive(
    st.sampled_from(["ada", "bob", "cyd"]).map(lost),
    lambda inner: st.lists(inner, min_size=1, max_size=4).map(lambda members: together(*members)),
    max_leaves=6,
)


@given(st.lists(st.lists(EVENTS, max_size=4), max_size=8), st.integers(1, 12))
def test_what_is_known_of_each_environment_is_what_the_kept_events_stand_for(
    listings: list[list[Event]], most: int
) -> None:
    history = History()
    every: list[Event] = []
    for events in listings:
        history, every = history.after(events, most), [*every, *events]
        kept = leaves(history)
        assert len(kept) <= most or len(history) == 1
        for name in ("ada", "bob", "cyd"):
            assert list(history.of((Clean(""), Clean(name)))) == [event for event in kept if event.id == name]
        assert list(history) == every[len(every) - len(history) :]
