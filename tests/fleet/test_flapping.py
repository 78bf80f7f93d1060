"""Nagios' flap detection, on percentages calculated by hand."""

from __future__ import annotations

import pytest
from support.builders import NOW

from envwatch.fleet.tracking import change_rate, is_flapping

SLOT = 30_000


def changes_in(*slots: int) -> list[float]:
    """Return a change in the middle of each slot, 0 for the newest."""
    return [NOW - slot * SLOT - SLOT / 2 for slot in slots]


# The newest of the 20 possible changes weighs 1.25, the oldest 0.75, each step 0.5/19.
@pytest.mark.parametrize(
    ("slots", "percent"),
    [
        ((), 0.0),
        ((0,), 6.25),  # 1.25 / 20
        ((19,), 3.75),  # 0.75 / 20
        ((0, 19), 10.0),
        ((0, 1, 2), 18.355263157894736),  # (3 * 1.25 - 3 * 0.5/19) / 20
        (tuple(range(0, 20, 2)), 50.65789473684210),  # every other sample: (10 * 1.25 - 90 * 0.5/19) / 20
        (tuple(range(20)), 100.0),  # a change in every sample
        ((20,), 0.0),  # past the window
    ],
)
def test_the_rate_is_that_of_nagios(slots: tuple[int, ...], percent: float) -> None:
    assert change_rate(changes_in(*slots), NOW) == pytest.approx(percent, abs=1e-9)


def test_changes_within_one_sample_count_once() -> None:
    assert change_rate([NOW, NOW - 1, NOW - SLOT + 1], NOW) == 6.25


@pytest.mark.parametrize(("age", "percent"), [(SLOT - 1, 6.25), (SLOT, 6.25 - 100 * 0.5 / 19 / 20)])
def test_a_sample_is_thirty_seconds(age: float, percent: float) -> None:
    assert change_rate([NOW - age], NOW) == pytest.approx(percent, abs=1e-9)


@pytest.mark.parametrize(("age", "counts"), [(20 * SLOT - 1, True), (20 * SLOT, False)])
def test_a_change_is_forgotten_after_ten_minutes(age: float, *, counts: bool) -> None:
    assert (change_rate([NOW - age], NOW) > 0) is counts


def test_a_change_from_the_future_counts_for_nothing() -> None:
    assert change_rate([NOW + 1], NOW) == 0


# The weights of 0 and 19, 1 and 18, and so on, add up to 2.0, which is 10 %.
BELOW_TWENTY = changes_in(1, 2, 19)
TWENTY = changes_in(0, 19, 1, 18)
ABOVE_TWENTY = changes_in(0, 19, 1, 17)
BELOW_THIRTY = changes_in(0, 19, 1, 18, 3, 17)
THIRTY = changes_in(0, 19, 1, 18, 2, 17)


@pytest.mark.parametrize(
    ("changed_at", "starts", "goes_on"),
    [
        (BELOW_TWENTY, False, False),
        (TWENTY, False, False),
        (ABOVE_TWENTY, False, True),
        (BELOW_THIRTY, False, True),
        (THIRTY, True, True),
    ],
)
def test_flapping_starts_at_thirty_percent_and_ends_at_twenty(
    changed_at: list[float], *, starts: bool, goes_on: bool
) -> None:
    assert is_flapping(changed_at, NOW, was_flapping=False) is starts
    assert is_flapping(changed_at, NOW, was_flapping=True) is goes_on
