"""The strip of the last 24 hours in the detail pane, and the words for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from functools import cache
from typing import TYPE_CHECKING

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
from envwatch.views.events.event_text import watched_text
from envwatch.views.pane.layout import PaneLayout
from envwatch.views.pane.legend import hour_entries
from envwatch.views.pane.state_details import last_day_rows, uptime_text
from envwatch.views.state_style import HOUR_STYLES, hour_marks

if TYPE_CHECKING:
    from envwatch.fleet.tracking import TrackedEnvironment


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
