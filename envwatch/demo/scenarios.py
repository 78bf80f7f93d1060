"""The scenarios of the demo beside its default story: their names, and how their server fails.

What happens to the fleet is in `scenario_life.py`. Cheap to import: the command line needs the names.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from envwatch.demo.times import MINUTE_MS, NEVER, SECOND_MS, TimeWindow


class Scenario(StrEnum):
    """What the demo shows in place of its default story."""

    CALM = "calm"
    """Nothing is wrong, and a version is rolled out."""
    OUTAGE = "outage"
    """A pod is lost with its environments, until the listener of one of them is started."""
    NIGHT = "night"
    """A deploy in waves, a wrong `Date`, and a server that answers 503 for over a minute."""


class Faults(NamedTuple):
    """How a server fails; spans are in milliseconds since its start."""

    unavailable: TimeWindow = NEVER
    """When it answers 503."""
    wrong_date: TimeWindow = NEVER
    """When its `Date` is wrong."""
    date_error_ms: int = 0
    """By how much its `Date` is ahead then."""

    def is_unavailable(self, elapsed_ms: int) -> bool:
        """Whether it answers 503 so long after its start."""
        return self.unavailable.covers(elapsed_ms)

    def error_of_date_ms(self, elapsed_ms: int) -> int:
        """Return by how much its `Date` is ahead so long after its start."""
        return self.date_error_ms if self.wrong_date.covers(elapsed_ms) else 0


def faults_in(scenario: Scenario | None) -> Faults:
    """Return how the server of a scenario fails; None for the default story."""
    if scenario is not Scenario.NIGHT:
        return Faults()
    return Faults(
        unavailable=TimeWindow(72 * SECOND_MS, 142 * SECOND_MS),  # blind from 60 s after the last listing
        wrong_date=TimeWindow(48 * SECOND_MS, 66 * SECOND_MS),
        date_error_ms=10 * MINUTE_MS,
    )
