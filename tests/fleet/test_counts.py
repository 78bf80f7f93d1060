"""The status line's counts equal the rows' counts."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, environment, failed, listed, reading

from envwatch.fleet.problems import counts_at
from envwatch.fleet.profile_state import ProfileState
from envwatch.views.state_style import glyph_of, style_of

ROWS = st.sampled_from(
    [
        {},
        {"connectionId": None},
        {"lastHeartbeat": NOW - 46_000},
        {"lastHeartbeat": NOW - 121_000},
        {"lastHeartbeat": NOW + 40_000},
        {"lastHeartbeat": NOW / 1000},
        {"lastHeartbeat": NOW + 2 * 86_400_000},
        {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW - 30 * 86_400_000},
    ]
)


@given(
    first=st.lists(ROWS, max_size=14),
    second=st.lists(ROWS, max_size=14),
    seconds=st.sampled_from([0, 59, 61, 300]),
    fails=st.booleans(),
)
def test_the_counts_are_those_of_the_rows(
    first: list[dict[str, object]], second: list[dict[str, object]], seconds: int, *, fails: bool
) -> None:
    profile_state = ProfileState()
    for rows, at in ((first, NOW), (second, NOW + 5_000), (second, NOW + 10_000)):
        profile_state, _ = profile_state.apply(
            listed([environment(f"env-{n}", **row) for n, row in enumerate(rows)], at)
        )
    if fails:
        profile_state, _ = profile_state.apply(failed(at=NOW + 15_000))
    now = reading(NOW + 15_000 + seconds * 1000)
    counts = counts_at(profile_state, now)
    shown = Counter[str]()
    for tracked in profile_state.environments.values():
        style = style_of(tracked, is_unknown=profile_state.is_unknown(tracked, now))
        shown["unknown" if style.style == "unknown" else style.glyph] += 1
    assert counts.unknown == shown.pop("unknown", 0)
    assert {
        glyph_of(presence, ascii_only=False): counts.with_presence(presence) for presence in counts.presences
    } == shown


@pytest.mark.parametrize(("seconds", "unknown"), [(60, 0), (60.001, 2)])
def test_a_blind_fleet_is_unknown_as_a_whole(seconds: float, unknown: int) -> None:
    profile_state, _ = ProfileState().apply(listed([environment("env-1"), environment("env-2", connectionId=None)]))
    counts = counts_at(profile_state, reading(NOW + seconds * 1000))
    assert (counts.unknown, sum(counts.presences.values())) == (unknown, 2 - unknown)


def test_a_fleet_of_which_nothing_is_up_any_more_knows_since_when() -> None:
    down = environment("env-1", connectionId=None)
    never, _ = ProfileState().apply(listed([down]))
    profile_state, _ = ProfileState().apply(listed([environment("env-1"), environment("env-2")]))
    assert (never.none_up_since, profile_state.none_up_since) == (None, None)
    profile_state, _ = profile_state.apply(listed([down], NOW + 5_000))
    assert profile_state.none_up_since is None  # one listing does not prove env-2 gone
    profile_state, _ = profile_state.apply(listed([down], NOW + 10_000))
    assert profile_state.none_up_since == reading(NOW + 5_000)
    profile_state, _ = profile_state.apply(listed([environment("env-1")], NOW + 15_000))
    assert profile_state.none_up_since is None
