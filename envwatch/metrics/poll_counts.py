"""How the polls of each profile ended, and how long they took: the counts behind `envwatch_polls_total`.

Pure: `PollCounts.after` takes one outcome. A start begins at zero, as Prometheus expects of counters.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from envwatch.model.outcome import Cause, Failed, Listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText

SUCCESS: Final = "success"
"""The result of a complete listing; every other one is the cause of a failure."""


def _result_of(cause: Cause) -> str:
    return cause.value.lower().replace(" ", "_")


RESULTS: Final = (SUCCESS, *map(_result_of, Cause))
"""Every result, so that all counters are there at zero before the first poll."""

BOUNDS_S: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, inf)
"""The upper bounds of the histogram's buckets. A page takes 0.1 to 0.5 s, and a request is given up after 10 s."""


@dataclass(frozen=True, slots=True)
class ProfilePolls:
    """The polls of one profile."""

    results: Mapping[str, int] = field(default_factory=lambda: MappingProxyType(dict.fromkeys(RESULTS, 0)))
    """How many ended with each result."""
    durations: tuple[int, ...] = (0,) * len(BOUNDS_S)
    """How many took as long as each bucket says; each is in one bucket only."""
    seconds: float = 0.0
    """How long all of them took together, by the monotonic clock."""

    def apply(self, outcome: Listed | Failed) -> ProfilePolls:
        """Return the counts after one more poll."""
        result = SUCCESS if isinstance(outcome, Listed) else _result_of(outcome.cause)
        took = max(outcome.ended.monotonic - outcome.started.monotonic, 0.0)
        bucket = bisect_left(BOUNDS_S, took)
        durations = (*self.durations[:bucket], self.durations[bucket] + 1, *self.durations[bucket + 1 :])
        results = MappingProxyType({**self.results, result: self.results[result] + 1})
        return ProfilePolls(results, durations, self.seconds + took)


_NO_POLLS: Final = ProfilePolls()


@dataclass(frozen=True, slots=True)
class PollCounts:
    """The polls of all profiles since the start."""

    by_profile: Mapping[SafeText, ProfilePolls] = field(default_factory=lambda: MappingProxyType({}))

    def apply(self, profile: SafeText, outcome: Outcome) -> PollCounts:
        """Return the counts after an outcome; that this machine slept is none of a poll."""
        if not isinstance(outcome, Listed | Failed):
            return self
        polls = self.for_profile(profile).apply(outcome)
        return replace(self, by_profile=MappingProxyType({**self.by_profile, profile: polls}))

    def for_profile(self, profile: SafeText) -> ProfilePolls:
        """Return the counts of one profile, all zero before its first poll."""
        return self.by_profile.get(profile, _NO_POLLS)
