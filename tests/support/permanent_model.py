"""Which rows are permanent: a slow and obvious copy of the rule in the documentation of alerts.

Keeps a row's whole life as pieces of watched time, and adds the pieces up for each question. A piece has one state: up,
down, or None for a time that was not watched. Times are hours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from math import exp
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

WEEK: Final = 7 * 24.0
KNOWN_FROM: Final = 48.0
SHARE: Final = 0.9
LONGEST_OUTAGE: Final = 12.0


class Piece(NamedTuple):
    hours: float
    is_up: bool | None


@dataclass
class PermanentModel:
    """The life of one row, or of rows that replace each other."""

    pieces: list[Piece] = field(default_factory=list)
    """Oldest first."""

    def add(self, hours: float, *, is_up: bool | None) -> PermanentModel:
        """Add the time from one listing to the next; the state is the state in the older listing."""
        self.pieces.append(Piece(hours, is_up))
        return self

    @property
    def counted(self) -> list[Piece]:
        """The watched pieces without the present outage, and of each other outage the first `LONGEST_OUTAGE`."""
        watched = [piece for piece in self.pieces if piece.is_up is not None and piece.hours > 0]
        spells = [(is_up, list(pieces)) for is_up, pieces in groupby(watched, lambda piece: piece.is_up)]
        if spells and not spells[-1][0]:
            spells.pop()
        return [piece for is_up, pieces in spells for piece in (pieces if is_up else _first_hours(pieces))]

    @property
    def watched(self) -> float:
        return sum(piece.hours for piece in self.counted)

    @property
    def share(self) -> float:
        """The share of the time up; an hour that lies `a` watched hours back weighs exp(-a / WEEK)."""
        age = weight = weight_up = 0.0
        for hours, is_up in reversed(self.counted):
            own = exp(-age / WEEK) - exp(-(age + hours) / WEEK)
            age += hours
            weight += own
            weight_up += own if is_up else 0.0
        return weight_up / weight if weight else 0.0

    @property
    def is_known(self) -> bool:
        return self.watched >= KNOWN_FROM

    @property
    def is_permanent(self) -> bool:
        return self.is_known and self.share >= SHARE


def _first_hours(pieces: list[Piece]) -> Iterator[Piece]:
    left = LONGEST_OUTAGE
    for piece in pieces:
        if left > 0:
            yield piece._replace(hours=min(piece.hours, left))
        left -= piece.hours
