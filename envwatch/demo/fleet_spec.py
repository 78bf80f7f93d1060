"""Which fleet the demo simulates: one value, which processes pass to each other as arguments. Cheap to import."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

from envwatch.demo.scenarios import Scenario

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


class FleetSpec(NamedTuple):
    """A fleet and its story: both are the same each time for the same values."""

    size: int
    """Environments at the start."""
    seed: int
    """A whole number; another one is another fleet."""
    scenario: Scenario | None = None
    """None for the default story."""

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
