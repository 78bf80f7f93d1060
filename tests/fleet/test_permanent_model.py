"""Permanent rows: a slow and obvious copy of the rule in the documentation of alerts, whose values are worked out by
hand, agrees with the uptime of a row.

The model keeps a row's whole life as pieces of watched time, and adds the pieces up for each question. A piece has one
state: up, down, or None for a time without a watch. Times are hours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby, pairwise
from math import exp
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envwatch.fleet.uptime import Uptime

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


def life(*pieces: tuple[float, bool | None]) -> PermanentModel:
    model = PermanentModel()
    for hours, is_up in pieces:
        model.add(hours, is_up=is_up)
    return model


def test_an_hour_a_week_ago_weighs_1_over_e_of_an_hour_now() -> None:
    model = life((1, True), (1, False), (WEEK - 2, None), (WEEK - 1, True), (1, False), (1e-9, True))
    week, hour = exp(-1), 1 - exp(-1 / WEEK)
    weight = (1 - exp(-(WEEK + 2) / WEEK)) - hour - week * hour
    assert model.share == pytest.approx(weight / (1 - exp(-(WEEK + 2) / WEEK)), rel=1e-6)


def test_the_present_outage_counts_once_the_row_is_back() -> None:
    model = life((100, True), (10, False))
    assert (model.share, model.watched) == (1.0, 100)
    model.add(1, is_up=True)
    assert model.watched == 111
    assert model.share < 0.94


@pytest.mark.parametrize(("lasts", "counted"), [(LONGEST_OUTAGE, LONGEST_OUTAGE), (72, LONGEST_OUTAGE), (11.5, 11.5)])
def test_an_outage_counts_for_12_hours_at_most(lasts: float, counted: float) -> None:
    assert life((100, True), (lasts, False), (5, True)).watched == 105 + counted
    assert life((100, True), (lasts, False), (5, True)).share == life((100, True), (counted, False), (5, True)).share


def test_time_that_nobody_watched_neither_ages_nor_counts() -> None:
    seen, blind = life((60, True), (3, False), (20, True)), life((60, True), (3, False), (500, None), (20, True))
    assert (seen.share, seen.watched) == (blind.share, blind.watched)


def test_blind_time_within_an_outage_makes_no_second_outage() -> None:
    assert life((60, True), (8, False), (9, None), (8, False), (1, True)).watched == 61 + LONGEST_OUTAGE


@pytest.mark.parametrize(("hours", "is_permanent"), [(KNOWN_FROM, True), (KNOWN_FROM - 0.001, False)])
def test_a_row_is_known_after_48_watched_hours(hours: float, *, is_permanent: bool) -> None:
    assert life((hours, True)).is_permanent is is_permanent


@pytest.mark.parametrize(("outage", "is_permanent"), [(0.0999, True), (0.1001, False)])
def test_a_row_is_permanent_from_nine_tenths(outage: float, *, is_permanent: bool) -> None:
    half = (0.5 - outage / 2, True)
    assert life(*[half, (outage, False), half] * 3_000).is_permanent is is_permanent


@settings(max_examples=300)
@given(st.lists(st.tuples(st.floats(0.01, 60), st.sampled_from((True, False, None))), min_size=1, max_size=30))
def test_the_uptime_of_a_row_agrees_with_the_model(pieces: list[tuple[float, bool | None]]) -> None:
    known = list[tuple[float, bool | None]]()
    for piece in pieces:
        # The record takes doubtful time within an outage for a part of the outage.
        if piece[1] is not None or not known or known[-1][1] is not False:
            known.append(piece)
    model, uptime, at = life(*known), Uptime(is_up=known[0][1]), 0.0
    for (hours, _), (_, state) in pairwise([*known, known[-1]]):
        at += hours * 3_600_000
        uptime = uptime.after(at, is_up=state)
    assert (uptime.share or 0.0) == pytest.approx(model.share, abs=1e-9)
