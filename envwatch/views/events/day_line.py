"""A day as a line: events as marks, gaps, and the shown moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta, tzinfo
from functools import reduce
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.alerts.losses import LOSSES, RETURNS
from envwatch.fleet.events import Event, flatten
from envwatch.fleet.watched_time import NOT_WATCHED, Span, WatchedTime
from envwatch.model.clock import ServerMs
from envwatch.model.text import EMPTY, SafeText, clean, composed
from envwatch.model.times import MS, moment
from envwatch.views.events.event_text import event_style
from envwatch.views.state_style import FAINT, Piece

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from envwatch.query.state_looks import StateStyle


DAY: Final = timedelta(days=1)

_NEEDS_SECONDS: Final = timedelta(minutes=10)
"""Labels of a shorter line have seconds."""

_WATCHED, MARKER = ("─", "-"), ("┃", "|")

_STEPS: Final = tuple(timedelta(minutes=minutes) / MS for minutes in (5, 10, 15, 30, 60, 120, 180, 360, 720))
_LABEL_CELLS: Final = 10

HERE: Final = "rewound"


class Mark(NamedTuple):
    """An event on the line."""

    at: float
    rank: int
    """A cell shows the last mark of the highest rank."""
    look: StateStyle


@dataclass(frozen=True, slots=True)
class Day:
    """The line's content; instants are ms of the servers' clocks."""

    since: float
    until: float
    marks: Sequence[Mark] = ()
    spans: Sequence[Span] = ()

    def covers(self, at: float) -> bool:
        """Whether a moment is on the line or just behind the end."""
        return self.since <= at <= self.until + DAY / MS / 100


_GAP: Final = Piece(clean(" "))


def day_of(events: Iterable[Event], watched: Iterable[WatchedTime], until: ServerMs) -> Day:
    """Return the line up to a moment, at most a day long."""
    spans = reduce(WatchedTime.united, watched, NOT_WATCHED).between(ServerMs(until - DAY / MS), until).spans
    since = spans[0].since if spans else until
    marks = sorted(map(_mark, events))
    return Day(since, until, [mark for mark in marks if since <= mark.at <= until], spans)


def _mark(event: Event) -> Mark:
    look = event_style(event)
    kinds = {single.kind for single in flatten([event])}
    if kinds & LOSSES:
        return Mark(event.at, 4, look._replace(style="offline"))
    rank = 3 if look.style in {"unknown", "late", "offline", "unrestricted"} else 2 if kinds & RETURNS else 1
    # The style "unknown" is reverse video, which marks the shown moment on this line.
    return Mark(event.at, rank, look._replace(style="plain") if look.style == "unknown" else look)


def ends_of(day: Day, zone: tzinfo | None) -> tuple[SafeText, SafeText]:
    """Return the labels of begin and end."""
    first, last = moment(day.since, zone), moment(day.until, zone)
    if first is None or last is None:
        return EMPTY, EMPTY
    time = "%H:%M:%S" if last - first < _NEEDS_SECONDS else "%H:%M"
    date = "" if first.date() == last.date() else "%m-%d "
    return clean(first.strftime(f"{date}{time}")), clean(last.strftime(time))


def day_cells(day: Day, width: int, *, ascii_only: bool) -> list[Piece]:
    """Return the line's cells: marks, watched time, and blanks for gaps."""
    cells = [_GAP] * width
    if width > 0:
        watched = Piece(clean(_WATCHED[ascii_only]), FAINT)
        for begin, end in day.spans:
            first, last = _place(day, begin, width), _place(day, end, width)
            cells[first : last + 1] = [watched] * (last + 1 - first)
        ranks = [0] * width
        for mark in day.marks:
            if mark.rank >= ranks[cell := _place(day, mark.at, width)]:
                ranks[cell] = mark.rank
                cells[cell] = Piece(clean(mark.look.ascii if ascii_only else mark.look.glyph), mark.look.style)
    return cells


def _place(day: Day, at: float, width: int) -> int:
    return min(max(int((at - day.since) / max((day.until - day.since) / width, 1.0)), 0), width - 1)


def hour_labels(day: Day, width: int, zone: tzinfo | None) -> list[tuple[int, SafeText]]:
    """Return labels by cell: `06h` or `06:15`.

    Evenly spaced labels come first, then the roundest hours: marks may cover some labels.
    """
    cell_ms = (day.until - day.since) / width if width > 0 else 0.0
    even = next((step for step in _STEPS if step >= _LABEL_CELLS * cell_ms), None)
    first = moment(day.since, zone)
    if first is None or even is None or not cell_ms:
        return []
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000
    labels: dict[int, SafeText] = {}
    for step in (even, *(step for step in reversed(_STEPS) if step >= 2 * cell_ms)):
        at = midnight + ((day.since - midnight) // step + 1) * step
        while at < day.until and (when := moment(at, zone)) is not None:
            labels.setdefault(_place(day, at, width), clean(f"{when:%H:%M}" if when.minute else f"{when:%H}h"))
            at += step
    return [*labels.items()]


def day_runs(
    day: Day,
    cells: Sequence[Piece],
    at: float | None,
    labels: Sequence[tuple[int, SafeText]] = (),
    *,
    ascii_only: bool,
) -> list[Piece]:
    """Return `day_cells` as runs of equal style, with a marker at the moment `at`."""
    marked = list(cells)
    if at is not None and marked:
        here = _place(day, at, len(marked))
        is_event = marked[here].style not in {_GAP.style, FAINT}
        marked[here] = Piece(marked[here].text if is_event else clean(MARKER[ascii_only]), HERE)
    written: list[int] = []
    for place, label in labels:
        end = place + len(label)
        is_free = end <= len(marked) and all(cell.style in {_GAP.style, FAINT} for cell in marked[place:end])
        if is_free and all(abs(place - other) >= _LABEL_CELLS for other in written):
            marked[place:end] = [Piece(clean(character), FAINT) for character in label]
            written.append(place)
    return [
        Piece(composed("".join(cell.text for cell in run)), style)
        for style, run in groupby(marked, attrgetter("style"))
    ]
