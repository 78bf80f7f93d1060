"""The counts of polls: by result and by duration."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, failed, listed, reading, slept

from envwatch.fleet.events import NO_PROFILE
from envwatch.metrics.exposition import BOUNDS_S, NO_POLLS, RESULTS, with_poll
from envwatch.model.outcome import Cause
from envwatch.model.text import clean

if TYPE_CHECKING:
    from envwatch.metrics.exposition import Polls, ProfilePolls
    from envwatch.model.outcome import Outcome


def polls_after(*outcomes: Outcome) -> ProfilePolls:
    polls: Polls = {}
    for outcome in outcomes:
        polls = with_poll(polls, NO_PROFILE, outcome)
    return polls[NO_PROFILE]


def test_every_result_is_counted_from_zero_on() -> None:
    assert set(NO_POLLS.results.values()) == {0}
    polls = polls_after(listed([]), listed([]), *map(failed, Cause))
    assert polls.results == dict.fromkeys(RESULTS, 1) | {"success": 2}
    assert {"key_refused", "tls", "listing_does_not_end"} <= set(RESULTS)


def test_a_sleep_is_no_poll() -> None:
    polls: Polls = {}
    assert with_poll(polls, NO_PROFILE, slept(NOW, NOW + 60_000)) is polls


def test_each_profile_has_its_own() -> None:
    work, home = clean("work"), clean("home")
    polls = with_poll(with_poll(with_poll({}, work, listed([])), home, failed()), home, failed())
    assert polls[work].results["success"] == 1
    assert polls[home].results["timeout"] == 2
    assert polls[work].results["timeout"] == 0


@pytest.mark.parametrize(
    ("took_ms", "bucket"), [(0, 0.1), (100, 0.1), (101, 0.25), (2_500, 2.5), (31_000, float("inf"))]
)
def test_a_duration_is_in_the_first_bucket_of_its_size(took_ms: float, bucket: float) -> None:
    outcome = listed([])._replace(ended=reading(NOW + took_ms))
    of_profile = polls_after(outcome)
    assert [bound for bound, count in zip(BOUNDS_S, of_profile.durations, strict=True) if count] == [bucket]
    assert of_profile.seconds == pytest.approx(took_ms / 1000)


def test_a_failure_takes_time_as_well() -> None:
    outcome = replace(failed(), ended=reading(NOW + 10_000))
    assert sum(polls_after(outcome).durations) == 1
