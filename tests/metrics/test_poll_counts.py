"""The counts of polls: by result and by duration."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.builders import NOW, failed, listed, reading, slept

from envwatch.fleet.events import NO_PROFILE
from envwatch.metrics.exposition import BOUNDS_S, RESULTS, PollCounts
from envwatch.model.outcome import Cause
from envwatch.model.text import clean


def test_every_result_is_counted_from_zero_on() -> None:
    polls = PollCounts()
    assert set(polls.for_profile(NO_PROFILE).results.values()) == {0}

    polls = polls.apply(NO_PROFILE, listed([])).apply(NO_PROFILE, listed([]))
    for cause in Cause:
        polls = polls.apply(NO_PROFILE, failed(cause))
    assert polls.for_profile(NO_PROFILE).results == dict.fromkeys(RESULTS, 1) | {"success": 2}
    assert {"key_refused", "tls", "listing_does_not_end"} <= set(RESULTS)


def test_a_sleep_is_no_poll() -> None:
    polls = PollCounts()
    assert polls.apply(NO_PROFILE, slept(NOW, NOW + 60_000)) is polls


def test_each_profile_has_its_own() -> None:
    work, home = clean("work"), clean("home")
    polls = PollCounts().apply(work, listed([])).apply(home, failed()).apply(home, failed())
    assert polls.for_profile(work).results["success"] == 1
    assert polls.for_profile(home).results["timeout"] == 2
    assert polls.for_profile(work).results["timeout"] == 0


@pytest.mark.parametrize(
    ("took_ms", "bucket"), [(0, 0.1), (100, 0.1), (101, 0.25), (2_500, 2.5), (31_000, float("inf"))]
)
def test_a_duration_is_in_the_first_bucket_that_is_large_enough(took_ms: float, bucket: float) -> None:
    outcome = listed([])._replace(ended=reading(NOW + took_ms))
    of_profile = PollCounts().apply(NO_PROFILE, outcome).for_profile(NO_PROFILE)
    assert [bound for bound, count in zip(BOUNDS_S, of_profile.durations, strict=True) if count] == [bucket]
    assert of_profile.seconds == pytest.approx(took_ms / 1000)


def test_a_failure_takes_time_as_well() -> None:
    outcome = replace(failed(), ended=reading(NOW + 10_000))
    assert sum(PollCounts().apply(NO_PROFILE, outcome).for_profile(NO_PROFILE).durations) == 1
