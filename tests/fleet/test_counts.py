"""The status line's counts equal the rows' counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, environment, failed, listed, reading

from envwatch.fleet.problems import Counts, counts_at
from envwatch.fleet.profile_state import ProfileState
from envwatch.model.text import clean
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
    known = profile_state.known(now)
    shown = Counter[str]()
    for tracked in profile_state.environments.values():
        style = style_of(tracked, is_unknown=profile_state.is_unknown(tracked, now))
        shown["unknown" if style.style == "unknown" else style.glyph] += 1
    assert len(profile_state.environments) - len(known) == shown.pop("unknown", 0)
    assert Counter(glyph_of(row.presence, ascii_only=False) for row in known) == shown


A, B, ONE, TWO = clean("a"), clean("b"), clean("1.0"), clean("2.0")


def test_the_counts_of_two_profiles_are_the_sums() -> None:
    one = Counts(flapping=3, unrestricted=4, behind=5, newest=ONE)
    other = Counts(flapping=30, unrestricted=40, behind=50, newest=ONE)
    both = one + replace(other, mostly_behind=frozenset({A})) + Counts(mostly_behind=frozenset({B}))
    assert both == Counts(
        flapping=33,
        unrestricted=44,
        behind=55,
        newest=ONE,
        mostly_behind=frozenset({A, B}),
    )


@pytest.mark.parametrize(
    ("one", "other", "newest"),
    [
        (Counts(behind=1, newest=ONE), Counts(behind=1, newest=ONE), ONE),
        (Counts(behind=1, newest=ONE), Counts(behind=1, newest=TWO), None),
        (Counts(behind=1, newest=ONE), Counts(behind=0, newest=TWO), ONE),
        (Counts(newest=ONE), Counts(newest=ONE), None),
    ],
)
def test_profiles_with_old_versions_have_one_newest_version_or_none(
    one: Counts, other: Counts, newest: str | None
) -> None:
    assert (one + other).newest == newest


def test_flapping_rows_unrestricted_rows_and_rows_behind_are_counted_while_up() -> None:
    old = {"metadata": {"lettaCodeVersion": "0.30.0"}}
    states: list[dict[str, Any]] = [{}, {}, {"currentMode": "unrestricted"}, old, old | {"connectionId": None}]
    states.append({"currentMode": "unrestricted", "connectionId": None})
    rows = [environment(f"env-{n}", **each) for n, each in enumerate(states)]
    profile_state, _ = ProfileState().apply(listed(rows))
    flapping = replace(profile_state.environments[clean("env-0")], is_flapping=True)
    replaced = replace(profile_state.environments[clean("env-1")], is_flapping=True, replaced_by=clean("env-2"))
    changed = {**profile_state.environments, flapping.environment.id: flapping, replaced.environment.id: replaced}
    counts = counts_at(replace(profile_state, environments=changed), reading())
    assert (counts.flapping, counts.unrestricted, counts.behind, counts.newest) == (1, 1, 1, "0.34.12")


@pytest.mark.parametrize(("seconds", "count"), [(60, 2), (60.001, 0)])
def test_a_blind_fleet_is_unknown_as_a_whole(seconds: float, count: int) -> None:
    profile_state, _ = ProfileState().apply(listed([environment("env-1"), environment("env-2", connectionId=None)]))
    assert len(profile_state.known(reading(NOW + seconds * 1000))) == count


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
