"""The server's clock from answers, and a machine that slept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW

from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, ServerClock, WallMs

DAY = 86_400_000


def clock_of(*bounds: tuple[float, float]) -> ServerClock:
    clock = ServerClock()
    for low, high in bounds:
        clock = clock.with_bounds(OffsetBounds(low, high))
    return clock


def test_without_an_answer_the_local_clock_is_all_there_is() -> None:
    clock = ServerClock()
    assert not clock.is_known
    assert clock.bounds is None
    assert clock.server_time(WallMs(NOW)) == NOW


def test_an_answer_bounds_the_offset_by_its_way_there_and_back() -> None:
    assert OffsetBounds.of_answer(date=60_000, asked=50_100, answered=50_400) == OffsetBounds(9_600, 10_900)


def test_answers_are_intersected() -> None:
    clock = clock_of((-300, 1000), (200, 1400), (-100, 700))
    assert clock.bounds == OffsetBounds(200, 700)
    assert clock.offset == 450


def test_bounds_with_a_common_end_still_agree() -> None:
    assert clock_of((0, 1000), (1000, 2000)).bounds == OffsetBounds(1000, 1000)


def test_contradicting_answers_start_over_with_the_newest() -> None:
    assert clock_of((0, 1000), (100, 900), (1000.5, 2000)).samples == (OffsetBounds(1000.5, 2000),)


def test_only_the_last_twelve_answers_count() -> None:
    narrow_and_old = [(400.0, 600.0)] + [(0.0, 1000.0)] * 11
    assert clock_of(*narrow_and_old).bounds == OffsetBounds(400, 600)
    assert clock_of(*narrow_and_old, (0, 1000)).bounds == OffsetBounds(0, 1000)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(("offset", "warns"), [(4_999, False), (5_000, True)])
def test_a_person_is_warned_from_five_seconds(offset: float, sign: int, *, warns: bool) -> None:
    assert clock_of((sign * offset - 500, sign * offset + 500)).is_far_off is warns


@given(
    skew=st.integers(-DAY, DAY),
    answers=st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 2_000), st.integers(0, 2_000)), min_size=1),
)
@settings(max_examples=examples(100), deadline=None)
def test_the_bounds_hold_the_truth_whatever_the_network_and_the_local_clock_do(
    skew: int, answers: list[tuple[int, int, int]]
) -> None:
    """`Date` is cut to the second, and both directions may take any time."""
    clock = ServerClock()
    for since, there, back in answers:
        date = (NOW + since + there) // 1000 * 1000
        clock = clock.with_bounds(OffsetBounds.of_answer(date, NOW + since + skew, NOW + since + there + back + skew))
    bounds = clock.bounds
    assert bounds is not None
    assert bounds.low <= -skew <= bounds.high
    assert len(clock.samples) == min(len(answers), 12)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(("drift", "slept"), [(5_000, False), (5_001, True)])
def test_clocks_apart_by_more_than_five_seconds_mean_sleep(drift: float, sign: int, *, slept: bool) -> None:
    earlier, later = (
        Clocks(WallMs(NOW), MonotonicS(100)),
        Clocks(WallMs(NOW + 30_000 + sign * drift), MonotonicS(130)),
    )
    assert later.slept_since(earlier) is slept


@pytest.mark.parametrize(
    ("wall_s", "monotonic_s", "expected"),
    [
        (105, 105, (105, 105)),
        (100.5, 100.5, (100.5, 100.5)),
        (98, 98, (100, 100)),
        (3_698, 98, (3_698, 100)),
        (-3_502, 98, (-3_500, 100)),
    ],
    ids=[
        "later",
        "a little later",
        "earlier",
        "earlier, and the wall clock was set ahead",
        "earlier, and the wall clock was set back",
    ],
)
def test_a_reading_not_before_another_follows_a_set_wall_clock(
    wall_s: float, monotonic_s: float, expected: tuple[float, float]
) -> None:
    found = Clocks(WallMs(wall_s * 1000), MonotonicS(monotonic_s)).not_before(Clocks(WallMs(100_000), MonotonicS(100)))
    assert (found.wall / 1000, found.monotonic) == expected
