"""The bars of events: the news, the line of a day, and the strip of the last 24 hours in the detail pane."""

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
from support.memory_history import ALL_TIMES, at, day, monitor_now, with_past
from support.tracked_environments import contexts_at, tracked

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE, NOT_RUNNING, Event, EventLog, Kind
from envwatch.fleet.watched_time import Span, UptimeState, WatchedTime
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.text import cells, clean
from envwatch.query.state_looks import HOUR_STYLES, hour_marks
from envwatch.views.events.day_line import Day, day_cells, day_of, day_runs, ends_of, hour_labels
from envwatch.views.events.event_text import event_text, watched_text
from envwatch.views.events.headline import headline_event, merged, returned_since, same_environment
from envwatch.views.pane.layout import PaneLayout
from envwatch.views.pane.legend import hour_entries
from envwatch.views.pane.state_details import availability_of_row, last_day_rows

if TYPE_CHECKING:
    from collections.abc import Container
    from datetime import tzinfo

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.views.state_style import Piece


def event(kind: Kind, seconds: float = 0, id_: str = "env-1", *, of: Kind | None = None, count: int = 0) -> Event:
    members = tuple(event(of, seconds, f"env-{n}") for n in range(count)) if of is not None else ()
    return Event(kind=kind, at=ServerMs(NOW + seconds * 1000), id=None if of else clean(id_), of=of, members=members)


LOST = event(Kind.TOGETHER, of=Kind.OFFLINE, count=3)


def chosen(*event_log: Event, after: float = 10, told: Container[str] = ()) -> Event | None:
    return headline_event(event_log, lambda _: NOW + after * 1000, lambda key: key[1] in told)


def test_the_newest_of_minor_events_is_chosen_or_of_one_listing_the_largest() -> None:
    first, second = event(Kind.MODE), event(Kind.RECONNECTED, 5)
    assert chosen(first, second) is second
    many, one = event(Kind.TOGETHER, 5, of=Kind.ONLINE, count=3), event(Kind.RETURNED, 5, "env-9")
    assert chosen(many, one) is chosen(one, many) is many
    assert chosen(many, replace(one, at=ServerMs(NOW + 6_000))).kind is Kind.RETURNED  # type: ignore[union-attr]
    assert chosen(many, replace(one, profile=clean("other"))).kind is Kind.RETURNED  # type: ignore[union-attr]
    assert chosen(many, event(Kind.NOTICE, 7)) is many


@pytest.mark.parametrize("small", [Kind.MODE, Kind.VERSION, Kind.RECONNECTED, Kind.APPEARED, Kind.FLAPPING])
def test_a_loss_outranks_later_minor_events(small: Kind) -> None:
    fell = event(Kind.OFFLINE)
    assert chosen(fell, event(small, 5, "env-9")) is fell


@pytest.mark.parametrize(("seconds", "stands"), [(899.999, True), (900, False)])
def test_a_loss_stays_for_a_quarter_of_an_hour(seconds: float, *, stands: bool) -> None:
    later = event(Kind.MODE, 5, "env-9")
    assert chosen(LOST, later, after=seconds) is (LOST if stands else later)
    assert chosen(LOST, after=9_000) is LOST
    assert chosen() is None


def test_a_loss_in_the_block_gives_way_to_a_return_after_a_minute() -> None:
    back = event(Kind.TOGETHER, 30, of=Kind.ONLINE, count=2)
    told = {"env-0", "env-1", "env-2"}
    assert chosen(LOST, back, after=59, told=told) is LOST
    assert chosen(LOST, back, after=60, told=told) is back
    assert chosen(LOST, back, after=60, told={"env-2"}) is back
    assert chosen(LOST, back, after=60, told={"env-1"}) is LOST, "env-2 is off, and stands nowhere else"
    newer = event(Kind.OFFLINE, 30, "env-9")
    assert chosen(LOST, newer, after=100, told={"env-9"}) is LOST, "a loss in the block ends after its minute"


@pytest.mark.parametrize(
    "larger", [LOST, event(Kind.WHILE_BLIND), event(Kind.STALLED), event(Kind.TOGETHER, of=Kind.GONE, count=3)]
)
def test_the_newest_loss_is_chosen_however_small(larger: Event) -> None:
    newer = event(Kind.OFFLINE, 5, "env-9")
    assert chosen(larger, newer) is newer
    assert chosen(newer, replace(larger, at=ServerMs(NOW + 6_000))) is not newer
    assert chosen(event(Kind.OFFLINE, -5), gone := event(Kind.GONE, 5, "env-9")) is gone


def test_the_changes_since_the_last_run_stand_for_a_minute_but_before_no_later_loss() -> None:
    since_last_run = replace(event(Kind.WHILE_BLIND), id=None, reason=NOT_RUNNING, members=LOST.members)
    assert chosen(since_last_run, event(Kind.RENAMED, 5, "env-9")) is since_last_run
    assert chosen(since_last_run, fell := event(Kind.OFFLINE, 5, "env-9")) is fell
    before = event(Kind.OFFLINE, -5, "env-9")
    assert chosen(before, since_last_run) is before
    assert chosen(before, whole := replace(since_last_run, reason=None)) is whole
    assert chosen(since_last_run, renamed := event(Kind.RENAMED, 5, "env-9"), after=60) is renamed


@pytest.mark.parametrize(
    ("begin", "end"),
    [(Kind.STALLED, Kind.RESUMED), (Kind.BLIND, Kind.VISIBLE), (Kind.KEY_REFUSED, Kind.KEY_ACCEPTED)],
)
def test_the_end_of_a_period_ends_its_rank_and_gives_way_to_any_event(begin: Kind, end: Kind) -> None:
    over = (LOST, event(begin, 1), event(end, 2))
    assert chosen(*over) is LOST
    assert chosen(*over[1:]) is over[2]
    assert chosen(*over[1:], back := event(Kind.ONLINE, 3, "env-9")) is back
    assert chosen(*over, again := event(begin, 3)) is again
    assert chosen(event(begin, 1), replace(event(end, 2), profile=clean("other"))).kind is begin  # type: ignore[union-attr]


def test_the_rows_of_a_loss_back_again_are_counted() -> None:
    back = event(Kind.TOGETHER, 5, of=Kind.ONLINE, count=2)
    assert [returned_since(LOST, log) for log in ((LOST,), (LOST, back))] == [0, 2]
    assert returned_since(LOST, (LOST, back, event(Kind.OFFLINE, 6, "env-1"))) == 1
    assert returned_since(event(Kind.OFFLINE), (event(Kind.ONLINE, -5), event(Kind.ONLINE, 0, "env-9"))) == 0
    assert returned_since(LOST, (LOST, replace(event(Kind.ONLINE, 5, "env-1"), profile=clean("other")))) == 0
    assert returned_since(event(Kind.BLIND), (event(Kind.ONLINE, 5),)) == 0


def test_a_change_to_unrestricted_replaces_no_loss() -> None:
    fell = event(Kind.OFFLINE)
    drift = replace(event(Kind.MODE, 5, "env-9"), before=clean("standard"), after=clean("unrestricted"))
    assert chosen(fell, drift) is fell
    assert chosen(fell, drift, after=899) is fell
    assert chosen(drift, later := event(Kind.MODE, 6, "env-8")) is drift
    assert chosen(drift, later, after=65) is later
    assert chosen(replace(drift, before=drift.after, after=drift.before), later) is later
    lost = event(Kind.OFFLINE, 5)
    assert chosen(lost, drift) is chosen(drift, lost) is lost


def test_a_lost_row_gone_later_is_no_newer_loss() -> None:
    gone = replace(event(Kind.GONE, 5), before=clean("offline"))
    assert chosen(LOST, gone) is LOST
    assert chosen(gone, event(Kind.RECONNECTED, 6, "env-8")) is gone
    assert chosen(LOST, newer := replace(gone, before=clean("online"))) is newer


def test_a_loss_is_severe_until_all_rows_are_back() -> None:
    back = event(Kind.ONLINE, 5)
    assert chosen(event(Kind.OFFLINE), back) is back
    assert chosen(LOST, returned := event(Kind.TOGETHER, 5, of=Kind.ONLINE, count=3)) is returned
    assert chosen(LOST, event(Kind.TOGETHER, 5, of=Kind.ONLINE, count=2)) is LOST, "in part"
    assert chosen(event(Kind.OFFLINE), back, again := event(Kind.OFFLINE, 8)) is again


def test_changes_of_one_poll_become_one_sentence_and_the_number_of_the_others() -> None:
    first, second, mode = event(Kind.OFFLINE), event(Kind.OFFLINE, 0, "env-2"), event(Kind.MODE, 0, "env-3")
    log = EventLog().with_events([event(Kind.ONLINE, -5, "env-9")]).with_events([first, second, mode, LOST])
    assert [*log.with_poll_of(first)] == [first, second, mode, LOST]
    group, more = merged(first, log.with_poll_of(first))
    assert ([member.id for member in group.members], more) == (["env-1", "env-2"], 2)
    assert event_text(group) == "2 went offline: env-1, env-2"
    named = replace(group, members=(first, replace(second, name=clean("sandbox-agent-e428e89d-2b14-472f"))))
    assert event_text(named) == "2 went offline: env-1, sandbox-agent-e428e…472f"
    assert merged(mode, log.with_poll_of(mode)) == (mode, 3)
    assert merged(LOST, log.with_poll_of(LOST)) == (LOST, 1)


def test_other_changes_are_groups_with_other_environments() -> None:
    modes = event(Kind.TOGETHER, of=Kind.MODE, count=3)
    assert merged(LOST, [LOST, modes]) == (LOST, 0)
    assert merged(LOST, [LOST, modes, event(Kind.NOTICE)]) == (LOST, 0)
    assert merged(LOST, [LOST, event(Kind.TOGETHER, of=Kind.MODE, count=4)]) == (LOST, 1)
    back, version, other = event(Kind.ONLINE), event(Kind.VERSION), event(Kind.VERSION, 0, "env-2")
    assert same_environment(back, [back, version, other, LOST]) == [version]
    fleet_wide = Event(kind=Kind.BLIND, at=ServerMs(NOW))
    assert same_environment(fleet_wide, [version, replace(fleet_wide, kind=Kind.VISIBLE)]) == []


def of_row(kind: Kind, seconds: float, *, is_flapping: bool) -> Event:
    row = tracked()
    state = replace(row.present_state, is_flapping=is_flapping)
    return replace(event(kind, seconds), then=state)


@pytest.mark.parametrize("kind", [Kind.OFFLINE, Kind.ONLINE, Kind.RECONNECTED, Kind.RESTARTED])
@pytest.mark.parametrize("is_flapping", [False, True])
def test_a_change_of_a_row_is_news_unless_the_row_is_known_to_flap(kind: Kind, *, is_flapping: bool) -> None:
    known = of_row(Kind.FLAPPING, 0, is_flapping=True)
    change = of_row(kind, 30, is_flapping=is_flapping)
    assert chosen(known, change, after=31) is (known if is_flapping else change)
    assert chosen(known, change, after=300) is (known if is_flapping else change)


def test_the_return_of_a_flapping_row_ends_the_rank_of_the_loss() -> None:
    lost, mode = of_row(Kind.OFFLINE, 0, is_flapping=False), event(Kind.MODE, 4, "env-9")
    assert chosen(lost, mode) is lost
    assert chosen(lost, mode, of_row(Kind.ONLINE, 5, is_flapping=True)) is mode


def test_the_rename_is_the_news_of_a_replaced_row_and_comes_after_a_loss_of_its_listing() -> None:
    old, lost = event(Kind.OFFLINE, id_="old"), event(Kind.OFFLINE, id_="lost")
    renamed = event(Kind.RENAMED, id_="old")
    assert chosen(old, renamed) is chosen(renamed, old) is renamed
    assert chosen(renamed, event(Kind.APPEARED, id_="new"), after=300) is renamed
    assert chosen(lost, old, renamed) is lost
    assert merged(lost, [lost, old, renamed]) == (lost, 2)
    assert len(merged(lost, [lost, old])[0].members) == 2


# The line of a day.


HOUR = 3_600_000.0
BEGIN = 1_760_000_400_000.0
"""2025-10-09 09:00 UTC."""


def mark(hours: float, kind: Kind = Kind.OFFLINE, **changes: object) -> Event:
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


def test_events_are_marks_gaps_are_blank_and_one_cell_is_the_visible_moment() -> None:
    line = line_of(mark(2.5), mark(9, Kind.ONLINE), spans=((0, 4), (7, 10)))
    assert text(line) == "──○──  ──●"
    assert text(line, 1.2) == "─┃○──  ──●"
    assert text(line, 1.2, ascii_only=True) == "-|x--  --+"
    assert text(line, width=1) == "○"
    (before, here, after) = runs(line_of(mark(2.5)), BEGIN + 2.5 * HOUR, 10)
    assert (before.text, here, after.text) == ("──", ("○", "rewound"), "───────")
    assert day_cells(line, 0, ascii_only=False) == []


def test_a_cell_shows_its_gravest_event_in_the_colour_of_the_event() -> None:
    mass = Event(kind=Kind.WHILE_BLIND, at=ServerMs(BEGIN + 5.5 * HOUR), members=(mark(5.5), mark(5.5, Kind.VERSION)))
    line = line_of(mark(2.1), mark(2.2, Kind.ONLINE), mark(4.1, Kind.VERSION), mark(4.2, Kind.MODE), mass)
    assert [(run.text, run.style) for run in runs(line, None, 10)] == [
        *(("──", "faint"), ("○", "offline"), ("─", "faint"), ("△", "plain"), ("?", "offline"), ("────", "faint")),
    ]


@pytest.mark.parametrize(
    ("first", "second", "style"),
    [
        (mark(2.1, Kind.MODE, after="unrestricted"), mark(2.2, Kind.ONLINE), "unrestricted"),
        (mark(2.1, Kind.KEY_REFUSED), mark(2.2, Kind.ONLINE), "late"),
        (mark(2.1, Kind.ONLINE), mark(2.2, Kind.VERSION), "online"),
        (mark(2.1, Kind.RECONNECTED), mark(2.2, Kind.VERSION), "plain"),
        (mark(2.1, Kind.VERSION), mark(2.2, Kind.RECONNECTED), "online"),
        (mark(2.1, Kind.MODE, after="unrestricted"), mark(2.2, Kind.OFFLINE), "offline"),
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


@pytest.mark.parametrize(("at", "place"), [(-5, 0), (0, 0), (9.99, 9), (10, 9), (12, 9)])
def test_a_moment_beyond_an_end_is_marked_at_the_end(at: float, place: int) -> None:
    assert text(line_of(), at).index("┃") == place


def test_a_line_covers_a_day_at_most_and_no_more_than_the_watched_time() -> None:
    line = line_of(mark(-40), mark(3), spans=((-50, -30), (1, 10)))
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
def test_labels_have_a_date_or_seconds_if_needed(
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
    assert labelled(line_of(mark(3.2)), 50) == [
        (5, "10h"),
        *clear[2:],
    ]  # no hour is ten cells from the neighbours
    assert labelled(line_of(mark(3.2), mark(5.2)), 50) == [(5, "10h"), (20, "13h"), *clear[3:]]
    assert labelled(line_of(mark(3.2)), 50, at=5.2) == [(5, "10h"), (20, "13h"), *clear[3:]]


def test_the_even_labels_come_first_then_the_roundest_times_two_cells_apart() -> None:
    half_an_hour = Day(BEGIN, BEGIN + HOUR / 2)
    tens = [(4, "09:10"), (8, "09:20")]
    assert hour_labels(half_an_hour, 12, UTC) == [(6, "09:15"), *tens, (2, "09:05"), (10, "09:25")]
    assert hour_labels(half_an_hour, 11, UTC) == [(5, "09:15"), (3, "09:10"), (7, "09:20")]
    assert hour_labels(Day(BEGIN, BEGIN + 30 * HOUR), 60, UTC)[:2] == [(6, "12h"), (18, "18h")]
    assert hour_labels(Day(BEGIN, BEGIN), 60, UTC) == hour_labels(half_an_hour, 0, UTC) == []


def test_hours_are_of_the_zone_also_at_a_change_of_the_clocks() -> None:
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
def test_a_line_always_fills_its_cells(
    events: list[tuple[float, Kind]], spans: list[tuple[float, float]], at: float | None, width: int
) -> None:
    whole = watched_hours(*((begin, begin + lasts) for begin, lasts in spans))
    line = day_of([mark(hours, kind) for hours, kind in events], [WatchedTime().united(whole)], ServerMs(BEGIN))
    for ascii_only in (False, True):
        assert len(text(line, at, width, ascii_only=ascii_only)) == width
        assert not ascii_only or text(line, at, width, ascii_only=True).isascii()


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
def test_a_strip_shows_the_day_and_a_sentence_below_describes_the_day(name: str, strip: str, words: str) -> None:
    looks = {"u": "█", "D": "▁", "?": "░", ".": "·"}
    drawn, marks, *sentence = lines(name)
    assert " ".join(sentence) == words
    assert marks == "-24h        -18h        -12h       -6h       now"
    assert drawn == "".join(looks[letter] for letter in strip)
    in_ascii, *_ = lines(name, is_ascii=True)
    assert in_ascii == strip.replace("u", "+").replace("D", "x")


def test_an_empty_strip_is_not_drawn() -> None:
    new = monitor_now()
    assert lines("steady", new) == []
    assert (
        availability_of_row(row_of(new, "steady"), contexts_at(new, NOW + 60_000)[NO_PROFILE])
        == "up 100 % of the 1m watched in 24h"
    )
    assert availability_of_row(row_of(new, "steady"), contexts_at(new, NOW + 59_000)[NO_PROFILE]) is None


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


@pytest.mark.parametrize(("minutes", "is_drawn"), [(53.9, False), (54.1, True)])
def test_the_hour_of_a_strip_may_come_from_an_earlier_run(minutes: float, *, is_drawn: bool) -> None:
    monitor = Monitor.create({NO_PROFILE: Limits()})
    for hours in (0, 0.1):
        outcome = listed(beating(1, at(hours)), at(hours))
        monitor, _ = monitor.apply(NO_PROFILE, outcome, outcome.ended)
    (row,) = monitor.fleet.environments
    earlier = Span(at(-5), at(-5 + minutes / 60))
    watched = replace(monitor, watched={NO_PROFILE: WatchedTime((earlier, Span(NOW, at(0.1))))})
    assert bool(last_day_rows(row, contexts_at(watched, at(0.1))[NO_PROFILE], UTC, PaneLayout(40))) is is_drawn


@pytest.mark.parametrize(
    ("width", "marks"),
    [
        (0, ""),
        (3, "-24"),
        (7, "-24h   "),
        (13, "-24h      now"),
        (14, "-24h  -12h now"),
        (25, "-24h  -18h  -12h  -6h now"),
        (40, "-24h      -18h      -12h     -6h     now"),
        (24, "-24h  -18h  -12h -6h now"),
    ],
)
def test_the_marks_below_a_strip_leave_a_space_around_each_mark(width: int, marks: str) -> None:
    assert hour_marks(width) == marks
    assert hour_marks(width, "-2h")[:3] == "-2h"[:width]


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (2, "up 0 % of the 2h watched in 24h · 1 outage: 2h watched, since before 06:53:20Z · disconnected"),
        (72, "up 0 % of 24h · 1 outage: 1d watched, since before 2025-10-08 08:53Z · disconnected"),
    ],
)
def test_an_outage_older_than_the_watched_time_says_so(hours: float, words: str) -> None:
    watched = WatchedTime((Span(at(-hours), ServerMs(NOW + 1)),))
    _, _, *sentence = lines("lost", replace(monitor_now(), watched={NO_PROFILE: watched}), 200)
    assert " ".join(sentence) == words


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
def test_every_row_fits_the_pane_and_the_strip_fills_the_pane(name: str, width: int, *, is_ascii: bool) -> None:
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


def test_the_event_log_names_its_begin_and_its_gaps() -> None:
    now = reading(NOW + 1)
    assert watched_text(Monitor(), now, UTC) == "no answer yet"
    assert watched_text(monitor_now(), now, UTC) == "watched since 08:53:20Z"
    assert watched_text(day_watched(), now, UTC) == "watched since 2025-10-08 08:53Z · 3h 3m not seen in 2 gaps"
    notice = Event(kind=Kind.NOTICE, at=at(-1))
    cut = replace(day_watched(), event_log=day_watched().event_log.with_events([notice]).with_events([notice], 1))
    assert watched_text(cut, now, UTC).endswith(" · before 07:53:20Z dropped")
