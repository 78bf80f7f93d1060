"""The scenarios of the demo: their names, how their server fails, and which fleet is simulated.

`FleetSpec` is one value, which processes pass to each other as arguments. `scenario_life.py` has what happens to the
fleet. Cheap to import: the command line needs the names.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from envwatch.demo.times import MINUTE_MS, NEVER, SECOND_MS, TimeWindow

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


DEFAULT_SIZE: Final = 40
DEFAULT_SEED: Final = 7
"""The fleet of `envwatch demo`, which alone has a day before the opening."""


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


class FleetSpec(NamedTuple):
    """A fleet and its story: both are the same each time for the same values."""

    size: int
    """Environments at the start."""
    seed: int
    """A whole number; another one is another fleet."""
    scenario: Scenario | None = None
    """None for the default story."""

    @property
    def day(self) -> str | None:
        """The name of the shipped day before the opening; None for a fleet without one.

        The scenarios begin with the same states, so they share a day.
        """
        if (self.size, self.seed) != (DEFAULT_SIZE, DEFAULT_SEED):
            return None
        return "default" if self.scenario is None else "scenarios"

    @classmethod
    def from_options(cls, options: Namespace) -> Self:
        """Return the fleet of parsed arguments: `size`, `seed` and `scenario`."""
        return cls(options.size, options.seed, None if options.scenario is None else Scenario(options.scenario))

    def arguments(self) -> list[str]:
        """Return the arguments from which another process makes the same value; see `add_arguments`."""
        scenario = [] if self.scenario is None else [f"--scenario={self.scenario}"]
        return [f"--size={self.size}", f"--seed={self.seed}", *scenario]

    @staticmethod
    def add_arguments(parser: ArgumentParser) -> None:
        """Let a parser read `arguments`."""
        parser.add_argument("--size", type=int, required=True)
        parser.add_argument("--seed", type=int, required=True)
        parser.add_argument("--scenario", choices=[each.value for each in Scenario])
