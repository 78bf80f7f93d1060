"""The last 24 hours of one environment as rows of the detail pane: a strip, its hours, and in words what it shows.

Pure: the moment is an argument.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import groupby
from math import ceil
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from envwatch.fleet.outages import outages
from envwatch.fleet.watched_time import NOT_WATCHED
from envwatch.model.clock import ServerMs
from envwatch.model.text import SafeText, clean, composed, counted
from envwatch.model.times import MS, long_age
from envwatch.past.hours import DAY, Availability, availability_text, worst_states
from envwatch.views.pane_layout import FAINT, Piece
from envwatch.views.state_details import instant_text
from envwatch.views.state_style import HOUR_STYLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import tzinfo

    from envwatch.fleet.monitor import Monitor
    from envwatch.fleet.outages import Outage
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Clocks
    from envwatch.views.pane_layout import PaneLayout, Row

_DAY_MS: Final = DAY / MS
_AT_LEAST: Final = timedelta(hours=1)
"""The time watched from which on a strip says something, unless it has a past from before the start."""
_GAP_AT_LEAST: Final = timedelta(minutes=1)
"""The gap in an outage that is worth a word."""
_HOURS: Final = (18, 12, 6)
"""The hours of the marks between the first and now."""


def uptime_text(tracked: TrackedEnvironment, monitor: Monitor, now: Clocks) -> SafeText | None:
    """Return the availability in the last 24 hours; None if it is known for less than a minute."""
    return availability_text(
        Availability.from_intervals(monitor.states_of(tracked, _day_before(tracked, monitor, now), now))
    )


def last_day_rows(
    tracked: TrackedEnvironment, monitor: Monitor, now: Clocks, zone: tzinfo | None, layout: PaneLayout
) -> list[Row]:
    """Return a strip as wide as the pane, the hours below it, the availability and the outages.

    Each cell of the strip has the worst state in its time; all stand still until the newest one is over. There are no
    rows if it was watched for less than an hour, and not before the start.
    """
    intervals = monitor.states_of(tracked, _day_before(tracked, monitor, now), now)
    availability = Availability.from_intervals(intervals)
    if not availability.known or not (availability.known >= _AT_LEAST or _has_past(tracked, monitor)):
        return []
    server_now = monitor.fleet.for_environment(tracked).clock.server_time(now.wall)
    cell_ms = _DAY_MS / max(layout.width - 1, 1)  # with one more than the day has, none of it is missing
    begin = ServerMs((ceil(server_now / cell_ms) - layout.width) * cell_ms)
    cells = worst_states(monitor.states_of(tracked, begin, now), begin, cell_ms, layout.width)
    strip = []
    for state, alike in groupby(cells):
        look = HOUR_STYLES[state]
        strip.append(Piece(composed((look.ascii if layout.is_ascii else look.glyph) * len([*alike])), look.style))
    words = [availability_text(availability), *_outage_texts(outages(intervals), server_now, zone)]
    sentence = composed(" · ".join(filter(None, words)))
    return [tuple(strip), (Piece(hour_marks(layout.width), FAINT),), *layout.sentence([Piece(sentence)])]


def hour_marks(width: int, first: str = "-24h") -> SafeText:
    """Return how long ago the cells of a strip were, as far as there is room; it begins with `first`."""
    line = list(first[:width].ljust(width))
    marks = [("now", width - 3), *((f"-{hours}h", round((1 - hours / 24) * (width - 1))) for hours in _HOURS)]
    for mark, place in marks:
        end = place + len(mark)
        if place > 0 and end <= width and set(line[place - 1 : end + 1]) == {" "}:
            line[place:end] = mark
    return composed("".join(line))


def _has_past(tracked: TrackedEnvironment, monitor: Monitor) -> bool:
    """Whether its profile was watched before the start."""
    first_at = monitor.watched.get(tracked.profile, NOT_WATCHED).began_at
    began_at = monitor.fleet.for_environment(tracked).began_at
    return first_at is not None and began_at is not None and first_at < began_at


def _day_before(tracked: TrackedEnvironment, monitor: Monitor, now: Clocks) -> ServerMs:
    return ServerMs(monitor.fleet.for_environment(tracked).clock.server_time(now.wall) - _DAY_MS)


def _outage_texts(found: Sequence[Outage], now: float, zone: tzinfo | None) -> Iterator[SafeText]:
    """Yield how many outages there were and what the longest was; nothing without any."""
    if not found:
        return
    longest = max(found, key=attrgetter("down"))
    since, until = (instant_text(at, now, zone) for at in (longest.since, longest.until))
    when = f"from {since} to {until}" if longest.is_over else f"since {since}"
    many = f"{counted(len(found), 'outage')}{', the longest' if len(found) > 1 else ''}"
    yield clean(f"{many}: {long_age(longest.down)} {when}")
    if longest.unseen >= _GAP_AT_LEAST:
        yield clean(f"not watched for {long_age(longest.unseen)} of it")
    if longest.reason:
        yield longest.reason
