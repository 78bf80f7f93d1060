"""The scenarios of the demo beside its default story: their names, and how their server fails.

Each is a pure function of the time since its start; what happens to the fleet is in `scenario_life.py`. Cheap to
import: the command line needs the names.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_S: Final = 1_000


class Scenario(StrEnum):
    """What the demo shows in place of its default story."""

    CALM = "calm"
    """Nothing is wrong, and a version is rolled out."""
    OUTAGE = "outage"
    """A pod is lost with its environments, until the listener of one of them is started."""
    NIGHT = "night"
    """A deploy in waves, a wrong `Date`, and a server that answers 503 for over a minute."""


class _Part(NamedTuple):
    """A part of a scenario, in milliseconds since its start."""

    at: int
    until: int


class Faults(NamedTuple):
    """How a server fails."""

    unavailable: _Part | None = None
    """When it answers 503."""
    wrong_date: _Part | None = None
    """When its `Date` is wrong."""
    date_error_ms: int = 0
    """By how much its `Date` is ahead then."""

    def is_unavailable(self, elapsed_ms: int) -> bool:
        """Whether it answers 503 so long after its start."""
        return self.unavailable is not None and self.unavailable.at <= elapsed_ms < self.unavailable.until

    def error_of_date_ms(self, elapsed_ms: int) -> int:
        """Return by how much its `Date` is ahead so long after its start."""
        is_wrong = self.wrong_date is not None and self.wrong_date.at <= elapsed_ms < self.wrong_date.until
        return self.date_error_ms if is_wrong else 0


NO_FAULTS: Final = Faults()
FAULTS: Final[Mapping[Scenario, Faults]] = {
    Scenario.NIGHT: Faults(
        unavailable=_Part(72 * _S, 142 * _S),  # blind from 60 s after the last listing
        wrong_date=_Part(48 * _S, 66 * _S),
        date_error_ms=600 * _S,
    )
}
"""How the server of a scenario fails; those that are not here have a faultless one."""
