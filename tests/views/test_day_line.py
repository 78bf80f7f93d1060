"""The line of a day's events."""

from __future__ import annotations

import re
from datetime import UTC, timedelta, timezone
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.watched_time import Span, WatchedTime
from envwatch.model.clock import ServerMs
from envwatch.model.text import clean
from envwatch.views.events.day_line import Day, day_cells, day_of, day_runs, ends_of, hour_labels

if TYPE_CHECKING:
    from datetime import tzinfo

    from envwatch.views.state_style import Piece


HOUR = 3_600_000.0
BEGIN = 1_760_000_400_000.0
"""2025-10-09 09:00 UTC."""


def event(hours: float, kind: Kind = Kind.OFFLINE, **changes: object) -> Event:
    return Event(kind=kind, at=ServerMs(BEGIN + hours * HOUR), id=clean("env-1"), **changes)  # type: ignore[arg-type]


def watched(*hours: tuple[float, float]) -> WatchedTime:
    return WatchedTime(tuple(Span(ServerMs(BEGIN + a * HOUR), ServerMs(BEGIN + b * HOUR)) for a, b in hours))


def day(*events: Event, spans: tuple[tuple[float, float], ...] = ((0, 10),), until: float = 10) -> Day:
    return day_of(events, [watched(*spans)], ServerMs(BEGIN + until * HOUR))


def text(day: Day, at: float | None = None, width: int = 10, *, ascii_only: bool = False) -> str:
    instant = None if at is None else BEGIN + at * HOUR
    return "".join(run.text for run in runs(day, instant, width, ascii_only=ascii_only))


def runs(day: Day, at: float | None, width: int, *, ascii_only: bool = False) -> list[Piece]:
    return day_runs(day, day_cells(day, width, ascii_only=ascii_only), at, ascii_only=ascii_only)


def test_events_are_marks_gaps_are_blank_and_one_cell_says_where_one_stands() -> None:
    line = day(event(2.5), event(9, Kind.ONLINE), spans=((0, 4), (7, 10)))
    assert text(line) == "──○──  ──●"
    assert text(line, 1.2) == "─┃○──  ──●"
    assert text(line, 1.2, ascii_only=True) == "-|x--  --+"
    assert text(line, width=1) == "○"
    assert day_cells(line, 0, ascii_only=False) == []


def test_a_cell_shows_its_gravest_event_in_the_colour_of_what_it_is() -> None:
    mass = Event(kind=Kind.WHILE_BLIND, at=ServerMs(BEGIN + 5.5 * HOUR), members=(event(5.5), event(5.5, Kind.VERSION)))
    line = day(event(2.1), event(2.2, Kind.ONLINE), event(4.1, Kind.VERSION), event(4.2, Kind.MODE), mass)
    assert [(run.text, run.style) for run in runs(line, None, 10)] == [
        *(("──", "faint"), ("○", "offline"), ("─", "faint"), ("△", "plain"), ("?", "offline"), ("────", "faint")),
    ]


@pytest.mark.parametrize(
    ("first", "second", "style"),
    [
        (event(2.1, Kind.MODE, after="unrestricted"), event(2.2, Kind.ONLINE), "unrestricted"),
        (event(2.1, Kind.KEY_REFUSED), event(2.2, Kind.ONLINE), "late"),
        (event(2.1, Kind.ONLINE), event(2.2, Kind.VERSION), "online"),
        (event(2.1, Kind.RECONNECTED), event(2.2, Kind.VERSION), "plain"),
        (event(2.1, Kind.VERSION), event(2.2, Kind.RECONNECTED), "online"),
        (event(2.1, Kind.MODE, after="unrestricted"), event(2.2, Kind.OFFLINE), "offline"),
    ],
)
def test_a_cell_shows_the_newest_of_its_gravest_events(first: Event, second: Event, style: str) -> None:
    assert [run.style for run in runs(day(first, second), None, 10)] == ["faint", style, "faint"]


@pytest.mark.parametrize(
    ("ms", "is_on_line"), [(-0.001, False), (0, True), (10 * HOUR, True), (10 * HOUR + 864_000, True)]
)
def test_a_line_covers_a_hundredth_of_a_day_after_the_end(ms: float, *, is_on_line: bool) -> None:
    assert day().covers(BEGIN + ms) is is_on_line
    assert not day().covers(BEGIN + 10 * HOUR + 864_000.001)


def test_the_cell_where_one_stands_keeps_the_sign_of_its_event() -> None:
    (before, here, after) = runs(day(event(2.5)), BEGIN + 2.5 * HOUR, 10)
    assert (before.text, here, after.text) == ("──", ("○", "rewound"), "───────")


@pytest.mark.parametrize(("at", "place"), [(-5, 0), (0, 0), (9.99, 9), (10, 9), (12, 9)])
def test_what_is_beyond_an_end_is_marked_there(at: float, place: int) -> None:
    assert text(day(), at).index("┃") == place


def test_it_covers_a_day_at_most_and_no_more_than_was_watched() -> None:
    line = day(event(-40), event(3), spans=((-50, -30), (1, 10)))
    assert (line.since, line.until) == (BEGIN + HOUR, BEGIN + 10 * HOUR)
    assert len(line.marks) == 1
    whole = day(spans=((-50, 10),))
    assert whole.since == BEGIN - 14 * HOUR
    nothing = day(spans=())
    assert nothing.since == nothing.until
    assert text(nothing, 10, 5) == "┃    "


@pytest.mark.parametrize(
    ("since", "until", "zone", "labels"),
    [
        (0.0, 10.0, UTC, ("09:00", "19:00")),
        (0.0, 10.0, timezone(timedelta(hours=8)), ("10-09 17:00", "03:00")),
        (0.0, 9.9 / 60, UTC, ("09:00:00", "09:09:54")),
        (0.0, 10 / 60, UTC, ("09:00", "09:10")),
    ],
)
def test_labels_have_a_date_or_seconds_where_they_are_needed(
    since: float, until: float, zone: tzinfo, labels: tuple[str, str]
) -> None:
    assert ends_of(Day(BEGIN + since * HOUR, BEGIN + until * HOUR), zone) == labels


def labelled(line: Day, width: int, at: float | None = None, zone: tzinfo = UTC) -> list[tuple[int, str]]:
    instant = None if at is None else BEGIN + at * HOUR
    cells = day_cells(line, width, ascii_only=False)
    written = "".join(
        run.text for run in day_runs(line, cells, instant, hour_labels(line, width, zone), ascii_only=False)
    )
    assert len(written) == width
    return [(match.start(), match[0]) for match in re.finditer("[0-9:h]+", written)]


@pytest.mark.parametrize(
    ("hours", "width", "labels"),
    [
        (10.0, 50, [(5, "10h"), (15, "12h"), (25, "14h"), (35, "16h"), (45, "18h")]),
        (10.0, 49, [(4, "10h"), (14, "12h"), (29, "15h"), (44, "18h")]),
        (0.5, 60, [(10, "09:05"), (20, "09:10"), (30, "09:15"), (40, "09:20"), (50, "09:25")]),
        (10.0, 1, []),
        (0.0, 60, []),
    ],
)
def test_labels_of_hours_are_ten_cells_apart_at_least(hours: float, width: int, labels: list[tuple[int, str]]) -> None:
    assert labelled(day(spans=((0, hours),), until=hours), width) == labels


def test_another_hour_has_a_label_where_a_mark_or_the_visible_moment_is_in_the_way() -> None:
    clear = [(5, "10h"), (15, "12h"), (25, "14h"), (35, "16h"), (45, "18h")]
    assert labelled(day(event(3.2)), 50) == [(5, "10h"), *clear[2:]]  # no hour is ten cells from the neighbours
    assert labelled(day(event(3.2), event(5.2)), 50) == [(5, "10h"), (20, "13h"), *clear[3:]]
    assert labelled(day(event(3.2)), 50, at=5.2) == [(5, "10h"), (20, "13h"), *clear[3:]]


def test_the_even_labels_come_first_then_the_roundest_times_that_are_two_cells_apart() -> None:
    half_an_hour = Day(BEGIN, BEGIN + HOUR / 2)
    tens = [(4, "09:10"), (8, "09:20")]
    assert hour_labels(half_an_hour, 12, UTC) == [(6, "09:15"), *tens, (2, "09:05"), (10, "09:25")]
    assert hour_labels(half_an_hour, 11, UTC) == [(5, "09:15"), (3, "09:10"), (7, "09:20")]
    assert hour_labels(Day(BEGIN, BEGIN + 30 * HOUR), 60, UTC)[:2] == [(6, "12h"), (18, "18h")]
    assert hour_labels(Day(BEGIN, BEGIN), 60, UTC) == hour_labels(half_an_hour, 0, UTC) == []


def test_hours_are_those_of_the_zone_also_where_the_clocks_change() -> None:
    noon_before = 1_774_695_600_000.0
    """2026-03-28 11:00 UTC, 12:00 in Berlin; the clocks change at 01:00 UTC."""
    line = Day(noon_before, noon_before + 24 * HOUR)
    assert [text for _, text in labelled(line, 40, zone=ZoneInfo("Europe/Berlin"))] == ["18h", "00h", "07h"]


@given(
    st.lists(st.tuples(st.floats(-30, 30), st.sampled_from(Kind)), max_size=20),
    st.lists(st.tuples(st.floats(-30, 30), st.floats(0, 5)), max_size=5),
    st.one_of(st.none(), st.floats(-30, 30)),
    st.integers(0, 200),
)
def test_it_always_fills_its_cells(
    events: list[tuple[float, Kind]], spans: list[tuple[float, float]], at: float | None, width: int
) -> None:
    whole = watched(*((begin, begin + lasts) for begin, lasts in spans))
    line = day_of([event(hours, kind) for hours, kind in events], [WatchedTime().united(whole)], ServerMs(BEGIN))
    for ascii_only in (False, True):
        assert len(text(line, at, width, ascii_only=ascii_only)) == width
        assert not ascii_only or text(line, at, width, ascii_only=True).isascii()


@pytest.mark.parametrize("kind", Kind)
def test_only_the_cell_where_one_stands_is_drawn_in_reverse(kind: Kind) -> None:
    styles = {run.style for run in runs(day(event(3, kind)), None, 10)}
    assert not styles & {"unknown", "rewound"}
