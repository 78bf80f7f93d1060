"""The line of a day's events, and the strip of the last 24 hours in the detail pane."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, timedelta, timezone
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, listed, reading
from support.pasts import ALL_TIMES, at, day, monitor_now, with_past
from support.tracked_environments import contexts_at

from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.watched_time import Span, UptimeState, WatchedTime
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.text import cells, clean
from envwatch.views.events.day_line import Day, day_cells, day_of, day_runs, ends_of, hour_labels
from envwatch.views.events.event_text import watched_text
from envwatch.views.pane.layout import PaneLayout
from envwatch.views.pane.legend import hour_entries
from envwatch.views.pane.state_details import last_day_rows, uptime_text
from envwatch.views.state_style import HOUR_STYLES, hour_marks

if TYPE_CHECKING:
    from datetime import tzinfo

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.views.state_style import Piece


HOUR = 3_600_000.0


BEGIN = 1_760_000_400_000.0
"""2025-10-09 09:00 UTC."""


def event(hours: float, kind: Kind = Kind.OFFLINE, **changes: object) -> Event:
    return Event(kind=kind, at=ServerMs(BEGIN + hours * HOUR), id=clean("env-1"), **changes)  # type: ignore[arg-type]


def watched_hours(*hours: tuple[float, float]) -> WatchedTime:
    return WatchedTime(tuple(Span(ServerMs(BEGIN + a * HOUR), ServerMs(BEGIN + b * HOUR)) for a, b in hours))


def line_of(*events: Event, spans: tuple[tuple[float, float], ...] = ((0, 10),), until: float = 10) -> Day:
    return day_of(events, [watched_hours(*spans)], ServerMs(BEGIN + until * HOUR))


def text(line_of: Day, at: float | None = None, width: int = 10, *, ascii_only: bool = False) -> str:
    instant = None if at is None else BEGIN + at * HOUR
    return "".join(run.text for run in runs(line_of, instant, width, ascii_only=ascii_only))


def runs(line_of: Day, at: float | None, width: int, *, ascii_only: bool = False) -> list[Piece]:
    return day_runs(line_of, day_cells(line_of, width, ascii_only=ascii_only), at, ascii_only=ascii_only)


def test_events_are_marks_gaps_are_blank_and_one_cell_says_where_one_stands() -> None:
    line = line_of(event(2.5), event(9, Kind.ONLINE), spans=((0, 4), (7, 10)))
    assert text(line) == "──○──  ──●"
    assert text(line, 1.2) == "─┃○──  ──●"
    assert text(line, 1.2, ascii_only=True) == "-|x--  --+"
    assert text(line, width=1) == "○"
    assert day_cells(line, 0, ascii_only=False) == []


def test_a_cell_shows_its_gravest_event_in_the_colour_of_what_it_is() -> None:
    mass = Event(kind=Kind.WHILE_BLIND, at=ServerMs(BEGIN + 5.5 * HOUR), members=(event(5.5), event(5.5, Kind.VERSION)))
    line = line_of(event(2.1), event(2.2, Kind.ONLINE), event(4.1, Kind.VERSION), event(4.2, Kind.MODE), mass)
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
    assert [run.style for run in runs(line_of(first, second), None, 10)] == ["faint", style, "faint"]


@pytest.mark.parametrize(
    ("ms", "is_on_line"), [(-0.001, False), (0, True), (10 * HOUR, True), (10 * HOUR + 864_000, True)]
)
def test_a_line_covers_a_hundredth_of_a_day_after_the_end(ms: float, *, is_on_line: bool) -> None:
    assert line_of().covers(BEGIN + ms) is is_on_line
    assert not line_of().covers(BEGIN + 10 * HOUR + 864_000.001)


def test_the_cell_where_one_stands_keeps_the_sign_of_its_event() -> None:
    (before, here, after) = runs(line_of(event(2.5)), BEGIN + 2.5 * HOUR, 10)
    assert (before.text, here, after.text) == ("──", ("○", "rewound"), "───────")


@pytest.mark.parametrize(("at", "place"), [(-5, 0), (0, 0), (9.99, 9), (10, 9), (12, 9)])
def test_what_is_beyond_an_end_is_marked_there(at: float, place: int) -> None:
    assert text(line_of(), at).index("┃") == place


def test_it_covers_a_day_at_most_and_no_more_than_was_watched() -> None:
    line = line_of(event(-40), event(3), spans=((-50, -30), (1, 10)))
    assert (line.since, line.until) == (BEGIN + HOUR, BEGIN + 10 * HOUR)
    assert len(line.marks) == 1
    whole = line_of(spans=((-50, 10),))
    assert whole.since == BEGIN - 14 * HOUR
    nothing = line_of(spans=())
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
    assert labelled(line_of(spans=((0, hours),), until=hours), width) == labels


def test_another_hour_has_a_label_where_a_mark_or_the_visible_moment_is_in_the_way() -> None:
    clear = [(5, "10h"), (15, "12h"), (25, "14h"), (35, "16h"), (45, "18h")]
    assert labelled(line_of(event(3.2)), 50) == [(5, "10h"), *clear[2:]]  # no hour is ten cells from the neighbours
    assert labelled(line_of(event(3.2), event(5.2)), 50) == [(5, "10h"), (20, "13h"), *clear[3:]]
    assert labelled(line_of(event(3.2)), 50, at=5.2) == [(5, "10h"), (20, "13h"), *clear[3:]]


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
    whole = watched_hours(*((begin, begin + lasts) for begin, lasts in spans))
    line = day_of([event(hours, kind) for hours, kind in events], [WatchedTime().united(whole)], ServerMs(BEGIN))
    for ascii_only in (False, True):
        assert len(text(line, at, width, ascii_only=ascii_only)) == width
        assert not ascii_only or text(line, at, width, ascii_only=True).isascii()


@pytest.mark.parametrize("kind", Kind)
def test_only_the_cell_where_one_stands_is_drawn_in_reverse(kind: Kind) -> None:
    styles = {run.style for run in runs(line_of(event(3, kind)), None, 10)}
    assert not styles & {"unknown", "rewound"}


# The strip of the last 24 hours.


@cache
def day_watched() -> Monitor:
    return with_past(monitor_now(), day())


def row_of(monitor: Monitor, name: str) -> TrackedEnvironment:
    return monitor.fleet.by_profile[NO_PROFILE].environments[clean(f"env-{name}")]


def lines(name: str, monitor: Monitor | None = None, width: int = 48, *, is_ascii: bool = False) -> list[str]:
    monitor = monitor or day_watched()
    layout = PaneLayout(width, is_ascii=is_ascii)
    rows = last_day_rows(row_of(monitor, name), contexts_at(monitor, NOW + 1)[NO_PROFILE], UTC, layout)
    return ["".join(piece.text for piece in row) for row in rows]


@pytest.mark.parametrize(
    ("name", "strip", "words"),
    [
        ("steady", "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu?????uuuuuuuuuuu", "up 100 % of the 20h 57m watched in 24h"),
        (
            "once",
            "uuuuuuuuuuuuuuuuuuDDDDDDuuuuuuuu?????uuuuuuuuuuu",
            "up 85.6 % of the 20h 57m watched in 24h · 1 outage: 3h from 17:53:20Z to 20:53:20Z disconnected",
        ),
        (
            "lost",
            "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu?????uuuuuuDDDDD",
            (
                "up 90.6 % of the 20h 57m watched in 24h · 1 outage: 1h 57m since 06:53:20Z "
                "· 3m of the outage not watched · disconnected"
            ),
        ),
        ("new", "...........................uuuuu?????uuuuuuuuuuu", "up 100 % of the 6h 57m watched in 24h"),
    ],
)
def test_a_strip_shows_the_day_and_says_it(name: str, strip: str, words: str) -> None:
    looks = {"u": "▄", "D": "█", "?": "░", ".": "·"}
    drawn, marks, *sentence = lines(name)
    assert " ".join(sentence) == words
    assert marks == "-24h        -18h        -12h       -6h       now"
    assert drawn == "".join(looks[letter] for letter in strip)
    in_ascii, *_ = lines(name, is_ascii=True)
    assert in_ascii == strip.replace("u", "+").replace("D", "x")


def test_no_strip_is_drawn_that_says_nothing() -> None:
    new = monitor_now()
    assert lines("steady", new) == []
    assert (
        uptime_text(row_of(new, "steady"), contexts_at(new, NOW + 60_000)[NO_PROFILE])
        == "up 100 % of the 1m watched in 24h"
    )
    assert uptime_text(row_of(new, "steady"), contexts_at(new, NOW + 59_000)[NO_PROFILE]) is None


@pytest.mark.parametrize(("minutes", "is_drawn"), [(59.9, False), (60, True)])
def test_an_hour_of_watching_is_a_past(minutes: float, *, is_drawn: bool) -> None:
    monitor = Monitor.create({NO_PROFILE: Limits()})
    for hours in (0, minutes / 60):
        outcome = listed(beating(1, at(hours)), at(hours))
        monitor, _ = monitor.apply(NO_PROFILE, outcome, outcome.ended)
    watched = {NO_PROFILE: WatchedTime((Span(NOW, at(minutes / 60)),))}
    monitor = replace(monitor, watched=watched)
    (row,) = monitor.fleet.environments
    rows = last_day_rows(row, contexts_at(monitor, at(minutes / 60))[NO_PROFILE], UTC, PaneLayout(40))
    assert bool(rows) is is_drawn


def test_a_strip_of_a_short_time_is_drawn_if_earlier_runs_watched_the_row() -> None:
    monitor = Monitor.create({NO_PROFILE: Limits()})
    for hours in (0, 0.1):
        outcome = listed(beating(1, at(hours)), at(hours))
        monitor, _ = monitor.apply(NO_PROFILE, outcome, outcome.ended)
    now = Span(NOW, at(0.1))
    (row,) = monitor.fleet.environments
    for spans, is_drawn in (((now,), False), ((Span(at(-5), at(-4.9)), now), True)):
        watched = replace(monitor, watched={NO_PROFILE: WatchedTime(spans)})
        assert bool(last_day_rows(row, contexts_at(watched, at(0.1))[NO_PROFILE], UTC, PaneLayout(40))) is is_drawn


@pytest.mark.parametrize(
    ("width", "marks"),
    [
        (0, ""),
        (3, "-24"),
        (7, "-24h   "),
        (8, "-24h now"),
        (13, "-24h      now"),
        (14, "-24h  -12h now"),
        (20, "-24h -18h -12h   now"),
        (25, "-24h  -18h  -12h  -6h now"),
        (40, "-24h      -18h      -12h     -6h     now"),
    ],
)
def test_the_marks_below_a_strip_leave_a_space_around_each_mark(width: int, marks: str) -> None:
    assert hour_marks(width) == marks
    assert hour_marks(width, "-2h")[:3] == "-2h"[:width]


def test_of_several_outages_the_longest_is_described_with_its_gap() -> None:
    spans = (Span(at(-20), at(-9)), Span(at(-8), ServerMs(NOW + 1)))
    events = day().events(*ALL_TIMES)
    fell = next(event for event in events if event.name == "once" and event.after == "offline")
    rose = next(event for event in events if event.name == "once" and event.after == "online")
    life = [fell, rose, replace(fell, at=at(-10)), replace(rose, at=at(-4))]
    monitor = replace(monitor_now(), watched={NO_PROFILE: WatchedTime(spans)})
    monitor = replace(monitor, event_log=monitor.event_log.with_past(life))
    _, _, *words = lines("once", monitor, 200)
    assert " ".join(words) == (
        "up 57.8 % of the 19h watched in 24h · 2 outages, the longest: 5h from 22:53:20Z to 04:53:20Z · "
        "1h of the outage not watched · disconnected"
    )


@given(name=st.sampled_from(["steady", "once", "lost", "new"]), width=st.integers(33, 140), is_ascii=st.booleans())
def test_every_row_fits_the_pane_and_the_strip_fills_it(name: str, width: int, *, is_ascii: bool) -> None:
    drawn = lines(name, width=width, is_ascii=is_ascii)
    assert all(cells(line) <= width for line in drawn)
    assert cells(drawn[0]) == width
    assert all(line.isascii() for line in drawn[:2]) or not is_ascii


@given(st.integers(1, 200), st.sampled_from(["-24h", "24H", "24H▲"]))
def test_marks_stand_at_their_hours_and_never_touch(width: int, first: str) -> None:
    marks = hour_marks(width, first)
    assert len(marks) == width
    assert marks.split() == [
        each for each in (first[:width], "-18h", "-12h", "-6h", "now") if f" {each} " in f" {marks} "
    ]
    for hours in (18, 12, 6):
        place = marks.find(f"-{hours}h")
        assert place < 0 or place == round((24 - hours) / 24 * (width - 1))
    if width >= 24:
        assert marks.endswith(" now")


def test_the_column_has_room_for_all_marks() -> None:
    assert hour_marks(24, "24H▲") == "24H▲  -18h  -12h -6h now"


def test_every_state_of_an_hour_looks_different_with_and_without_colours_and_in_ascii() -> None:
    assert set(HOUR_STYLES) == set(UptimeState)
    for glyphs in ([look.glyph for look in HOUR_STYLES.values()], [look.ascii for look in HOUR_STYLES.values()]):
        assert len(set(glyphs)) == len(UptimeState)
        assert all(cells(glyph) == 1 for glyph in glyphs)
    assert all(look.ascii.isascii() for look in HOUR_STYLES.values())
    assert "offline" not in {look.style for look in HOUR_STYLES.values()}, "the colour of a loss that needs a person"
    assert [entry.meaning for entry in hour_entries(ascii_only=True)] == [
        "down",
        "flapping",
        "up",
        "not there",
        "not watched",
    ]


def test_the_event_log_says_since_when_it_covers_what_happened_and_what_was_not_seen() -> None:
    now = reading(NOW + 1)
    assert watched_text(Monitor(), now, UTC) == "no listing yet"
    assert watched_text(monitor_now(), now, UTC) == "watched since 08:53:20Z"
    assert watched_text(day_watched(), now, UTC) == "watched since 2025-10-08 08:53Z · 3h 3m not seen in 2 gaps"
    notice = Event(kind=Kind.NOTICE, at=at(-1))
    cut = replace(day_watched(), event_log=day_watched().event_log.with_events([notice]).with_events([notice], 1))
    assert watched_text(cut, now, UTC).endswith(" · before 07:53:20Z dropped")
