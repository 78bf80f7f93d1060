"""The scenarios of the demo: their names, how their server fails, and which fleet is simulated.

`FleetSpec` is one value, which processes pass to each other as arguments. `lives.py` has what happens to the fleet.
Cheap to import: the command line needs the names.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from envwatch.demo.times import MINUTE_MS, SECOND_MS, TimeWindow

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


_UNAVAILABLE: Final = TimeWindow(72 * SECOND_MS, 142 * SECOND_MS)
"""When the server of the night answers 503, since its start: a client is blind from 60 s after the last listing."""
_WRONG_DATE: Final = TimeWindow(48 * SECOND_MS, 66 * SECOND_MS)
"""When the `Date` of the server of the night is wrong, since its start."""
_DATE_ERROR_MS: Final = 10 * MINUTE_MS


def is_unavailable(scenario: Scenario | None, elapsed_ms: int) -> bool:
    """Whether the server of a scenario answers 503 so long after its start; None for the default story."""
    return scenario is Scenario.NIGHT and _UNAVAILABLE.covers(elapsed_ms)


def date_error_ms(scenario: Scenario | None, elapsed_ms: int) -> int:
    """Return by how much the `Date` of the server of a scenario is ahead so long after its start."""
    return _DATE_ERROR_MS if scenario is Scenario.NIGHT and _WRONG_DATE.covers(elapsed_ms) else 0


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
