"""The demo's scenarios: names, server failures, and the simulated fleet.

Cheap to import: the command line needs the names.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple, Self

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

DEFAULT_SIZE: Final = 40
DEFAULT_SEED: Final = 7
"""Only the default fleet has a shipped day."""


class Scenario(StrEnum):
    """The stories besides the default story."""

    CALM = "calm"
    """Nothing is wrong, and a version is rolled out."""
    OUTAGE = "outage"
    """A pod is lost, until one of its listeners is started."""
    NIGHT = "night"
    """A deploy in waves, a wrong `Date`, and 503 for over a minute."""


_UNAVAILABLE: Final = range(72 * SECOND_MS, 142 * SECOND_MS)
"""Since the server's start. A client is blind 60 s after the last listing."""
_WRONG_DATE: Final = range(48 * SECOND_MS, 66 * SECOND_MS)
_DATE_ERROR_MS: Final = 10 * MINUTE_MS


def is_unavailable(scenario: Scenario | None, elapsed_ms: int) -> bool:
    """Whether a scenario's server answers 503."""
    return scenario is Scenario.NIGHT and elapsed_ms in _UNAVAILABLE


def date_error_ms(scenario: Scenario | None, elapsed_ms: int) -> int:
    """Return the milliseconds by which a scenario's `Date` header is ahead."""
    return _DATE_ERROR_MS if scenario is Scenario.NIGHT and elapsed_ms in _WRONG_DATE else 0


class FleetSpec(NamedTuple):
    """A fleet and its story, fully determined by these values."""

    size: int
    seed: int
    scenario: Scenario | None = None
    """None for the default story."""

    @property
    def day(self) -> str | None:
        """The shipped day before the opening, if any.

        All scenarios begin with the same states and share a day.
        """
        if (self.size, self.seed) != (DEFAULT_SIZE, DEFAULT_SEED):
            return None
        return "default" if self.scenario is None else "scenarios"

    @classmethod
    def from_values(cls, size: int, seed: int, scenario: str | None) -> Self:
        """Return the fleet of options or JSON."""
        return cls(size, seed, None if scenario is None else Scenario(scenario))
