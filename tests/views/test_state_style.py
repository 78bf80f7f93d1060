"""The look of states, and the text of durations and instants."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW
from support.tracked_environments import tracked

from envwatch.fleet.presence import Presence
from envwatch.model.limits import Limits
from envwatch.model.times import (
    TimeStyle,
    clock_text,
    date_text,
    long_age,
    minutes_age,
    moment,
    offset_text,
    short_age,
    span,
    state_age,
)
from envwatch.views.pane.legend import state_entries
from envwatch.views.state_style import PRESENCE_STYLES, glyph_of, style_of

DURATIONS = st.floats(allow_nan=False, allow_infinity=True).map(span)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.999, "0s"),
        (119.999, "119s"),
        (120, "2m"),
        (3_599, "59m"),
        (3_600, "1h"),
        (86_399, "23h"),
        (86_400, "1d"),
        (86_400 * 1_000 - 1, "999d"),
        (86_400 * 1_000, "2y"),
        (86_400 * 1_095 - 1, "2y"),
        (86_400 * 1_095, "3y"),
    ],
)
def test_short_ages_change_their_unit_where_people_do(seconds: float, text: str) -> None:
    assert short_age(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (8.9, "8s"),
        (59.999, "59s"),
        (60, "1m"),
        (3_599, "59m"),
        (3_600, "1h"),
        (86_399, "23h"),
        (86_400, "1d"),
        (89_999, "1d"),
        (90_000, "1d 1h"),
        (3_600 * 79, "3d 7h"),
        (864_000 - 1, "9d 23h"),
        (864_000, "10d"),
        (86_400 * 1_000 - 1, "999d"),
        (86_400 * 1_000, "2y"),
    ],
)
def test_the_time_in_a_state_coarsens_with_age(seconds: float, text: str) -> None:
    assert state_age(timedelta(seconds=seconds)) == text


@given(DURATIONS)
def test_the_time_in_a_state_takes_at_most_six_cells(age: timedelta) -> None:
    assert 2 <= len(state_age(age)) <= 6


@given(st.integers(0, 86_400 * 30))
def test_the_time_in_a_state_repaints_at_most_once_a_minute_after_the_first(second: int) -> None:
    texts = {state_age(timedelta(seconds=second + later)) for later in range(60)}
    assert len(texts) <= (60 if second < 60 else 2)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "<1m"), (59.999, "<1m"), (60, "1m"), (119.999, "1m"), (120, "2m"), (3_600, "1h")]
)
def test_minutes_are_whole_and_less_than_one_is_marked(seconds: float, text: str) -> None:
    assert minutes_age(timedelta(seconds=seconds)) == text


@given(DURATIONS)
def test_a_short_age_takes_at_most_four_cells(age: timedelta) -> None:
    assert 2 <= len(short_age(age)) <= 4


@given(DURATIONS, DURATIONS)
def test_of_two_ages_with_one_unit_the_longer_reads_longer(one: timedelta, other: timedelta) -> None:
    first, second = short_age(min(one, other)), short_age(max(one, other))
    if first[-1] == second[-1]:
        assert int(first[:-1]) <= int(second[:-1])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.9, "0s"),
        (59, "59s"),
        (60, "1m"),
        (61, "1m 1s"),
        (252, "4m 12s"),
        (3_599, "59m 59s"),
        (3_600, "1h"),
        (3_659, "1h"),
        (3_660, "1h 1m"),
        (86_399, "23h 59m"),
        (86_400, "1d"),
        (273_600, "3d 4h"),
    ],
)
def test_long_ages_name_their_two_largest_units(seconds: float, text: str) -> None:
    assert long_age(timedelta(seconds=seconds)) == text


@given(DURATIONS)
def test_a_long_age_never_claims_more_than_has_passed(age: timedelta) -> None:
    units = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
    claimed = sum(int(part[:-1]) * units[part[-1]] for part in long_age(age).split())
    assert claimed <= age.total_seconds()
    assert age.total_seconds() - claimed < max(units[long_age(age).split()[0][-1]], 1)


def test_a_missing_value_reads_as_a_dash() -> None:
    assert short_age(None) == state_age(None) == long_age(None) == date_text(None, UTC) == "–"


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(0, "Z"), (60, "+01"), (-60, "-01"), (330, "+05:30"), (-210, "-03:30"), (-30, "-00:30"), (840, "+14")],
)
def test_offsets_are_as_short_as_they_can_be(minutes: int, text: str) -> None:
    when = moment(NOW, timezone(timedelta(minutes=minutes)))
    assert when is not None
    assert offset_text(when) == text


def test_instants_carry_their_offset() -> None:
    assert clock_text(NOW, UTC) == "08:53:20Z"
    assert date_text(NOW, UTC) == "2025-10-09 08:53:20Z"
    assert date_text(NOW, timezone(timedelta(hours=2))) == "2025-10-09 10:53:20+02"


@given(st.floats(allow_nan=False))
def test_no_number_of_the_api_breaks_an_instant(at: float) -> None:
    assert date_text(at, UTC)
    assert clock_text(at, None)


def test_time_styles_follow_each_other_around() -> None:
    style = TimeStyle.RELATIVE
    seen = [style, style := style.following, style := style.following]
    assert seen == list(TimeStyle)
    assert style.following is TimeStyle.RELATIVE


def test_every_presence_has_its_own_glyph_in_unicode_and_ascii() -> None:
    for ascii_only in (True, False):
        glyphs = {glyph_of(presence, ascii_only=ascii_only) for presence in Presence}
        assert len(glyphs) == len(Presence)
        assert all(glyph.isascii() for glyph in glyphs) is ascii_only


def test_unknown_outranks_every_other_look() -> None:
    style = style_of(tracked(), is_unknown=True)
    assert (style.glyph, style.word, style.style) == ("?", "on", "unknown")
    assert style_of(tracked(), is_unknown=False).style == "online"


def test_the_legend_has_the_glyph_and_the_word_of_every_state() -> None:
    for ascii_only in (False, True):
        signs = {entry.sign for entry in state_entries(Limits(), ascii_only=ascii_only)}
        looks = {presence: PRESENCE_STYLES[presence] for presence in Presence}
        assert {f"{look.ascii if ascii_only else look.glyph} {look.word}" for look in looks.values()} <= signs
