"""The independent model of permanent rows: each value is worked out by hand."""

from __future__ import annotations

from itertools import pairwise
from math import exp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.permanent_model import KNOWN_FROM, LONGEST_OUTAGE, WEEK, PermanentModel

from envwatch.fleet.uptime import Uptime


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
